"""One evaluation: from a model and rows to a run folder with predictions and reports."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from hsd.config.evaluate import EvalConfig
from hsd.data.example import Example
from hsd.errors import EvaluationError
from hsd.inference.generate import Asking, Reply, generate, longest_first
from hsd.inference.prepared import Prepared, prepare
from hsd.inference.prompting import contract_for, renderer_for
from hsd.inference.score import candidates, score
from hsd.inference.shards import done_before, merged, own_rows, part
from hsd.inference.subject import subject
from hsd.logs import logging_to
from hsd.metrics.prediction import Prediction
from hsd.model.placement import Launch, launch, place
from hsd.progress import Progress, silent
from hsd.prompts.answers import read_reply
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import save_contract
from hsd.prompts.render import Encoded
from hsd.record import recorded
from hsd.report.predictions import PREDICTIONS, append_predictions, read_predictions
from hsd.report.tables import write_evaluation
from hsd.runs import (
    IDENTITY,
    MANIFEST,
    claim,
    differences,
    read_json,
    write_json,
    write_jsonl,
)

log = logging.getLogger(__name__)

DONE = "done.json"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation. `skipped` says it was finished before."""

    folder: Path
    predictions: list[Prediction]
    skipped: bool = False


def evaluate(
    config: EvalConfig, progress: Progress = silent, data_dir: Path | None = None
) -> Evaluated:
    """Evaluate, or go on evaluating, one model on one set of rows.

    The run's folder is `run_YYYYMMDD_HHMMSS` in `config.output_dir`; the same evaluation finds its
    own folder there again, skips the rows that are answered, and is skipped when it is done.
    """
    started = time.monotonic()
    prepared = prepare(config, data_dir)
    here, identity = launch(), prepared.identity()
    begun = _begun(config.output_dir, identity)
    if begun and (begun / DONE).exists():
        return Evaluated(begun, read_predictions(begun / PREDICTIONS), skipped=True)
    known = done_before(begun) if begun else {}
    left = longest_first(row for row in prepared.encoded if row.id not in known)
    state = PartialState(cpu=place(config.model).device == "cpu")
    model, facts = prepared.subject.load() if left else (None, {})
    if here.is_main:
        claim(begun or _new_folder(config.output_dir), identity)
    state.wait_for_everyone()  # nobody writes before everybody knows what is left
    folder = _begun(config.output_dir, identity)
    assert folder is not None, config.output_dir
    with (
        logging_to(folder / f"validation_log_{_stamp(folder)}.log", enabled=here.is_main),
        _recorded(folder, prepared, identity, facts, here, started)
        if here.is_main
        else nullcontext(),
    ):
        log.info("model: %s", json.dumps(facts, default=str))
        log.info("%d rows, %d answered before", len(prepared.encoded), len(known))
        own = own_rows(left, here.rank, here.world_size)
        try:
            _answer(prepared, model, own, part(folder, here.rank), progress)
        except torch.OutOfMemoryError:
            raise EvaluationError(
                "the GPU's memory is full; run the same command with a smaller --batch_size, "
                "which goes on from the rows that are answered."
            ) from None
        state.wait_for_everyone()
        if here.is_main:
            _finish(folder, prepared)
    state.wait_for_everyone()
    return Evaluated(folder, read_predictions(folder / PREDICTIONS))


def probe(config: EvalConfig) -> tuple[dict[str, Any], str]:
    """Load what a config asks for, ask it about one mild post, and return facts and reply."""
    chosen = subject(config)
    contract = contract_for(config, chosen.carries_prompt)
    renderer = renderer_for(config, contract, chosen.source.tokenizer)
    model, facts = chosen.load()
    row = renderer.encode(make_chat(contract.strategy, "probe", "The library opens at nine today."))
    asking = Asking(config.max_new_tokens, 1)
    reply = next(generate(model, chosen.source.tokenizer, [row], renderer.stop_ids(), asking))[0]
    prompt = {"template": contract.template, "strategy": contract.strategy_name}
    return {**facts, "prompt": {**prompt, "hash": contract.hash}}, reply.text


def _answer(
    prepared: Prepared, model: Any, rows: Sequence[Encoded], file: Path, progress: Progress
) -> None:
    """Answer rows batch by batch, each batch on disk before the next."""
    examples = {example.id: example for example in prepared.examples}
    shortened = {row.id for row in rows if row.shortened}
    what, done = f"{prepared.config.data_file} rows", 0
    progress(0, len(rows), what)
    for replies in _replies(prepared, model, rows):
        append_predictions(
            file,
            [_prediction(prepared, examples[r.id], r, r.id in shortened) for r in replies],
        )
        done += len(replies)
        progress(done, len(rows), what)


def _replies(prepared: Prepared, model: Any, rows: Sequence[Encoded]) -> Iterator[list[Reply]]:
    config, strategy = prepared.config, prepared.contract.strategy
    tokenizer, renderer = prepared.subject.source.tokenizer, prepared.renderer
    if config.mode == "score":
        spelled = candidates(
            renderer,
            tokenizer,
            has_system=bool(strategy.system_prompt),
            rationale=strategy.parameters.rationale,
        )
        return score(model, tokenizer, rows, spelled, config.batch_size)
    asking = Asking(prepared.max_new_tokens, config.batch_size, config.temperature, config.seed)
    return generate(model, tokenizer, rows, renderer.stop_ids(), asking)


def _prediction(prepared: Prepared, example: Example, reply: Reply, shortened: bool) -> Prediction:
    opening = prepared.renderer.opening_text(
        has_system=bool(prepared.contract.strategy.system_prompt)
    )
    reading = read_reply(reply.text.removeprefix(opening), cut_off=reply.cut_off)
    return Prediction(
        id=example.id,
        strategy=prepared.contract.strategy_name,
        text=example.text,
        true_label=example.label,
        label=reading.label,
        outcome=reading.outcome,
        reply=reply.text,
        rationale=reading.rationale,
        score=reply.score,
        response_time=round(reply.seconds, 4),
        truncated_post=shortened,
        groups=example.groups,
        persona_tag=example.persona_tag,
        source_dataset=example.source_dataset,
        label_multiclass=example.label_multiclass,
    )


def _recorded(
    folder: Path,
    prepared: Prepared,
    identity: Mapping[str, Any],
    facts: Mapping[str, Any],
    here: Launch,
    started: float,
) -> AbstractContextManager[None]:
    contract = prepared.contract
    # A restart with every row answered loads no model, and keeps what the manifest says of it.
    loaded: dict[str, Any] = {"model": dict(facts)} if facts else {}
    save_contract(folder, contract)
    return recorded(
        folder,
        "evaluate",
        prepared.config,
        gpus=0 if place(prepared.config.model).device == "cpu" else here.world_size,
        since=started,
        data={name: identity[name] for name in ("data_file", "data_sha256", "rows")},
        prompt={
            "template": contract.template,
            "strategy": contract.strategy_name,
            "hash": contract.hash,
        },
        processes=here.world_size,
        **loaded,
    )


def _finish(folder: Path, prepared: Prepared) -> None:
    predictions = merged(folder, [example.id for example in prepared.examples])
    manifest = read_json(folder / MANIFEST)
    shown: dict[str, Any] = {k: manifest[k] for k in ("model", "data", "prompt") if k in manifest}
    write_jsonl(folder / PREDICTIONS, map(asdict, predictions))
    numbers = write_evaluation(folder, predictions, shown, _stamp(folder))
    write_json(folder / DONE, {"rows": len(predictions), "headline": numbers.get("headline")})


def _begun(output_dir: Path, identity: Mapping[str, Any]) -> Path | None:
    """Return the folder that this very evaluation began before, None when it did not.

    Raises PreflightError when `output_dir` is itself the folder of another evaluation.
    """
    own = output_dir / IDENTITY
    if own.exists() and read_json(own).get("kind") == "evaluate":
        claim(output_dir, identity)
        return output_dir
    for folder in sorted(output_dir.glob("run_*"), reverse=True):
        file = folder / IDENTITY
        if file.exists() and not differences(read_json(file), dict(identity)):
            return folder
    return None


def _new_folder(output_dir: Path) -> Path:
    """Return `run_YYYYMMDD_HHMMSS`, of the next second that no other evaluation has."""
    at = datetime.now()
    while (folder := output_dir / f"run_{at:%Y%m%d_%H%M%S}").exists():
        at += timedelta(seconds=1)
    return folder


def _stamp(folder: Path) -> str:
    return folder.name.removeprefix("run_")
