"""Early stopping as a pure function of what validation said so far, so a resume cannot forget."""

from collections.abc import Sequence

Evaluations = Sequence[tuple[int, float]]
"""Step and badness of each evaluation, in order: its loss, or what `badness` makes of a metric."""


def best_step(evaluations: Evaluations, min_delta: float = 0.0) -> int | None:
    """Return the step of the best evaluation; None before the first one.

    One counts as better only when its badness is lower by more than `min_delta`.
    """
    best: tuple[int, float] | None = None
    for step, loss in evaluations:
        if best is None or loss < best[1] - min_delta:
            best = (step, loss)
    return best[0] if best else None


def should_stop(evaluations: Evaluations, patience: int, min_delta: float = 0.0) -> bool:
    """Return whether `patience` steps have passed without a better evaluation."""
    best = best_step(evaluations, min_delta)
    return best is not None and evaluations[-1][0] - best >= patience
