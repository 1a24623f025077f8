"""What a training run logged, read from metrics.jsonl or a Trainer's trainer_state.json."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from hsd.io.files import require_folder
from hsd.io.json_reader import read_json, read_objects

METRICS = "metrics.jsonl"
TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Point:
    """One logged value at an optimiser step; `epoch` is None where the log has none."""

    step: int
    value: float
    epoch: float | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """The logged series of one run, each in the order of its steps."""

    loss: tuple[Point, ...] = ()
    eval_loss: tuple[Point, ...] = ()
    eval_label_accuracy: tuple[Point, ...] = ()
    eval_auroc: tuple[Point, ...] = ()
    grad_norm: tuple[Point, ...] = ()
    learning_rate: tuple[Point, ...] = ()

    def first_not_finite(self) -> tuple[str, Point] | None:
        """Return name and point of the earliest loss, or last norm, that is NaN or infinite."""
        series = {
            "training loss": self.loss,
            "validation loss": self.eval_loss,
            # Loss scaling in float16 skips steps with an infinite norm; only the last one tells.
            "gradient norm": self.grad_norm[-1:],
        }
        found = [(n, p) for n, points in series.items() for p in points if not _finite(p)]
        return min(found, key=lambda pair: pair[1].step, default=None)


def read_curves(run: Path) -> Curves:
    """Return what the run in a folder, or a log file itself, holds.

    Takes metrics.jsonl, else trainer_state.json, else that of the newest checkpoint. Raises
    PreflightError when there is none, or none with a loss.
    """
    file = _log_file(run)
    is_state = file.name == TRAINER_STATE
    rows: Iterable[Mapping[str, Any]] = _state_rows(file) if is_state else read_objects(file)
    curves = curves_of(rows)
    if not curves.loss and not curves.eval_loss:
        raise PreflightError(f"{file}: no row with a step and a loss or eval_loss; nothing to see.")
    return curves


def curves_of(rows: Iterable[Mapping[str, Any]]) -> Curves:
    """Return the series in logged rows. A resumed run repeats steps: the last word counts."""
    found: dict[str, dict[int, Point]] = {name: {} for name in Curves.__slots__}
    for row in rows:
        for name in found.keys() & row.keys():
            if (step := row.get("step")) is not None and row[name] is not None:
                found[name][step] = Point(step, float(row[name]), row.get("epoch"))
    ordered = {name: tuple(points[s] for s in sorted(points)) for name, points in found.items()}
    return Curves(**ordered)


def _log_file(run: Path) -> Path:
    if run.is_file():
        return run
    require_folder(run, "run")
    checkpoints = [p for p in run.glob(f"checkpoint-*/{TRAINER_STATE}") if _step(p) >= 0]
    candidates = [run / METRICS, run / TRAINER_STATE, *sorted(checkpoints, key=_step)[-1:]]
    for file in candidates:
        if file.is_file():
            return file
    raise PreflightError(
        f"{run}: no {METRICS} and no {TRAINER_STATE}; expected the output_dir of `hsd train`."
    )


def _step(state: Path) -> int:
    """Return the step in `checkpoint-120/trainer_state.json`, -1 where there is none."""
    number = state.parent.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def _state_rows(file: Path) -> list[Mapping[str, Any]]:
    state = read_json(file)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise PreflightError(f"{file}: no list 'log_history'; expected a Trainer's state.")
    return [row for row in history if isinstance(row, dict)]


def _finite(point: Point) -> bool:
    return math.isfinite(point.value)
