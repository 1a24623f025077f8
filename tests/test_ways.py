"""Which way rows are answered: behind what they share where that pays and is right."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import EvaluationError
from hsd.prompts.render import Encoded

pytestmark = pytest.mark.model


def rows(*prompts: list[int]) -> list[Encoded]:
    return [Encoded(f"row{n}", prompt, []) for n, prompt in enumerate(prompts)]


def test_what_all_prompts_begin_with_is_counted_once() -> None:
    from hsd.evaluation.choose_engine import expect

    many = rows(*([1, 2, 3, 10 + n] for n in range(10)))
    expected = expect(many)
    assert (expected.prefix_tokens, expected.plain_tokens) == (3, 40)
    assert expected.shared_tokens == 3 + 10
    assert expected.self_test_tokens == 2 * 4


def test_the_last_token_of_a_prompt_is_its_rows_own() -> None:
    from hsd.evaluation.choose_engine import expect

    alone = rows([1, 2, 3])
    assert expect(alone).prefix_tokens == 2
    nested = rows([1, 2, 3], [1, 2, 3, 4, 5])
    assert expect(nested).prefix_tokens == 2


@pytest.mark.parametrize(
    ("count", "shared", "own", "worth"),
    [
        (100, 300, 30, True),
        (100, 20, 30, True),
        (100, 3, 30, False),
        (3, 300, 30, False),
        (20, 300, 30, True),
        (1, 300, 30, False),
    ],
)
def test_sharing_has_to_save_more_than_its_self_test_costs(
    count: int, shared: int, own: int, worth: bool
) -> None:
    from hsd.evaluation.choose_engine import expect

    many = rows(*([0] * shared + [10 + n] * own for n in range(count)))
    assert expect(many).is_worth_it == worth


class Evaluation:
    """A prepared evaluation of a tiny base with its model."""

    def __init__(self, base: Path, folder: Path, count: int = 30, **settings: Any) -> None:
        from hsd.evaluation.evaluation_plan import plan_evaluation

        posts = [
            {"id": f"p{n}", "text": f"number {n} " + "food " * (n % 7), "label_binary": "normal"}
            for n in range(count)
        ]
        file = folder / "rows.jsonl"
        file.write_text("".join(json.dumps(post) + "\n" for post in posts))
        given = {"data_file": str(file), "prompt_template": "baseline", "max_new_tokens": 6}
        model = {"name": str(base), "device": "cpu"}
        self.prepared = plan_evaluation(
            EvalConfig.model_validate(given | {"model": model} | settings)
        )
        self.model, _ = self.prepared.subject.load()

    def chosen(self) -> Any:
        from hsd.evaluation.choose_engine import choose_engine

        return choose_engine(self.prepared, self.model)


@pytest.fixture(params=["score", "generate"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_auto_shares_where_it_pays(mode: str, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    chosen = Evaluation(tiny_gpt_oss, tmp_path, mode=mode).chosen()
    assert chosen.shared
    assert chosen.self_test.problem is None
    few = Evaluation(tiny_gpt_oss, tmp_path, count=3, mode=mode).chosen()
    assert (few.shared, few.reason, few.self_test) == (False, "sharing would gain little", None)


def test_on_shares_whatever_it_gains_and_off_never(
    mode: str, tiny_llama: Path, tmp_path: Path
) -> None:
    assert Evaluation(tiny_llama, tmp_path, count=2, mode=mode, prefix_sharing="on").chosen().shared
    plain = Evaluation(tiny_llama, tmp_path, mode=mode, prefix_sharing="off").chosen()
    assert (plain.shared, plain.reason, plain.self_test) == (False, "as asked", None)


def all_see_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the masks: what a model would see that ignores them."""
    import torch

    from hsd.model import packing

    def wrong(queries: Any, keys: Any, window: int | None = None) -> Any:
        return torch.ones(len(queries), len(keys), dtype=torch.bool)

    monkeypatch.setattr(packing, "visible_positions", wrong)


def test_auto_falls_back_to_the_plain_way_with_a_warning(
    mode: str,
    tiny_gpt_oss: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    evaluation = Evaluation(tiny_gpt_oss, tmp_path, mode=mode)
    all_see_all(monkeypatch)
    with caplog.at_level(logging.WARNING, "hsd"):
        chosen = evaluation.chosen()
    assert not chosen.shared
    assert not chosen.facts()["self_test"]["passed"]
    assert chosen.reason == chosen.self_test.problem
    assert f"prompts are not shared: {chosen.reason}" in caplog.text
    assert chosen.fallback.startswith("Each prompt is computed whole (")
    assert chosen.fallback.endswith(f" times as many tokens), since {chosen.reason}.")


def test_on_fails_and_names_the_difference(
    mode: str, tiny_gpt_oss: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Evaluation(tiny_gpt_oss, tmp_path, mode=mode, prefix_sharing="on")
    all_see_all(monkeypatch)
    said = r"^prefix_sharing on: .* given other probabilities than alone \(.* by [\d.]+ nats, 0.001"
    with pytest.raises(EvaluationError, match=said):
        evaluation.chosen()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("_attn_implementation", "flash_attention_2", "its attention .flash_attention_2. takes no"),
        ("layer_types", ["full_attention", "linear_attention"], "of the kind linear_attention"),
    ],
)
def test_a_model_that_takes_no_masks_is_not_tried(
    setting: str,
    value: Any,
    said: str,
    tiny_gpt_oss: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluation = Evaluation(tiny_gpt_oss, tmp_path, prefix_sharing="on")
    monkeypatch.setattr(evaluation.model.config, setting, value)
    with pytest.raises(EvaluationError, match=said):
        evaluation.chosen()


def test_a_full_memory_in_the_self_test_halves_too(
    mode: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.inference.shared_generate import SharedGenerate
    from hsd.inference.shared_score import SharedScore

    kind, name = (
        (SharedScore, "log_probabilities") if mode == "score" else (SharedGenerate, "write")
    )
    inner = getattr(kind, name)

    def small(self: Any, batch: Any) -> Any:
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return inner(self, batch)

    monkeypatch.setattr(kind, name, small)
    assert Evaluation(tiny_llama, tmp_path, mode=mode, prefix_sharing="on").chosen().shared
