"""Which adapter is kept: as tables of what validation said, and in whole small runs."""

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from pydantic import ValidationError
from small_runs import adapter_bytes, jsonl, metrics, posts

from hsd.config.evaluate_config import EvalConfig
from hsd.config.train_config import SelectionConfig
from hsd.errors import PreflightError, Stopped
from hsd.evaluation.evaluate import evaluate
from hsd.metrics.classification import classify
from hsd.metrics.gaps import largest_gap
from hsd.metrics.group_f1 import worst_group_f1
from hsd.training.early_stopping import best_step
from hsd.training.selection import badness, evaluations
from hsd.training.training_run import Trained, train

ROWS = [
    {"step": 1, "eval_loss": 0.9, "eval_f1": 0.5, "eval_auroc": 0.9, "eval_gap": 0.05},
    {"step": 2, "loss": 0.1},
    {"step": 3, "eval_loss": 0.7, "eval_f1": 0.8, "eval_auroc": 0.7, "eval_gap": 0.30},
    {"step": 5, "eval_loss": 0.8, "eval_f1": 0.7, "eval_auroc": 0.8, "eval_gap": 0.10},
]


@pytest.mark.parametrize(
    ("selection", "best"),
    [
        ({}, 3),
        ({"metric": "f1"}, 3),
        ({"metric": "auroc"}, 1),
        ({"metric": "f1_within_gap", "max_gap": 0.1}, 5),
        ({"metric": "f1_within_gap", "max_gap": 0.05}, 1),
        ({"metric": "f1_within_gap", "max_gap": 0.01}, 1),  # none keeps it: the smallest gap
    ],
)
def test_each_metric_keeps_its_own_best(selection: dict[str, Any], best: int) -> None:
    assert best_step(evaluations(ROWS, SelectionConfig(**selection))) == best


def test_a_metric_that_is_not_defined_is_never_the_best() -> None:
    rows = [{"step": 1, "eval_loss": 0.1}, {"step": 2, "eval_loss": 0.9, "eval_f1": 0.1}]
    assert badness(rows[0], SelectionConfig(metric="f1")) == math.inf
    assert best_step(evaluations(rows, SelectionConfig(metric="f1"))) == 2


def test_a_gap_goes_with_its_metric_alone() -> None:
    for wrong in ({"metric": "f1_within_gap"}, {"metric": "f1", "max_gap": 0.1}):
        with pytest.raises(ValidationError, match="max_gap goes with metric f1_within_gap"):
            SelectionConfig(**wrong)


# Whole runs


def about_groups(count: int, first: int) -> list[dict[str, str]]:
    groups = ("lgbtq", "mexican")
    return [
        {**row, "target_group": groups[n // 2 % 2]} for n, row in enumerate(posts(count, first))
    ]


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> Callable[..., Any]:
    return lambda **parts: selecting(tiny_llama, tmp_path, **parts)


def selecting(base: Path, folder: Path, **selection: Any) -> Any:
    file = jsonl(folder / "judged.jsonl", about_groups(24, first=1000))
    return small_runs.config(
        base, folder, data={"validation_file": str(file)}, selection={"metric": "f1", **selection}
    )


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(selecting(tiny_llama, tmp_path_factory.mktemp("whole")))


def judged(run: Path) -> list[dict[str, Any]]:
    return [row for row in metrics(run) if "eval_loss" in row]


@pytest.mark.model
def test_the_adapter_with_the_best_f1_is_exported(whole: Trained) -> None:
    rows = judged(whole.folder)
    assert {"eval_f1", "eval_auroc", "eval_worst_group_f1", "eval_gap"} <= rows[-1].keys()
    assert whole.exported_step == best_step([(row["step"], -row["eval_f1"]) for row in rows])
    assert "the best by f1" in whole.sentences()[1]
    assert adapter_bytes(whole.folder) == adapter_bytes(whole.folder / "best")


@pytest.mark.model
def test_validation_in_training_says_what_hsd_evaluate_says(whole: Trained, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "judged.jsonl", about_groups(24, first=1000))
    found = evaluate(
        EvalConfig.model_validate({
            "model": {"name": str(whole.folder), "device": "cpu"},
            "data_file": str(file), "output_dir": str(tmp_path / "eval"),
        })
    )  # fmt: skip
    (row,) = (r for r in judged(whole.folder) if r["step"] == whole.exported_step)
    rows = found.predictions
    assert row["eval_f1"] == classify(rows).f1
    assert row["eval_auroc"] == pytest.approx(classify(rows).auroc, abs=1e-9)
    assert row["eval_worst_group_f1"] == worst_group_f1(rows)
    assert row["eval_gap"] == pytest.approx(largest_gap(rows), abs=1e-12)


@pytest.mark.model
def test_a_stopped_and_resumed_run_selects_as_the_uninterrupted(
    whole: Trained, config: Callable[..., Any]
) -> None:
    sent: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == 4 and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGTERM)

    settings = config()
    with pytest.raises(Stopped):
        train(settings, progress)
    resumed = train(settings)
    assert adapter_bytes(resumed.folder) == adapter_bytes(whole.folder)
    assert metrics(resumed.folder) == metrics(whole.folder)
    assert resumed.exported_step == whole.exported_step


@pytest.mark.model
def test_judging_rows_changes_nothing_that_is_learned(
    whole: Trained, config: Callable[..., Any]
) -> None:
    plain = train(config(metric="loss"))
    steps = [f"checkpoint-{plain.steps}" for _ in range(2)]
    one, other = (run.folder / step for run, step in zip((plain, whole), steps, strict=True))
    assert adapter_bytes(one) == adapter_bytes(other)
    rng = [torch.load(f / "rng_state.pth", weights_only=False)["cpu"] for f in (one, other)]
    assert torch.equal(*rng)


@pytest.mark.model
def test_a_sample_of_the_validation_rows_is_scored_where_asked(config: Callable[..., Any]) -> None:
    from hsd.training.training_plan import plan_training

    sample = plan_training(config(max_rows=12)).scorer
    assert sample is not None
    assert len(sample.examples) == 12
    assert {example.label for example in sample.examples.values()} == {"hate", "normal"}


@pytest.mark.model
def test_a_metric_that_the_rows_cannot_have_is_refused_before_any_weight_is_loaded(
    config: Callable[..., Any], tiny_llama: Path, tmp_path: Path
) -> None:
    with pytest.raises(PreflightError, match="worst_group_f1 is not defined on 4 validation rows"):
        train(config(metric="worst_group_f1", max_rows=4))
    with pytest.raises(PreflightError, match="needs validation rows"):
        train(small_runs.config(tiny_llama, tmp_path, validation=0, selection={"metric": "f1"}))
    assert not (tmp_path / "run").exists()
