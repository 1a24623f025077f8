"""Replies and labels of each evaluator to the same prompts, with what they cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from benchmarks.measure import Meter
from benchmarks.replies import hsd_replies, prepared_for
from benchmarks.rows import Rows, respelled, texts
from hsd.example import LABELS
from hsd.model.base import Base
from hsd.prompts.answers import object_end, read_reply
from hsd.prompts.chat import answer_json
from hsd.prompts.render import Encoded

MAX_NEW_TOKENS = 32
BATCH = 16

Answers = tuple[dict[str, str], dict[str, Any]]
"""What was said of each row, by id, and more that is to be noted."""


def answer(contender: str, base: Base, rows: Rows, taken: slice) -> dict[str, Any]:
    """Return cost, number of rows, labels and (of replies) digests of what was said.

    Digests, because a model may repeat a real post, and those are written nowhere.
    """
    asked = rows.encoded[taken]
    tokenizer = base.tokenizer
    _warm_up(base.model)
    meter = Meter()
    said, more = CONTENDERS[contender](base, rows, asked, meter)
    assert meter.cost is not None
    facts = (
        asdict(meter.cost)
        | more
        | {
            "respelled": respelled(tokenizer, asked),
            "labels": {row: _label(text) for row, text in said.items()},
        }
    )
    if contender in WRITERS:
        facts["replies"] = {row: _digest(text) for row, text in said.items()}
        lengths = [len(tokenizer(text)["input_ids"]) for text in said.values()]
        facts["reply_tokens"] = sum(lengths) / len(lengths)
    return facts


def _warm_up(model: Any) -> None:
    import torch

    ids = torch.arange(3, 67).view(2, 32)
    with torch.inference_mode():
        model.generate(input_ids=ids, attention_mask=ids > 0, max_new_tokens=2, do_sample=False)


def _label(text: str) -> str:
    return str(read_reply(text, cut_off=False).label)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _object(text: str) -> str:
    """Return a reply up to the end of its first JSON object, as every reader of it would."""
    return text[: object_end(text)].strip()


def _hsd(
    mode: str, sharing: str, base: Base, rows: Rows, asked: Sequence[Encoded], meter: Meter
) -> Answers:
    prepared = prepared_for(base, rows, asked, mode, sharing, (BATCH, MAX_NEW_TOKENS))
    meter.start()
    found = hsd_replies(base, prepared)
    meter.stop()
    said = {row: _object(text) for row, text in found.texts.items()}
    return said, {"deciding_s": found.deciding_s, "shared": found.shared}


def _pipeline(base: Base, rows: Rows, asked: Sequence[Encoded], meter: Meter) -> Answers:
    """One call a row, as the scripts of many model cards do it."""
    from transformers import pipeline

    ask = pipeline("text-generation", model=base.model, tokenizer=base.tokenizer, device="cpu")
    prompts, said = texts(base.tokenizer, asked), {}
    meter.start()
    for row, prompt in zip(asked, prompts, strict=True):
        out = ask(prompt, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, return_full_text=False)
        said[row.id] = out[0]["generated_text"]
    meter.stop()
    return {row: _object(text) for row, text in said.items()}, {}


def _lm_eval(base: Base) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=base.model, tokenizer=base.tokenizer, batch_size=BATCH)


def _requests(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type=kind, doc={}, arguments=given, idx=n)
        for n, given in enumerate(arguments)
    ]


def _lm_eval_generate(base: Base, rows: Rows, asked: Sequence[Encoded], meter: Meter) -> Answers:
    """generate_until, told to stop at the brace that closes the answer."""
    evaluator = _lm_eval(base)
    stop = {"until": ["}"], "max_gen_toks": MAX_NEW_TOKENS, "do_sample": False}
    prompts = texts(base.tokenizer, asked)
    requests = _requests("generate_until", [(prompt, stop) for prompt in prompts])
    meter.start()
    replies = evaluator.generate_until(requests, disable_tqdm=True)
    meter.stop()
    # It cuts the stop string off.
    return {r.id: _object(text + "}") for r, text in zip(asked, replies, strict=True)}, {}


def _lm_eval_choice(base: Base, rows: Rows, asked: Sequence[Encoded], meter: Meter) -> Answers:
    """multiple_choice: the log-likelihood of each whole answer, two requests a row."""
    evaluator = _lm_eval(base)
    ways = [answer_json(label) for label in LABELS]
    prompts = texts(base.tokenizer, asked)
    requests = _requests("loglikelihood", [(prompt, way) for prompt in prompts for way in ways])
    meter.start()
    found = [value for value, _ in evaluator.loglikelihood(requests, disable_tqdm=True)]
    meter.stop()
    pairs = zip(found[::2], found[1::2], strict=True)
    labels = (ways[0] if hate > normal else ways[1] for hate, normal in pairs)
    return {row.id: label for row, label in zip(asked, labels, strict=True)}, {}


WRITERS = ("hsd_generate", "hsd_generate_off", "pipeline", "lm_eval_generate")

Contender = Callable[[Base, Rows, Sequence[Encoded], Meter], Answers]
CONTENDERS: Mapping[str, Contender] = {
    "hsd_generate": lambda *on: _hsd("generate", "auto", *on),
    "hsd_generate_off": lambda *on: _hsd("generate", "off", *on),
    "hsd_score": lambda *on: _hsd("score", "auto", *on),
    "hsd_score_off": lambda *on: _hsd("score", "off", *on),
    "pipeline": _pipeline,
    "lm_eval_generate": _lm_eval_generate,
    "lm_eval_choice": _lm_eval_choice,
}
