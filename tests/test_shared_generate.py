"""Replies behind a shared prefix are those of each row alone, and finished rows cost nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from asked import ENDINGS, POSTS, Asked, require_own_endings

from hsd.prompts.render import Encoded

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> Asked:
    return Asked(tiny_llama)


def writing(asked: Asked, monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    """Make rows write given texts, token by token, whatever the model says."""
    from hsd.inference import shared_generate

    def scripted(_: Any, batch: Sequence[Encoded], device: Any) -> Any:
        encode = asked.tokenizer.encode
        scripts = [iter(encode(texts[row.id], add_special_tokens=False)) for row in batch]
        filler = encode("x")[0]
        return lambda _, numbers: [next(scripts[number], filler) for number in numbers]

    monkeypatch.setattr(shared_generate, "_sampling", scripted)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 16])
def test_replies_are_those_of_each_row_alone(batch_size: int, asked: Asked) -> None:
    alone = asked.plain()
    assert len({text for text, _ in alone.values()}) > 1, "the rows are told apart"
    assert asked.shared(batch_size=batch_size) == alone
    assert asked.shared(reversed(asked.rows), batch_size=batch_size) == alone
    assert asked.shared(asked.rows[1::3], batch_size=batch_size).items() <= alone.items()


def test_the_shared_prompt_is_longer_than_the_window(tiny_gpt_oss: Path) -> None:
    asked = Asked(tiny_gpt_oss)
    assert asked.prefix_tokens > 2 * asked.model.config.sliding_window
    assert len(POSTS) * 12 > asked.model.config.sliding_window


@pytest.mark.parametrize("tokens", [0, 1, 17, 40])
def test_any_part_of_the_prompt_may_be_the_shared_one(tokens: int, asked: Asked) -> None:
    assert asked.shared(prefix=asked.prefix(tokens), batch_size=4) == asked.plain()


def test_rows_that_share_nothing_are_the_same_code(asked: Asked) -> None:
    rows = [Encoded("a", [20, 21, 22], []), Encoded("b", [30], []), Encoded("c", [40] * 30, [])]
    assert asked.shared(rows, asked.prefix(0), batch_size=3) == asked.plain(rows)


def test_long_replies_outgrow_the_room_of_their_cache(asked: Asked) -> None:
    assert asked.shared(batch_size=9, max_new_tokens=70) == asked.plain(max_new_tokens=70)


def test_a_given_reply_is_as_likely_as_alone(asked: Asked) -> None:
    import torch

    from hsd.inference.generate import greedy_with_log_probabilities
    from hsd.inference.shared_generate import reply_log_probabilities

    stops = asked.renderer.stop_ids()
    plain = [
        greedy_with_log_probabilities(asked.model, asked.tokenizer, row.prompt, stops, 5)
        for row in asked.rows
    ]
    replies = [ids for ids, _ in plain]
    found = reply_log_probabilities(asked.model, asked.prefix(), asked.rows, replies, 4)
    for (ids, scores), log_probabilities in zip(plain, found, strict=True):
        torch.testing.assert_close(log_probabilities, scores[range(len(ids)), ids])


# Where a reply ends


def test_each_row_stops_when_its_own_object_closes(
    llama: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing(llama, monkeypatch, ENDINGS)
    found = llama.shared(llama.rows[:6], batch_size=8, max_new_tokens=60)
    require_own_endings(found)
    assert [cut for _, cut in found.values()] == [False, False, True, False, True, True]
    assert llama.shared(llama.rows[:6], batch_size=1, max_new_tokens=60) == found


def test_finished_rows_leave_at_once_and_are_forgotten(
    llama: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.inference.replies import Asking
    from hsd.inference.row_cache import RowCache

    texts = {"row0": "}" * 9, "row1": "{}", "row2": '{"a": 1}'}
    writing(llama, monkeypatch, texts)
    steps: list[tuple[int, int]] = []
    read = RowCache.read

    def counted(self: Any, new: Any, keep: Any) -> Any:
        logits = read(self, new, keep)
        steps.append((len(keep), len(self)))
        return logits

    monkeypatch.setattr(RowCache, "read", counted)
    rows = llama.rows[:3]
    written = llama.generating(Asking(8, 3)).write(rows)
    lengths = [len(ids) for ids in written]
    assert max(lengths) == len(steps)
    shared = llama.prefix_tokens
    for step, (asked_for, remembered) in enumerate(steps):
        left = [row for row, length in zip(rows, lengths, strict=True) if length > step]
        assert asked_for == len(left)
        assert remembered == shared + sum(len(row.prompt) - shared + step for row in left)


def test_text_is_decoded_for_closing_braces_alone(llama: Asked) -> None:
    from hsd.inference.replies import Closing

    decoded: list[int] = []

    class Counting:
        def decode(self, ids: Sequence[int], **options: bool) -> str:
            decoded.append(len(ids))
            return str(llama.tokenizer.decode(ids, **options))

    closes = Closing(Counting())
    ids = llama.tokenizer.encode('{"a": "b b b b b b b b"}')
    assert [closes(ids[: end + 1]) for end in range(len(ids))] == [False] * (len(ids) - 1) + [True]
    assert decoded.count(1) == len(set(ids))
    assert sorted(decoded)[-1] == len(ids)
    assert len(decoded) == len(set(ids)) + 1


# Sampling


def test_sampled_replies_depend_on_seed_and_row_alone(asked: Asked) -> None:
    import torch

    hot: dict[str, Any] = {"temperature": 1.0, "seed": 3}
    alone = asked.plain(**hot)
    assert asked.shared(batch_size=8, **hot) == alone
    torch.rand(5)
    assert asked.shared(reversed(asked.rows), batch_size=2, **hot) == alone
    assert asked.shared(temperature=1.0, seed=4) != alone
    assert asked.shared() != alone


def test_two_rows_with_one_post_are_sampled_apart(tiny_llama: Path) -> None:
    twins = Asked(tiny_llama, ["the best food", "the best food"])
    hot = twins.shared(temperature=1.0)
    assert hot["row0"] != hot["row1"]
    greedy = twins.shared()
    assert greedy["row0"] == greedy["row1"]
