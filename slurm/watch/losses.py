"""Where the hours of a run went: work, and each cause of loss; they add up to the whole. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slurm.watch.paid_attempts import PaidAttempt, WorkDone, how_far

CAUSES = ("work", "idle", "start-up", "again", "failed", "cancelled")
"""What was kept; of it the time of idle GPUs; until the first step or row; steps or rows that a
later attempt did again; and what ended without anything that was kept."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of jobs, and hours of their GPUs."""

    jobs: float = 0.0
    gpus: float = 0.0

    def __add__(self, other: "Hours") -> "Hours":
        return Hours(self.jobs + other.jobs, self.gpus + other.gpus)


Parts = Mapping[str, Hours]


def parts_of(attempts: Sequence[PaidAttempt]) -> dict[str, Hours]:
    """Return what the attempts at one stage of one cell went into, in the order they began."""
    came = how_far(attempts)
    total = dict.fromkeys(CAUSES, Hours())
    for at, (one, work) in enumerate(zip(attempts, came, strict=True)):
        following = next((w for w in came[at + 1 :] if w is not None), None)
        for cause, seconds in split(one, work, following).items():
            hours = seconds / 3600
            total[cause] += Hours(hours, hours * one.gpus)
    return total


def split(one: PaidAttempt, work: WorkDone | None, following: WorkDone | None) -> dict[str, float]:
    """Return the seconds of one attempt by what they went into.

    `following` is where a later attempt began. What a requeued attempt did counts as kept where
    nobody knows that; what a failed or cancelled one did counts as lost.
    """
    startup = startup_s(one, work)
    rest = one.elapsed_s - startup
    lost = rest * _lost_share(one, work, following)
    kept = rest - lost
    idle = _idle(one, startup, kept)
    label = {"failed": "failed", "cancelled": "cancelled"}.get(one.ended, "again")
    return {"work": kept - idle, "idle": idle, "start-up": startup, label: lost}


def startup_s(one: PaidAttempt, work: WorkDone | None) -> float:
    """Return how long it took until the first step or row; 0 where nobody saw one."""
    if work is None:
        return 0.0
    return min(max((work.first_at - one.began).total_seconds(), 0.0), one.elapsed_s)


def _lost_share(one: PaidAttempt, work: WorkDone | None, following: WorkDone | None) -> float:
    if one.ended in ("done", "running"):
        return 0.0
    if work is None or following is None:
        return 0.0 if one.ended == "requeued" else 1.0
    steps = work.done - work.first
    if steps <= 0:
        return 1.0
    return min(max(work.done - following.first, 0), steps) / steps


def _idle(one: PaidAttempt, startup: float, kept: float) -> float:
    """Return for how long of the work its GPUs were idle; a start-up uses none of them."""
    if one.gpu_percent is None or not one.gpus:
        return 0.0
    idle = one.elapsed_s * (1 - min(max(one.gpu_percent, 0.0), 100.0) / 100) - startup
    return min(max(idle, 0.0), kept)


def summed(parts: Iterable[Parts]) -> dict[str, Hours]:
    """Return the sums of several, by cause."""
    total = dict.fromkeys(CAUSES, Hours())
    for one in parts:
        for cause, hours in one.items():
            total[cause] += hours
    return total
