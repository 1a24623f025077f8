"""Replies: they depend on the prompt alone, stop when their JSON closes, and can be repeated."""

from pathlib import Path
from typing import Any

import pytest
from asked import ENDINGS, POSTS, Asked, require_own_endings

pytestmark = pytest.mark.model

FAMILIES = ("tiny_llama", "tiny_gpt_oss")


@pytest.fixture(scope="module", params=FAMILIES)
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> Asked:
    return Asked(tiny_llama)


def writing(asked: Asked, monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    """Make the model write given texts: a row's next token is the next one of its text."""
    import torch

    spoken = {
        tuple(row.prompt): asked.tokenizer.encode(texts[row.id], add_special_tokens=False)
        for row in asked.rows
        if row.id in texts
    }
    pad = asked.tokenizer.pad_token_id

    class Script:
        """A logits processor: the library hands it the ids so far, padding included."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            chosen = torch.full_like(scores, -1e9)
            for at, ids in enumerate(input_ids.tolist()):
                chosen[at, self._next([token for token in ids if token != pad])] = 0.0
            return chosen

        def _next(self, ids: list[int]) -> int:
            for prompt, text in spoken.items():
                if tuple(ids[: len(prompt)]) == prompt:
                    said = len(ids) - len(prompt)
                    return int(text[said] if said < len(text) else asked.tokenizer.encode("x")[0])
            return int(pad)

    generate = type(asked.base.model).generate

    def scripted(self: Any, **kwargs: Any) -> Any:
        return generate(self, logits_processor=[Script()], **kwargs)

    monkeypatch.setattr(type(asked.base.model), "generate", scripted)


def test_replies_do_not_depend_on_batch_size(asked: Asked) -> None:
    one_by_one = asked.replies(batch_size=1)
    assert len(one_by_one) == len(POSTS)
    assert len({text for text, _ in one_by_one.values()}) > 1, "the rows are told apart"
    assert asked.replies(batch_size=3) == one_by_one
    assert asked.replies(batch_size=8) == one_by_one


def test_replies_do_not_depend_on_order_or_company(asked: Asked) -> None:
    together = asked.replies(batch_size=4)
    assert asked.replies(reversed(asked.rows), batch_size=4) == together
    some = asked.rows[1::3]
    assert asked.replies(some, batch_size=4) == {row.id: together[row.id] for row in some}


def test_a_greedy_reply_is_the_likeliest_token_again_and_again(asked: Asked) -> None:
    import torch

    row, model = asked.rows[0], asked.base.model
    ids = list(row.prompt)
    for _ in range(6):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits  # (1, tokens, vocab)
        ids.append(int(logits[0, -1].argmax()))
    text = asked.tokenizer.decode(ids[len(row.prompt) :])
    assert asked.replies([row], max_new_tokens=6)[row.id] == (text, True)


def test_the_longest_prompts_come_first(llama: Asked) -> None:
    from hsd.inference.generate import plain_writing
    from hsd.inference.replies import Asking

    stops = llama.renderer.stop_ids()
    batches = plain_writing(llama.model, llama.tokenizer, stops, Asking(1, 4)).batches(llama.rows)
    sizes = {row.id: len(row.prompt) for row in llama.rows}
    found = [[sizes[reply.id] for reply in batch] for batch in batches]
    assert [len(batch) for batch in found] == [4, 4, 1]
    lengths = [size for batch in found for size in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_padding_is_on_the_left_and_hidden(llama: Asked) -> None:
    from hsd.model.padding import left_padded

    ids, mask = left_padded([[5, 6, 7], [8]], 0, "cpu")
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 0.01},
        {"num_beams": 3},
        {"min_new_tokens": 5},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(100, 400))},
        {"do_sample": True, "temperature": 5.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_bases_own_generation_settings_do_not_count(
    settings: dict[str, Any], llama: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GenerationConfig

    plain = llama.replies()
    own = GenerationConfig(**settings)
    monkeypatch.setattr(llama.base.model, "generation_config", own)
    assert llama.replies() == plain
    assert llama.base.model.generation_config is own, "and it is put back"


# Where a reply ends


def test_each_row_stops_when_its_own_object_closes(
    llama: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing(llama, monkeypatch, ENDINGS)
    rows = [row for row in llama.rows if row.id in ENDINGS]
    found = llama.replies(rows, batch_size=8, max_new_tokens=60)
    require_own_endings(found)
    assert llama.replies(rows, batch_size=1, max_new_tokens=60) == found


def test_generation_ends_with_the_last_rows_object(
    llama: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.inference import generate as module
    from hsd.inference.replies import read_tokens

    texts = {"row0": '{"a": 1}', "row1": '{"abc": "defghi"}'}
    writing(llama, monkeypatch, texts)
    lengths: list[int] = []

    def read(words: Any, new: list[int], *rest: Any) -> Any:
        lengths.append(len(new))
        return read_tokens(words, new, *rest)

    monkeypatch.setattr(module, "read_tokens", read)
    llama.replies(llama.rows[:2], batch_size=2, max_new_tokens=60)
    longest = max(len(llama.tokenizer.encode(text)) for text in texts.values())
    assert lengths == [longest, longest]


def test_a_thought_in_another_channel_ends_nothing(
    tiny_gpt_oss: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(tiny_gpt_oss)
    answer = '{"classification": "hate"}'
    thought = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"
    texts = {
        "row0": f"{thought}<|channel|>final<|message|>{answer}<|return|>",
        "row1": f"<|channel|>final<|message|>{answer}<|return|>",
    }
    writing(asked, monkeypatch, texts)
    found = asked.replies(asked.rows[:2], batch_size=2, max_new_tokens=80)
    assert found["row0"] == (texts["row0"].removesuffix("<|return|>"), False)
    assert found["row1"] == (texts["row1"].removesuffix("<|return|>"), False)


# Sampling


def test_sampled_replies_depend_on_seed_and_row_alone(llama: Asked) -> None:
    import torch

    hot: dict[str, Any] = {"temperature": 1.0, "seed": 3}
    together = llama.replies(batch_size=8, **hot)
    torch.rand(5)
    assert llama.replies(reversed(llama.rows), batch_size=2, **hot) == together
    alone = llama.rows[4]
    assert llama.replies([alone], **hot) == {alone.id: together[alone.id]}
    assert llama.replies(temperature=1.0, seed=4) != together
    assert llama.replies() != together


def test_two_rows_with_one_post_are_sampled_apart(tiny_llama: Path) -> None:
    twins = Asked(tiny_llama, ["the best food", "the best food"])
    found = twins.replies(temperature=1.0)
    assert found["row0"] != found["row1"]
    greedy = twins.replies()
    assert greedy["row0"] == greedy["row1"]


def test_sampling_is_from_the_whole_vocabulary(llama: Asked) -> None:
    """At a temperature that makes all tokens alike, more than the likeliest 50 are drawn."""
    import torch

    with torch.inference_mode():
        logits = llama.base.model(input_ids=torch.tensor([llama.rows[0].prompt])).logits[0, -1]
    likely = set(logits.topk(50).indices.tolist())
    texts = {llama.tokenizer.decode([token]) for token in likely}
    drawn = [
        llama.replies([llama.rows[0]], temperature=1000.0, seed=seed, max_new_tokens=1)["row0"][0]
        for seed in range(20)
    ]
    assert set(drawn) - texts
