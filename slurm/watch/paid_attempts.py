"""Every attempt of a run, once: how long it held its GPUs, how it ended, how far it came. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from slurm.cluster.parse import Accounted
from slurm.cluster.parse_steps import StepUse
from slurm.run.element_state import CANCELLED, REQUEUED, RUNNING, STOPPING

_ENDS = {"requeued", "stopped", "ended"}
_CLOCKS = timedelta(seconds=30)
"""How far the clocks of a node and of the controller may be apart."""
_AGAIN = REQUEUED | {"REQUEUE_HOLD", "SPECIAL_EXIT"}


@dataclass(frozen=True, slots=True)
class WorkDone:
    """From which step or row an attempt came to which, and when it took the first."""

    first: int
    done: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """One attempt. `ended` is done, running, requeued, failed or cancelled.

    `work` is None where nobody saw it work, and `found` is what its start found of another. Where
    they were sampled, `gpu_percent` is how busy its GPUs were.
    """

    ended: str
    began: datetime
    elapsed_s: float = 0.0
    gpus: int = 0
    waited_s: float | None = None
    work: WorkDone | None = None
    found: WorkDone | None = None
    gpu_percent: float | None = None
    used: Mapping[str, float] | None = None
    """What was sampled, or else what sacct says, of which `is_sampled` tells."""
    is_sampled: bool = True
    timed: bool = True
    """Whether its end is known, or it is running by SLURM's word."""


def from_sacct(
    job: str,
    accounted: Iterable[Accounted],
    steps: Mapping[tuple[str, str], StepUse],
    events: Iterable[Mapping[str, Any]],
) -> list[PaidAttempt]:
    """Return the attempts of an element that got any resources, the oldest first, each once."""
    known = list(accounted)
    held = {(one.submit, one.start): one for one in known if one.start and one.gpus is not None}
    own = [e for e in events if e.get("job") == job]
    groups = _groups(own)
    # After a node failed SLURM may have the job wait for its next start, which is no attempt yet.
    last = [] if known and known[-1].state == "PENDING" else list(held.values())[-1:]
    return [
        _accounted(one, steps.get((job, one.start)), _during(one, groups), is_last=one in last)
        for one in held.values()
    ]


def from_own_events(job: str, events: Iterable[Mapping[str, Any]], gpus: int) -> list[PaidAttempt]:
    """Return what a job's own events tell: from each start to the word of its end."""
    groups = _groups([e for e in events if e.get("job") == job])
    return [_by_itself(group, gpus) for group in groups]


def how_far(attempts: Sequence[PaidAttempt]) -> list[WorkDone | None]:
    """Return how far each attempt came; one that was killed said nothing, and left its file.

    The next one finds that file, which may be of an earlier attempt.
    """
    found = []
    for at, one in enumerate(attempts):
        left = next((later.found for later in attempts[at + 1 :] if later.found), None)
        found.append(one.work or (left if left and _is_of(left, one) else None))
    return found


def _is_of(work: WorkDone, one: PaidAttempt) -> bool:
    end = one.began + timedelta(seconds=one.elapsed_s)
    return one.began <= work.first_at <= end + _CLOCKS


@dataclass(frozen=True, slots=True)
class _Group:
    """The events of one attempt: its start, and the word of its end if there is one."""

    start: Mapping[str, Any]
    end: Mapping[str, Any] | None = None

    @property
    def began(self) -> datetime:
        return _time(str(self.start["at"]))


def _groups(events: Sequence[Mapping[str, Any]]) -> list[_Group]:
    groups: list[_Group] = []
    for event in events:
        if event["event"] == "started":
            groups.append(_Group(event))
        elif event["event"] in _ENDS and groups and groups[-1].end is None:
            groups[-1] = _Group(groups[-1].start, event)
    return groups


def _during(one: Accounted, groups: Sequence[_Group]) -> _Group | None:
    """Return the events of an attempt: those that began soonest after it got its resources.

    An attempt that ended before its supervisor began has none, and may be followed by one that had.
    """
    start = _time(one.start)
    end = start + timedelta(seconds=one.elapsed_s)
    own = [g for g in groups if start - _CLOCKS <= g.began <= end + _CLOCKS]
    return min(own, key=lambda group: abs(group.began - start), default=None)


def _accounted(
    one: Accounted, step: StepUse | None, group: _Group | None, *, is_last: bool
) -> PaidAttempt:
    sampled = _sampled(group)
    used = sampled or _of_steps(step)
    return PaidAttempt(
        ended=_how(one, is_last=is_last),
        began=_time(one.start),
        elapsed_s=one.elapsed_s,
        gpus=one.gpus or 0,
        waited_s=step.waited_s if step else None,
        work=_work(group),
        found=_found(group),
        gpu_percent=sampled.get("gpu_percent"),
        used=used or None,
        is_sampled=bool(sampled),
    )


def _how(one: Accounted, *, is_last: bool) -> str:
    """Return how an attempt ended; what another attempt of the same job follows was requeued."""
    if not is_last or one.state in _AGAIN:
        return "requeued"
    if one.state == "COMPLETED":
        return "done"
    if one.state in RUNNING | STOPPING:
        return "running"
    return "cancelled" if one.state in CANCELLED else "failed"


def _by_itself(group: _Group, gpus: int) -> PaidAttempt:
    sampled, end = _sampled(group), group.end
    took = (_time(str(end["at"])) - group.began).total_seconds() if end else 0.0
    words = {"requeued": "requeued", "stopped": "failed"}
    code = end.get("code") if end else None
    how = words.get(str(end["event"]), "failed" if code else "done") if end else "running"
    return PaidAttempt(
        ended=how,
        began=group.began,
        elapsed_s=took,
        gpus=gpus,
        work=_work(group),
        found=_found(group),
        gpu_percent=sampled.get("gpu_percent"),
        used=sampled or None,
        timed=end is not None,
    )


def _sampled(group: _Group | None) -> dict[str, float]:
    return dict((group.end or {}).get("used") or {}) if group else {}


def _of_steps(step: StepUse | None) -> dict[str, float]:
    if step is None:
        return {}
    said = {"memory_gb": (step.memory_b or 0.0) / 1e9, "cpu_s": step.cpu_s or 0.0}
    return {name: value for name, value in said.items() if value}


def _work(group: _Group | None) -> WorkDone | None:
    return _as_work((group.end or {}).get("worked")) if group else None


def _found(group: _Group | None) -> WorkDone | None:
    return _as_work(group.start.get("found")) if group else None


def _as_work(said: Any) -> WorkDone | None:
    try:
        return WorkDone(int(said["first"]), int(said["done"]), _time(str(said["first_at"])))
    except (KeyError, TypeError, ValueError):
        return None


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone()
