"""What became of one rule of the gate, and how many posts would decide it.

A rule is decided by a whole 95 % interval, never by an estimate alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from hsd.errors import GATE_FAILED, GATE_UNDECIDED
from hsd.metrics.intervals import Interval

MOST_NEEDED = 10_000_000
"""Posts that nobody has: an undecided rule that needs more is not told how many."""


class Status(StrEnum):
    """What became of a rule, or of all of them; a failed rule wins over an undecided one."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDERPOWERED = "UNDERPOWERED"

    @property
    def exit_code(self) -> int:
        """What `hsd gate` ends with; anything but 0 stops a SLURM `afterok` chain."""
        return {"PASS": 0, "FAIL": GATE_FAILED, "UNDERPOWERED": GATE_UNDECIDED}[self.value]


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule: what it is about, what was found over `n` posts, and the limit it has to keep.

    `needed` posts would decide an undecided rule if the estimate stayed where it is; `why` is said
    of one that is undecided for another reason.
    """

    rule: str
    about: str
    status: Status
    value: float | None
    interval: Interval | None
    limit: float
    n: int
    needed: int | None = None
    why: str = ""


def rise(
    rule: str, about: str, value: float | None, interval: Interval | None, limit: float, n: int
) -> RuleResult:
    """Return the result of a rule about what may rise by at most `limit`."""
    if value is None:
        return undecided(rule, about, limit, n)
    status = Status.UNDERPOWERED
    if interval and interval.high <= limit:
        status = Status.PASS
    elif interval and value > limit and interval.low > 0:
        status = Status.FAIL
    return RuleResult(rule, about, status, value, interval, limit, n)


def bounded(
    rule: str, about: str, value: float, interval: Interval | None, limit: float, n: int, sign: int
) -> RuleResult:
    """Return the result of a rule about what must be at most `limit`, or at least with sign -1.

    No interval is no certainty.
    """
    if interval is None:
        return RuleResult(rule, about, Status.UNDERPOWERED, value, None, limit, n)
    ends = sorted((sign * interval.low, sign * interval.high))
    status = Status.UNDERPOWERED
    if ends[1] <= sign * limit:
        status = Status.PASS
    elif ends[0] > sign * limit:
        status = Status.FAIL
    check = RuleResult(rule, about, status, value, interval, limit, n)
    return needing(check, by_root(check, interval.high if sign > 0 else interval.low))


def undecided(
    rule: str, about: str, limit: float, n: int, why: str = "too few posts for an estimate"
) -> RuleResult:
    """Return the result of a rule that has no estimate, and why."""
    return RuleResult(rule, about, Status.UNDERPOWERED, None, None, limit, n, None, why)


def doubted(check: RuleResult, needed: int) -> RuleResult:
    """Return the check, not passed where it has fewer posts, whatever their interval says."""
    if check.n >= needed or check.status == Status.FAIL:
        return check
    why = f"a pass needs {needed} posts or more"
    return replace(check, status=Status.UNDERPOWERED, needed=needed, why=why)


def needing(check: RuleResult, needed: Callable[[], int | None]) -> RuleResult:
    """Return the check with the posts that would decide it, where it is undecided."""
    if check.status != Status.UNDERPOWERED:
        return check
    return replace(check, needed=needed())


def by_root(check: RuleResult, end: float) -> Callable[[], int | None]:
    """Return what gives the posts that bring an interval's end to the limit: as 1 / sqrt(n)."""
    value, limit = check.value or 0.0, check.limit

    def needed() -> int | None:
        if (end - value) * (limit - value) <= 0:  # on the wrong side: more posts would break it
            return None
        found = math.ceil(check.n * ((end - value) / (limit - value)) ** 2)
        return found if found <= MOST_NEEDED else None

    return needed


def least_posts(n: int, fits: Callable[[float], bool]) -> int | None:
    """Return the least number of posts above n that fits; None where none does."""
    low, high = n, n
    while not fits(high):
        low, high = high, 2 * high
        if high > MOST_NEEDED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
