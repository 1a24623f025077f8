"""What a run's stages used of what they booked, and what to write into the profile instead.

Used is what the supervisors sampled (slurm/node/usage.py), or else what sacct says of the steps;
booked is what the profile asks for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from slurm.cluster.stage_config import ASKS_FOR, StageConfig
from slurm.node.events import attempts
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import ORDER
from slurm.watch.paid_attempts import PaidAttempt

SHORTEST_S = 60.0
"""A shorter attempt has not loaded its model, and says nothing about what it needs."""
SPARE = 1.25
"""What is booked above the most that was used: rows and allocators differ between runs."""
LESS = 0.75
"""A booking is worth changing where this share of it would do."""
FULL = 0.9
"""Above this share a longer row or another library may end the job."""
_ENDS = {"ended", "stopped", "requeued"}
_KILLED = {137, -9}
"""Exit codes of what the kernel killed: mostly for want of memory."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one attempt used on its first node; `killed` says nothing of what it needed."""

    seconds: float
    used: Mapping[str, float]
    killed: bool = False
    by_sacct: bool = False


@dataclass(frozen=True, slots=True)
class StageUse:
    """What a kind of stage used at most, over all its measured attempts, and what it booked."""

    stage: str
    booked: StageConfig
    attempts: int
    memory_gb: float | None = None
    cores: float | None = None
    """CPU seconds by seconds, of the attempt that used the most."""
    gpu_percent: float | None = None
    """How busy the GPUs were, on average of all seconds."""
    gpu_memory_gb: float | None = None
    """Of the fullest GPU."""
    gpu_total_gb: float | None = None
    killed: bool = False
    """Whether an attempt was killed: then less memory is never enough."""
    by_sacct: int = 0
    """Of so many attempts sacct alone knows: their memory has pages of files in it."""


Paid = Mapping[tuple[str, str], Sequence[PaidAttempt]]


def stage_uses(folder: Path, paid: Paid | None = None) -> list[StageUse]:
    """Return what each kind of stage of a run used; none of those that nothing was measured of.

    `paid` are its attempts by cell and stage, of which those that were not sampled count too.
    """
    run = RunFolder(folder)
    stages = (run.facts().get("profile") or {}).get("stages") or {}
    found: dict[str, list[Measured]] = {}
    for file in sorted(run.cells.glob("*/attempts/*.jsonl")):
        found.setdefault(ASKS_FOR.get(file.stem, file.stem), []).extend(measured(attempts(file)))
    for (_, stage), attempted in (paid or {}).items():
        found.setdefault(ASKS_FOR.get(stage, stage), []).extend(accounted_for(attempted))
    return [
        _use(stage, StageConfig.model_validate(stages.get(stage) or {}), found[stage])
        for stage in ORDER
        if found.get(stage)
    ]


def accounted_for(paid: Iterable[PaidAttempt]) -> list[Measured]:
    """Return what sacct says of attempts that nobody sampled, and that did what others do."""
    return [
        Measured(one.elapsed_s, one.used, by_sacct=True)
        for one in paid
        if one.used and not one.is_sampled and one.elapsed_s >= SHORTEST_S
        if one.ended in ("done", "requeued")
    ]


def measured(events: Iterable[Mapping[str, Any]]) -> list[Measured]:
    """Return what each attempt used that ran for a minute at least and did its work, or part of it.

    One that failed did not get as far as to need what others need.
    """
    began: dict[str, datetime] = {}
    found = []
    for event in events:
        job, at = str(event.get("job")), datetime.fromisoformat(event["at"])
        if event["event"] == "started":
            began[job] = at
        elif event["event"] in _ENDS and job in began and event.get("used"):
            seconds = (at - began.pop(job)).total_seconds()
            code = event.get("code", 0) if event["event"] == "ended" else 0
            if seconds >= SHORTEST_S and (code == 0 or code in _KILLED):
                found.append(Measured(seconds, event["used"], code in _KILLED))
    return found


def profile_lines(uses: Sequence[StageUse]) -> list[str]:
    """Return what would fit better than what was booked, as lines of a profile; [] if nothing."""
    lines: list[str] = []
    for use in uses:
        own = [*_memory_line(use), *_cores_line(use)]
        lines += [f"[stages.{use.stage}]", *own] if own else []
    return lines


def _use(stage: str, booked: StageConfig, runs: Sequence[Measured]) -> StageUse:
    killed = any(one.killed for one in runs)
    return StageUse(
        stage,
        booked,
        len(runs),
        killed=killed,
        by_sacct=sum(one.by_sacct for one in runs),
        memory_gb=_most(runs, "memory_gb"),
        cores=max(
            (one.used["cpu_s"] / one.seconds for one in runs if "cpu_s" in one.used), default=None
        ),
        gpu_percent=_mean(runs, "gpu_percent"),
        gpu_memory_gb=_most(runs, "gpu_memory_gb"),
        gpu_total_gb=_most(runs, "gpu_total_gb"),
    )


def _most(runs: Sequence[Measured], name: str) -> float | None:
    return max((one.used[name] for one in runs if name in one.used), default=None)


def _mean(runs: Sequence[Measured], name: str) -> float | None:
    known = [one for one in runs if name in one.used]
    seconds = sum(one.seconds for one in known)
    return sum(one.used[name] * one.seconds for one in known) / seconds if known else None


def _memory_line(use: StageUse) -> list[str]:
    if use.memory_gb is None:
        return []
    fits = math.ceil(use.memory_gb * SPARE + 1)  # a GB for what the system does for the job
    booked = use.booked.memory_gb
    is_full = use.memory_gb > FULL * booked
    if not is_full and (use.killed or fits >= LESS * booked):
        return []
    return [f"memory_gb = {fits}  # booked {booked:g}, used {use.memory_gb:.1f} at most"]


def _cores_line(use: StageUse) -> list[str]:
    if use.cores is None:
        return []
    fits = max(math.ceil(use.cores * SPARE), use.booked.ranks)
    if fits > LESS * use.booked.cpus:
        return []
    return [f"cpus = {fits}  # booked {use.booked.cpus}, used {use.cores:.1f}"]
