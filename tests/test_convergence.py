import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from present import present

from hsd.errors import PreflightError
from hsd.io.files import write_json, write_jsonl
from hsd.training.convergence import (
    Patience,
    convergence_verdict,
    early_stop,
    patience_of,
    smoothed,
    verdict_numbers,
)
from hsd.training.curves import convergence_report
from hsd.training.history import Curves, Point, curves_of, read_curves


def points(values: list[float], every: int = 10) -> tuple[Point, ...]:
    """Values logged every `every` steps, ten of them an epoch."""
    return tuple(Point(i * every, v, i / 10) for i, v in enumerate(values, start=1))


def falling(n: int = 60, to: float = 0.3, pace: float = 6.0, noise: float = 0.03) -> list[float]:
    rng = random.Random(0)
    return [to + 2 * math.exp(-i / pace) + rng.gauss(0, noise) for i in range(n)]


def log_rows(losses: list[float], evaluations: list[float]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"step": p.step, "epoch": p.epoch, "loss": p.value, "grad_norm": 1.0, "learning_rate": 1e-4}
        for p in points(losses)
    ]
    return rows + [
        {"step": p.step, "epoch": p.epoch, "eval_loss": p.value} for p in points(evaluations, 100)
    ]


def test_losses_that_stopped_falling_have_converged() -> None:
    verdict = convergence_verdict(Curves(loss=points(falling())))
    assert verdict.status == "converged"
    assert verdict.judged == "training loss"
    assert verdict.fall_last_third == 0.0  # what slope there is may be noise


def test_a_training_loss_that_still_falls_is_still_improving() -> None:
    verdict = convergence_verdict(Curves(loss=points(falling(pace=60))))
    assert verdict.status == "still improving"
    assert present(verdict.fall_last_third) > 0.1


def test_the_validation_loss_decides_where_there_is_enough_of_it() -> None:
    curves = Curves(loss=points(falling(pace=60)), eval_loss=points([1.0, 0.6, 0.598], 200))
    verdict = convergence_verdict(curves)
    assert (verdict.status, verdict.judged) == ("converged", "validation loss")
    assert verdict.fall_last_third == pytest.approx(0.002 / 0.6)
    better = convergence_verdict(Curves(eval_loss=points([1.0, 0.6, 0.5], 200)))
    assert better.status == "still improving"
    assert better.fall_last_third == pytest.approx(0.1 / 0.6)


def test_validation_that_rises_while_training_falls_is_overfitting() -> None:
    curves = Curves(
        loss=points(falling(pace=60)), eval_loss=points([1.0, 0.6, 0.5, 0.52, 0.56, 0.6], 100)
    )
    verdict = convergence_verdict(curves)
    assert verdict.status == "overfitting"
    assert (present(verdict.best).step, present(verdict.last).step) == (300, 600)
    assert verdict.rise_since_best == pytest.approx(0.2)
    assert "best at step 300 and has risen by 20.0%" in verdict.reason


def test_a_rise_of_a_hair_is_no_overfitting() -> None:
    verdict = convergence_verdict(Curves(eval_loss=points([1.0, 0.5, 0.5, 0.5, 0.505], 100)))
    assert verdict.status == "converged"


@pytest.mark.parametrize("name", ["loss", "eval_loss"])
def test_a_loss_that_is_not_a_number_is_divergence(name: str) -> None:
    values = falling(20)
    values[12] = math.nan
    verdict = convergence_verdict(Curves(**{name: points(values)}))
    assert verdict.status == "diverged"
    assert "at step 130 is not a number" in verdict.reason


def test_an_infinite_norm_in_the_middle_is_loss_scaling_and_at_the_end_divergence() -> None:
    fine = Curves(loss=points(falling()), grad_norm=points([1.0, math.inf, 1.0]))
    broken = Curves(loss=points(falling()), grad_norm=points([1.0, 1.0, math.inf]))
    assert convergence_verdict(fine).status == "converged"
    assert convergence_verdict(broken).status == "diverged"


def test_a_training_loss_that_loses_what_it_gained_has_diverged() -> None:
    undone = falling(40) + [0.3 + 0.06 * i for i in range(20)]
    verdict = convergence_verdict(Curves(loss=points(undone)))
    assert verdict.status == "diverged"
    assert "ended at" in verdict.reason
    grown = [1.0 + 0.05 * i for i in range(30)]
    assert convergence_verdict(Curves(loss=points(grown))).status == "diverged"


def test_both_losses_rising_is_divergence_and_not_overfitting() -> None:
    losses = falling(30, noise=0.0) + [0.3 + 0.01 * i for i in range(30)]
    verdict = convergence_verdict(
        Curves(loss=points(losses), eval_loss=points([1, 0.5, 0.4, 0.45, 0.6], 120))
    )
    assert verdict.status == "diverged"
    assert "and the training loss by" in verdict.reason


def test_a_small_rise_near_zero_is_no_divergence() -> None:
    # Twenty times the best loss, and still a hundredth of where it started.
    risen = [2 * math.exp(-i / 4) + (0.02 if i > 53 else 0.001) for i in range(60)]
    assert convergence_verdict(Curves(loss=points(risen))).status == "converged"


def test_a_loss_that_never_moved_says_that_nothing_was_learned() -> None:
    verdict = convergence_verdict(Curves(eval_loss=points([0.7, 0.7, 0.7, 0.7], 100)))
    assert verdict.status == "converged"
    assert "nothing was learned" in verdict.reason


def test_too_few_losses_have_no_verdict_and_no_numbers() -> None:
    verdict = convergence_verdict(Curves(loss=points([2.0] * 9), eval_loss=points([1.0, 0.5])))
    assert verdict.status == "too short"
    assert (verdict.judged, verdict.best, verdict.rise_since_best) == (None, None, None)
    assert "9 training and 2 validation losses" in verdict.reason
    assert convergence_verdict(Curves()).status == "too short"


def test_smoothing_looks_back_over_a_tenth_of_the_run() -> None:
    found = smoothed(points([float(i % 2) for i in range(20)]))
    assert [p.value for p in found[:4]] == [0.0, 0.5, 0.5, 0.5]
    assert [p.step for p in found] == [p.step for p in points([0.0] * 20)]


EVALUATIONS = points([1.0, 0.8, 0.79, 0.85, 0.84, 0.83], 100)


@pytest.mark.parametrize(
    ("patience", "step"),
    [
        (Patience(1), 400),
        (Patience(3), 600),
        (Patience(4), None),
        (Patience(1, min_delta=0.05), 300),  # .80 -> .79 is no improvement then
        (Patience(150, "steps"), 500),
        (Patience(200, "steps"), 500),
        (Patience(201, "steps"), 600),
    ],
)
def test_when_early_stopping_would_have_fired(patience: Patience, step: int | None) -> None:
    found = early_stop(EVALUATIONS, patience)
    assert (found.step if found else None) == step


def test_patience_in_epochs_is_counted_in_the_steps_of_an_epoch() -> None:
    per_epoch = tuple(Point(100 * e, v, float(e)) for e, v in enumerate([1, 0.5, 0.6, 0.7], 1))
    assert present(early_stop(per_epoch, Patience(1, "epochs"))).step == 300
    assert present(early_stop(per_epoch, Patience(2, "epochs"))).step == 400
    assert early_stop(per_epoch, Patience(3, "epochs")) is None


def test_the_runs_own_early_stopping_is_used(tmp_path: Path) -> None:
    assert patience_of(tmp_path) is None
    rule = {"patience": 2, "unit": "epochs", "min_delta": 0.01}
    write_json(tmp_path / "config.json", {"early_stopping": rule})
    assert patience_of(tmp_path) == Patience(2, "epochs", 0.01)
    write_json(tmp_path / "config.json", {"early_stopping": None})
    assert patience_of(tmp_path) is None


def test_a_resumed_run_repeats_steps_and_the_last_word_counts() -> None:
    rows = [{"step": 5, "loss": 1.0}, {"step": 10, "loss": 0.9}, {"step": 5, "loss": 0.8}]
    assert curves_of(rows).loss == (Point(5, 0.8), Point(10, 0.9))


def test_rows_without_a_step_or_with_other_keys_are_passed_over() -> None:
    rows: list[dict[str, Any]] = [
        {"loss": 1.0}, {"step": 1, "train_loss": 0.5, "train_runtime": 3.0}, {"step": 2}
    ]  # fmt: skip
    assert curves_of(rows) == Curves()


def test_metrics_jsonl_is_read_though_its_last_line_is_half_written(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "metrics.jsonl", log_rows([1.0, 0.9], [0.8]))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    curves = read_curves(tmp_path)
    assert [p.value for p in curves.loss] == [1.0, 0.9]
    assert curves.eval_loss == (Point(100, 0.8, 0.1),)
    assert curves.learning_rate[0].value == 1e-4


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(PreflightError, match=r"metrics\.jsonl:2: not a JSON object"):
        read_curves(tmp_path)


def test_a_trainers_state_is_read_from_the_run_or_its_newest_checkpoint(tmp_path: Path) -> None:
    for step in (90, 200, 1000):
        state = {"log_history": [{"step": step, "loss": 1.0}]}
        write_json(tmp_path / f"checkpoint-{step}" / "trainer_state.json", state)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-best" / "trainer_state.json").write_text("{}")
    assert read_curves(tmp_path).loss[0].step == 1000
    file = tmp_path / "checkpoint-90" / "trainer_state.json"
    assert read_curves(file).loss[0].step == 90
    write_json(tmp_path / "trainer_state.json", {"log_history": log_rows([1.0], [])})
    assert read_curves(tmp_path).loss[0].step == 10


def test_a_folder_without_a_log_or_a_log_without_a_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no metrics.jsonl and no trainer_state.json"):
        read_curves(tmp_path)
    with pytest.raises(PreflightError, match="no such folder"):
        read_curves(tmp_path / "nowhere")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(PreflightError, match="no row with a step and a loss"):
        read_curves(tmp_path)
    state = tmp_path / "trainer_state.json"
    write_json(state, {"log_history": None})
    with pytest.raises(PreflightError, match="no list 'log_history'"):
        read_curves(state)


def test_the_report_draws_a_png_and_an_svg_and_the_same_run_the_same_bytes(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "metrics.jsonl", log_rows(falling(pace=60), [1.0, 0.6, 0.5, 0.55, 0.6, 0.7])
    )
    verdict, (png, svg) = convergence_report(tmp_path, tmp_path / "out", Patience(2))
    assert verdict.status == "overfitting"
    assert png.read_bytes().startswith(b"\x89PNG")
    first = svg.read_bytes()
    assert b"</svg>" in first
    convergence_report(tmp_path, tmp_path / "out", Patience(2))
    assert svg.read_bytes() == first
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "convergence.png",
        "convergence.svg",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [{"step": 1, "loss": 1.0}],
        [{"step": 1, "eval_loss": 1.0}],
        [{"step": 1, "eval_loss": 1.0, "eval_label_accuracy": 0.5}],
        [{"step": 1, "eval_loss": 1.0, "eval_label_accuracy": 0.5, "eval_auroc": 0.6}],
        [{"step": 1, "loss": math.nan, "grad_norm": math.nan}],
        log_rows([1.0, math.inf, 0.5], []),
    ],
)
def test_any_log_can_be_drawn_beside_the_run(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write_jsonl(tmp_path / "metrics.jsonl", rows)
    _, files = convergence_report(tmp_path)
    assert [f.parent for f in files] == [tmp_path, tmp_path]


def test_the_verdict_is_json_and_a_loss_that_is_no_number_is_null() -> None:
    verdict = convergence_verdict(Curves(eval_loss=points([1.0, 0.5, math.nan])))
    numbers = json.loads(json.dumps(verdict_numbers(verdict), allow_nan=False))
    assert numbers["status"] == "diverged"
    assert numbers["last"] == {"step": 30, "value": None, "epoch": 0.3}


def test_convergence_never_loads_torch() -> None:
    code = "import hsd.training.curves, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
