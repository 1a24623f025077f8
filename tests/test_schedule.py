"""The steps of a run, as tables worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from hsd.training.schedule import Schedule, plan_schedule


def schedule(
    rows: int,
    validation_rows: int = 0,
    processes: int = 1,
    early_stopping: dict[str, Any] | None = None,
    **training: Any,
) -> Schedule:
    """Return the plan of a run with batches of 4, one a step, unless `training` says otherwise."""
    settings = {"batch_size": 4, "accumulation": 1, "warmup_steps": 0} | training
    config = TrainConfig(training=settings, early_stopping=early_stopping)
    return plan_schedule(config, rows, validation_rows, processes)


@pytest.mark.parametrize(
    ("rows", "batch_size", "accumulation", "processes", "epochs", "per_epoch", "total"),
    [
        # rows  batch  acc  processes  epochs  steps/epoch  steps
        (16, 4, 1, 1, 1, 4, 4),
        (17, 4, 1, 1, 1, 5, 5),  # the last step has one row
        (16, 4, 4, 1, 3, 1, 3),
        (17, 4, 4, 1, 3, 2, 6),
        (10453, 4, 4, 1, 3, 654, 1962),
        (10453, 4, 4, 4, 3, 164, 492),
        (17, 4, 1, 2, 1, 3, 3),  # 5 batches over 2 processes
        (17, 4, 2, 2, 1, 2, 2),
        (3, 4, 4, 4, 2, 1, 2),  # fewer rows than one batch
        (16, 4, 1, 1, 0.5, 4, 2),
        (16, 4, 1, 1, 1.1, 4, 5),
    ],
)
def test_steps_are_counted_as_by_hand(
    rows: int,
    batch_size: int,
    accumulation: int,
    processes: int,
    epochs: float,
    per_epoch: int,
    total: int,
) -> None:
    planned = schedule(
        rows,
        processes=processes,
        batch_size=batch_size,
        accumulation=accumulation,
        epochs=epochs,
    )
    assert (planned.steps_per_epoch, planned.total_steps) == (per_epoch, total)
    assert planned.rows_per_step == batch_size * accumulation * processes


def test_max_steps_wins_over_epochs() -> None:
    assert schedule(16, epochs=3, max_steps=7).total_steps == 7
    assert schedule(16, epochs=1, max_steps=9).total_steps == 9


@pytest.mark.parametrize(
    ("training", "warmup"),
    [
        ({"warmup_steps": None, "warmup_ratio": 0.25}, 3),
        ({"warmup_steps": None, "warmup_ratio": 0.26}, 4),
        ({"warmup_steps": None, "warmup_ratio": 0.0}, 0),
        ({"warmup_steps": 5, "warmup_ratio": 0.25}, 5),
        ({"warmup_steps": None, "warmup_ratio": 0.99}, 11),  # a share always ends before the run
    ],
)
def test_warm_up_is_a_share_of_twelve_steps_or_a_number(
    training: dict[str, Any], warmup: int
) -> None:
    assert schedule(16, epochs=3, **training).warmup_steps == warmup


def test_a_run_of_one_step_works_with_the_default_warm_up() -> None:
    assert schedule(16, max_steps=1, warmup_steps=None).warmup_steps == 0


def events(planned: Schedule) -> tuple[list[int], list[int]]:
    steps = range(1, planned.total_steps + 1)
    return (
        [s for s in steps if planned.evaluates_at(s)],
        [s for s in steps if planned.saves_at(s)],
    )


@pytest.mark.parametrize(
    ("training", "evaluated", "saved"),
    [
        ({}, [4, 8, 12], [4, 8, 12]),
        ({"evaluate_every_steps": 5}, [5, 10, 12], [5, 10, 12]),
        ({"save_every_steps": 5}, [4, 8, 12], [5, 10, 12]),
        ({"evaluate_every_steps": 3, "save_every_steps": 6}, [3, 6, 9, 12], [6, 12]),
        ({"evaluate_every_steps": 50}, [12], [12]),
        ({"max_steps": 6}, [4, 6], [4, 6]),
    ],
)
def test_validation_and_checkpoints_come_as_asked_and_at_the_end(
    training: dict[str, Any], evaluated: list[int], saved: list[int]
) -> None:
    planned = schedule(16, validation_rows=4, **({"epochs": 3} | training))
    assert events(planned) == (evaluated, saved)
    assert planned.evaluations == len(evaluated)


def test_without_validation_rows_nothing_is_evaluated_and_each_epoch_is_saved() -> None:
    planned = schedule(16, epochs=3)
    assert events(planned) == ([], [4, 8, 12])
    assert planned.evaluations == 0


@pytest.mark.parametrize("warmup", [12, 13, 1000])
def test_a_warm_up_as_long_as_the_run_is_refused(warmup: int) -> None:
    with pytest.raises(PreflightError, match=rf"warm-up of {warmup} steps .* run of 12 steps"):
        schedule(16, epochs=3, warmup_steps=warmup)


def test_early_stopping_without_validation_rows_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"set data\.validation_file"):
        schedule(16, early_stopping={})


@pytest.mark.parametrize(
    ("patience", "unit", "training", "fires"),
    [
        # 12 steps, 4 an epoch; validation at 4, 8 and 12, so that a stop can only be at 8.
        (1, "epochs", {}, True),
        (2, "epochs", {}, False),
        (4, "steps", {}, True),
        (5, "steps", {}, False),  # 4 + 5 = 9 < 12, but nothing is judged between 9 and 12
        (5, "steps", {"evaluate_every_steps": 1}, True),
        (10, "steps", {"evaluate_every_steps": 1}, True),
        (11, "steps", {"evaluate_every_steps": 1}, False),
        (1, "steps", {"evaluate_every_steps": 6}, False),  # the second judgement is the last step
        (1, "steps", {"evaluate_every_steps": 50}, False),
    ],
)
def test_early_stopping_that_cannot_fire_before_the_end_is_refused(
    patience: int, unit: str, training: dict[str, Any], fires: bool
) -> None:
    stopping = {"patience": patience, "unit": unit}
    settings: dict[str, Any] = {"epochs": 3, "early_stopping": stopping} | training
    if fires:
        assert schedule(16, validation_rows=4, **settings).total_steps == 12
    else:
        with pytest.raises(PreflightError, match="early_stopping cannot fire"):
            schedule(16, validation_rows=4, **settings)


def test_every_shipped_preset_has_a_schedule_for_the_promised_rows() -> None:
    from hsd.config.loading import resolve_train_config

    presets = sorted(Path(__file__).parent.parent.glob("jobs/presets/*.json"))
    assert len(presets) == 7
    for preset in presets:
        config = resolve_train_config(preset.stem, ()).config
        assert (
            plan_schedule(config, rows=10_453, validation_rows=500, processes=4).total_steps > 100
        )
