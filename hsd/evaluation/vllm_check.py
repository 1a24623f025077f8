"""A check before any row of vLLM counts: a few rows by both engines, with and without the adapter.

A server that leaves an adapter out answers as the base does, without a word. So what the adapter
changes has to be the same by both engines, not only that it changes something.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, isnan
from statistics import median
from typing import Any

from hsd.prediction import label_of

ROWS = 8
"""Rows that both engines answer, over all lengths. A median of less would hang on one row."""

LogOdds = Sequence[float]
"""ln P(hate) - ln P(normal), one for each row."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """How far vLLM may be from hsd's own engine."""

    difference: float
    """Of P(hate), in the median row."""
    margin: float
    """How near to .5 a P(hate) has to be for the two to call its post otherwise."""
    effect: float
    """What an adapter has to change in a row's log-odds, for that to be told from rounding."""


EXACT = Allowed(1e-3, 5e-3, 0.01)
"""In float32, where the two differ by 5e-5 in log-odds."""
COARSE = Allowed(0.02, 0.1, 0.5)
"""In 16 bit, where a row's log-odds move by .06 by what stands beside it (EXPERIMENTS.md, 9)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one engine said of the rows, and what of the base alone; None without an adapter."""

    odds: LogOdds
    base: LogOdds | None = None


@dataclass(frozen=True, slots=True)
class VllmCheck:
    """What the check found; `problem` None is a pass."""

    rows: list[str]
    median_difference: float
    largest_difference: float
    allowed: Allowed
    ties: list[str]
    """Rows that the two call otherwise, within the margin."""
    effect_rows: int | None = None
    """Rows in which hsd's own engine finds an effect of the adapter."""
    effect_kept: float | None = None
    """How much of that effect vLLM has, in the median of those rows: 1 is all of it."""
    problem: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the result for the manifest."""
        return {"passed": self.problem is None, **asdict(self)}

    def sentence(self) -> str:
        """Return what was found, for who waits."""
        found = (
            f"vLLM and hsd differ by {self.median_difference:.2g} in the median P(hate) of "
            f"{len(self.rows)} rows ({self.allowed.difference:g} allowed; calls may differ within "
            f"{self.allowed.margin:g} of .5)"
        )
        if self.effect_kept is not None:
            found += f", and vLLM has {self.effect_kept:.0%} of the adapter's effect"
        elif self.effect_rows == 0:
            found += "; the adapter changes none of these rows enough to be told from rounding"
        return f"{found}."


def check_answers(
    ids: Sequence[str], own: Answered, served: Answered, allowed: Allowed
) -> VllmCheck:
    """Return whether vLLM's answers to the rows are those of hsd's own engine."""
    pairs = [(own.odds, served.odds)]
    if own.base is not None and served.base is not None:
        pairs.append((own.base, served.base))
    apart = [
        [abs(probability(a) - probability(b)) for a, b in zip(*pair, strict=True)] for pair in pairs
    ]
    middles = [_middle(one) for one in apart]
    other = [
        (id, probability(a))
        for pair in pairs
        for id, a, b in zip(ids, *pair, strict=True)
        if label_of(probability(a)) != label_of(probability(b))
    ]
    far = sorted({id for id, p in other if abs(p - 0.5) > allowed.margin})
    near = sorted({id for id, _ in other} - set(far))
    rows, kept = _effect(own, served, allowed)
    worst = max(middles, key=lambda value: float("inf") if isnan(value) else value)
    largest = max(value for one in apart for value in one)
    problem = (
        _ignored(rows, kept)
        or _too_far(worst, allowed)
        or (
            f"vLLM calls rows ({', '.join(far)}) otherwise than hsd, whose P(hate) is more than "
            f"{allowed.margin:g} from .5"
            if far
            else None
        )
    )
    return VllmCheck(list(ids), worst, largest, allowed, near, rows, kept, problem)


def check_effect_alone(ids: Sequence[str], served: Answered, allowed: Allowed) -> VllmCheck:
    """Return whether the adapter changes anything in vLLM, where no other engine is asked."""
    moved = [abs(a - b) for a, b in zip(served.odds, served.base or served.odds, strict=True)]
    rows = sum(value > allowed.effect for value in moved) if served.base is not None else None
    problem = None
    if rows == 0:
        problem = "vLLM answers the same with and without the adapter: the adapter is ignored"
    return VllmCheck(list(ids), 0.0, 0.0, allowed, [], rows, None, problem)


def probability(odds: float) -> float:
    """Return P(hate) of log-odds."""
    return 1 / (1 + exp(min(-odds, 700.0)))


def _effect(own: Answered, served: Answered, allowed: Allowed) -> tuple[int | None, float | None]:
    """Return in how many rows the adapter has an effect, and how much of it vLLM has."""
    if own.base is None or served.base is None:
        return None, None
    changed = zip(own.odds, own.base, served.odds, served.base, strict=True)
    shares = [
        (with_, without, (theirs - base) / (with_ - without))
        for with_, without, theirs, base in changed
        if abs(with_ - without) > allowed.effect
    ]
    return len(shares), median(share for *_, share in shares) if shares else None


def _ignored(rows: int | None, kept: float | None) -> str | None:
    if kept is None or 0.5 <= kept <= 2:
        return None
    what = "ignores the adapter" if abs(kept) < 0.1 else "does not have the adapter as it is"
    return (
        f"vLLM {what}: in {rows} rows that it changes by hsd's own engine, vLLM has {kept:.0%} of "
        "that effect"
    )


def _too_far(worst: float, allowed: Allowed) -> str | None:
    if worst <= allowed.difference:  # what is no number is not
        return None
    return (
        f"vLLM's P(hate) differs from hsd's by {worst:.2g} in the median row, and "
        f"{allowed.difference:g} is allowed"
    )


def _middle(values: Sequence[float]) -> float:
    return float("nan") if any(map(isnan, values)) else median(values)
