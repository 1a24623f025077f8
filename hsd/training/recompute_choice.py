"""Whether a run computes its activations again: as asked, as it began, by plan or by rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_KEPT = "Activations are kept"
_AGAIN = "Activations are computed again in the backward pass, to save memory"


@dataclass(frozen=True, slots=True)
class Recompute:
    """Whether activations are computed again, and why. Seconds are of the largest piece."""

    on: bool
    why: str
    seconds_kept: float | None = None
    seconds_again: float | None = None

    @property
    def sentence(self) -> str:
        """The choice, for people."""
        return f"{_AGAIN if self.on else _KEPT}: {self.why}."

    def facts(self) -> dict[str, Any]:
        """Return the choice for the manifest."""
        return {
            "on": self.on,
            "reason": self.why,
            "seconds_kept": self.seconds_kept,
            "seconds_recomputed": self.seconds_again,
        }


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """Seconds of the largest piece in both ways; None where memory did not suffice."""

    kept: float | None
    again: float | None


def by_plan(need_gb: float, memory_gb: float | None) -> Recompute:
    """Return the choice on a CPU: what is kept has to fit by the plan.

    Nothing is rehearsed there. Where a CPU's memory ends, the system ends the process: there is no
    error to learn from. Keeping is faster wherever it fits.
    """
    if memory_gb is None or need_gb <= memory_gb:
        return Recompute(False, f"they fit into memory by the plan (about {need_gb:.1f} GB)")
    return Recompute(
        True, f"by the plan a step would need {need_gb:.1f} GB, and there are {memory_gb:.1f}"
    )


def by_rehearsal(every: Sequence[Rehearsed], began_kept: bool = False) -> Recompute | None:
    """Return the faster way that fits on all processes, of the slowest one's times.

    A run that `began_kept` stays so where it fits. None where neither way fits.
    """
    kept, again = _slowest([one.kept for one in every]), _slowest([one.again for one in every])
    if kept is None:
        full = "memory is full on the largest piece where they are kept"
        return None if again is None else Recompute(True, full, None, again)
    if began_kept:
        return Recompute(False, "as since this run began", kept, again)
    if again is None or kept <= again:
        return Recompute(False, f"the largest piece fits ({_compared(kept, again)})", kept, again)
    faster = f"it is faster on the largest piece ({_compared(again, kept)})"
    return Recompute(True, faster, kept, again)


def _slowest(seconds: Sequence[float | None]) -> float | None:
    known = [one for one in seconds if one is not None]
    return max(known) if len(known) == len(seconds) else None


def _compared(own: float, other: float | None) -> str:
    return f"{own:.2g} s" if other is None else f"{own:.2g} s, the other way {other:.2g} s"
