"""Did a training run converge? A verdict from its logged losses, with the numbers behind it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from hsd.io.json_reader import read_object
from hsd.training.early_stopping import should_stop
from hsd.training.history import Curves, Point

Status = Literal["converged", "still improving", "overfitting", "diverged", "too short"]
Unit = Literal["evaluations", "epochs", "steps"]

MINIMUM_LOSSES = 10  # training losses are noisy: fewer say nothing about a trend
MINIMUM_EVALUATIONS = 3
RISE = 0.03  # a loss that ends this far above its best has risen
FALL = 0.01  # a loss that fell by less than this over the last third has stopped falling
DIVERGED = 1.5  # a training loss that ends at this multiple of its start never learned
UNDONE = 0.5  # one that lost this share of its fall again, and doubled, has left its best for good
STANDARD_ERRORS = 2.0  # a slope of noisy losses counts when it is this many of its errors


@dataclass(frozen=True, slots=True)
class Patience:
    """An early-stopping rule: stop once `amount` units pass without a better validation loss."""

    amount: int
    unit: Unit = "evaluations"
    min_delta: float = 0.0


@dataclass(frozen=True, slots=True)
class ConvergenceVerdict:
    """What became of a run. Rises and falls are shares of the loss: 0.05 is 5 %.

    `judged` is the loss that decided. `fall_last_third` is how far it still fell in the last
    third, `rise_since_best` how far it ended above its best. `final_rate_share` is the last
    learning rate over the highest. `early_stop` is None where the rule would not have fired.
    """

    status: Status
    reason: str
    judged: Literal["validation loss", "training loss"] | None
    first: Point | None
    best: Point | None
    last: Point | None
    rise_since_best: float | None
    fall_last_third: float | None
    final_rate_share: float | None
    patience: Patience | None
    early_stop: Point | None


def convergence_verdict(curves: Curves, patience: Patience | None = None) -> ConvergenceVerdict:
    """Return the verdict; with a `patience`, also whether early stopping would have fired.

    The validation loss decides when there are MINIMUM_EVALUATIONS of it, else the training loss.
    """
    judged = _judged(curves)
    series = curves.eval_loss if judged == "validation loss" else smoothed(curves.loss)
    series = series if judged else ()
    best = min(_finite(series), key=lambda p: p.value, default=None)
    fall = _fall(curves, judged)
    rise = _relative(best.value, series[-1].value) if best else None
    status, reason = _status(curves, series, best, fall)
    return ConvergenceVerdict(
        status=status,
        reason=reason,
        judged=judged,
        first=series[0] if series else None,
        best=best,
        last=series[-1] if series else None,
        rise_since_best=rise,
        fall_last_third=fall,
        final_rate_share=_final_rate_share(curves.learning_rate),
        patience=patience,
        early_stop=early_stop(curves.eval_loss, patience) if patience else None,
    )


def verdict_numbers(verdict: ConvergenceVerdict) -> dict[str, Any]:
    """Return the verdict as JSON; a loss that is not a number is null."""
    return {key: _plain(value) for key, value in asdict(verdict).items()}


def early_stop(evaluations: Sequence[Point], patience: Patience) -> Point | None:
    """Return the evaluation at which training would have stopped; None when it never would."""
    amount = patience.amount
    if patience.unit == "epochs":
        amount *= _steps_per_epoch(evaluations)
    by_index = patience.unit == "evaluations"
    seen: list[tuple[int, float]] = []
    for index, point in enumerate(evaluations):
        seen.append((index if by_index else point.step, point.value))
        if should_stop(seen, amount, patience.min_delta):
            return point
    return None


def patience_of(run: Path) -> Patience | None:
    """Return the early stopping that a run was configured with; None without one."""
    file = run / "config.json"
    rule = read_object(file).get("early_stopping") if file.exists() else None
    return Patience(rule["patience"], rule["unit"], rule["min_delta"]) if rule else None


def smoothed(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the mean of each point and those before it, over a tenth of the run."""
    window = max(1, len(points) // 10)
    recent = (points[max(0, i + 1 - window) : i + 1] for i in range(len(points)))
    return tuple(Point(r[-1].step, fmean(p.value for p in r), r[-1].epoch) for r in recent)


def _status(
    curves: Curves, series: Sequence[Point], best: Point | None, fall: float | None
) -> tuple[Status, str]:
    if broken := curves.first_not_finite():
        name, point = broken
        return "diverged", f"the {name} at step {point.step} is not a number."
    if best is None or fall is None:
        return "too short", _too_short(curves)
    if reason := _divergence(smoothed(curves.loss)):
        return "diverged", reason
    rise = _relative(best.value, series[-1].value)
    if len(curves.eval_loss) >= MINIMUM_EVALUATIONS and rise > RISE:
        return _risen(curves, best, rise)
    if fall > FALL:
        return "still improving", f"the loss still fell by {fall:.1%} over the last third."
    return "converged", _flat(series[0], best, fall)


def _flat(first: Point, best: Point, fall: float) -> str:
    says = f"the loss fell by {max(fall, 0):.1%} over the last third"
    if _relative(first.value, best.value) > -FALL:
        return f"{says}, but it never got below its start ({first.value:.3g}): nothing was learned."
    return f"{says}, from {first.value:.3g} at first to {best.value:.3g} at best."


def _risen(curves: Curves, best: Point, rise: float) -> tuple[Status, str]:
    """Return overfitting, or divergence when the training loss rose since then too."""
    says = f"the validation loss was best at step {best.step} and has risen by {rise:.1%} since"
    losses = smoothed(curves.loss)
    at_best = [p.value for p in losses if p.step <= best.step]
    if at_best and (also := _relative(at_best[-1], losses[-1].value)) > RISE:
        return "diverged", f"{says}, and the training loss by {also:.1%}."
    return "overfitting", f"{says}; the adapter of that step is the one to keep."


def _divergence(losses: Sequence[Point]) -> str | None:
    """Say how the training loss ended far above its best or above its start; None if it did not."""
    if len(losses) < MINIMUM_LOSSES:
        return None
    window = max(1, len(losses) // 10)
    start = fmean(p.value for p in losses[:window])
    best, last = min(losses, key=lambda p: p.value), losses[-1]
    undone = last.value - best.value > UNDONE * (start - best.value)
    if last.value > start * DIVERGED or (undone and last.value > 2 * best.value):
        return (
            f"the training loss ended at {last.value:.3g}, from {start:.3g} at the start and "
            f"{best.value:.3g} at best (step {best.step})."
        )
    return None


def _judged(curves: Curves) -> Literal["validation loss", "training loss"] | None:
    if len(curves.eval_loss) >= MINIMUM_EVALUATIONS:
        return "validation loss"
    return "training loss" if len(curves.loss) >= MINIMUM_LOSSES else None


def _fall(curves: Curves, judged: str | None) -> float | None:
    if judged is None:
        return None
    return _best_fall(curves.eval_loss) if judged == "validation loss" else _slope_fall(curves.loss)


def _best_fall(evaluations: Sequence[Point]) -> float:
    """Return how far the last third lowered the best validation loss; below 0 it did not."""
    values = [p.value for p in evaluations]
    split = len(values) - max(1, len(values) // 3)
    return -_relative(min(values[:split]), min(values[split:]))


def _slope_fall(losses: Sequence[Point]) -> float:
    """Return how far a line through the last third falls; 0 where it may be noise."""
    from scipy.stats import linregress

    third = losses[-max(MINIMUM_EVALUATIONS, len(losses) // 3) :]
    steps, values = [p.step for p in third], [p.value for p in third]
    if not all(map(math.isfinite, values)):
        return 0.0
    line = linregress(steps, values)
    if abs(line.slope) <= STANDARD_ERRORS * line.stderr:
        return 0.0
    level = fmean(values)
    return float(-line.slope * (steps[-1] - steps[0]) / level) if level else 0.0


def _too_short(curves: Curves) -> str:
    return (
        f"logged were {len(curves.loss)} training and {len(curves.eval_loss)} validation losses; "
        f"a verdict needs {MINIMUM_LOSSES} of the one or {MINIMUM_EVALUATIONS} of the other."
    )


def _final_rate_share(rates: Sequence[Point]) -> float | None:
    highest = max((p.value for p in rates), default=0.0)
    return rates[-1].value / highest if highest else None


def _steps_per_epoch(points: Sequence[Point]) -> int:
    """Return it from the last point with an epoch; 1 where the log has none."""
    known = [p for p in points if p.epoch]
    return round(known[-1].step / (known[-1].epoch or 1)) if known else 1


def _relative(start: float, end: float) -> float:
    """Return (end - start) / start; 0 from a loss of 0."""
    return (end - start) / start if start else 0.0


def _finite(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if math.isfinite(p.value)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
