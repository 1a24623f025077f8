"""A sweep or a command's shards in parts: no more than the cluster takes now, the rest later."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from hsd.counted import counted
from hsd.errors import PreflightError
from slurm.cluster.client import programs
from slurm.cluster.limits import SubmitLimit, submit_limits
from slurm.cluster.profile import Profile
from slurm.run.job_ownership import own_user
from slurm.run.run_folder import BASELINE, whole_stage
from slurm.run.run_state import RunState
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Edge


@dataclass(frozen=True, slots=True)
class Left:
    """What is to be done of a sweep, or of a command's shards, and the cells that need nothing."""

    plan: Plan
    new: tuple[str, ...]
    done: tuple[str, ...]
    active: tuple[str, ...]
    later: tuple[str, ...] = ()
    """Cells that are to be done and do not fit into the queue now."""
    full: str = ""
    """Which limit they do not fit into."""
    word: str = "cell"
    """What one of them is called: a cell of a sweep, a shard, a job."""


def fitting(left: Left, profile: Profile, again: Callable[[Collection[str]], Left]) -> Left:
    """Return as much of what is left as the cluster takes now; `again` plans some of the cells.

    A base comes first, since the cells are compared with it. Whole cells are taken, with all of
    their stages. Raises PreflightError when not even one fits.
    """
    config = profile.slurm
    if config is None or not left.plan.stages:
        return left
    asks = {_ask(stage.resources.partition, profile) for stage in left.plan.stages}
    jobs = sum(len(stage.tasks) for stage in left.plan.stages)
    limits = submit_limits(programs(profile), config, asks, own_user(), jobs)
    full = exceeded(left.plan, profile, limits)
    if full is None:
        return left
    names = sorted(left.new, key=lambda name: whole_stage(name) != BASELINE)
    counts = range(1, len(names) + 1)
    fit = bisect_left(
        counts,
        True,
        key=lambda count: exceeded(again(names[:count]).plan, profile, limits) is not None,
    )
    if not fit:
        least = again(names[:1]).plan if names else left.plan
        full = exceeded(least, profile, limits) or full
        raise PreflightError(_refusal(least, profile, full, left.word))
    return replace(again(names[:fit]), later=tuple(names[fit:]), full=full.sentence)


def behind_earlier(left: Left, state: RunState) -> Left:
    """Return it with a comparison that waits for the evaluations of earlier submissions too.

    So an earlier comparison that still waits is not needed any more.
    """
    jobs = dict.fromkeys(
        one.job.partition("_")[0]
        for one in state.elements
        if one.live and whole_stage(one.stage) in ("evaluate", BASELINE)
    )
    edges = tuple(Edge("afterany", job) for job in jobs if job.isdigit())
    stages = tuple(
        replace(stage, after=(*stage.after, *edges)) if stage.of == "compare" else stage
        for stage in left.plan.stages
    )
    return replace(left, plan=replace(left.plan, stages=stages))


def exceeded(plan: Plan, profile: Profile, limits: Iterable[SubmitLimit]) -> SubmitLimit | None:
    """Return the limit that a plan exceeds by most; None where it keeps to all."""
    over = {limit: jobs_under(plan, profile, limit) - limit.room for limit in limits}
    worst = max(over, key=lambda limit: over[limit], default=None)
    return worst if worst and over[worst] > 0 else None


def jobs_under(plan: Plan, profile: Profile, limit: SubmitLimit) -> int:
    """Return how many jobs of a plan count for a limit."""
    return sum(
        len(stage.tasks)
        for stage in plan.stages
        if _ask(stage.resources.partition, profile) in limit.asks
    )


def _ask(partition: str | None, profile: Profile) -> str | None:
    return partition or (profile.slurm.partition if profile.slurm else None)


def _refusal(plan: Plan, profile: Profile, limit: SubmitLimit, word: str) -> str:
    needed = jobs_under(plan, profile, limit)
    needs = f", which needs {counted(needed, 'job')} at once" if needed > 1 else ""
    return f"{plan.name}: {limit.sentence}, so not even one {word} fits{needs}; " + (
        "wait until some of those have ended."
        if limit.queued
        else "name another account, qos or partition in the profile."
    )
