"""What SLURM itself says of a plan: scripts, arrays, time limits. Nothing is submitted."""

import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hsd.checks import Check, Look
from hsd.counted import counted
from slurm.check.checks_nodes import nodes_left
from slurm.cluster.client import CommandFailed, Slurm
from slurm.cluster.cluster_facts import minutes
from slurm.cluster.profile import SlurmConfig
from slurm.cluster.stage_config import ASKS_FOR
from slurm.run.run_folder import whole_stage
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Stage

PARTITION_FORMAT = "%P|%a|%l"
"""Name (the default one ends in *), up or down, time limit."""
_START = re.compile(r"to start at (\S+)")
_NOT_NOW = re.compile(r"\b(down|drained|reserved for|busy|not available in any)\b", re.IGNORECASE)
"""What --test-only says where the job itself would be accepted, and wait."""
_NO_SUCH_NODES = "node configuration is not available"
"""What --test-only says too where the only nodes that are not excluded are drained. sbatch itself
takes such a job, which waits."""
_NOT_SET_UP = re.compile(r"configuration source|failed to fetch config", re.IGNORECASE)
"""What SLURM's programs say on a machine that belongs to no cluster."""
_ON_A_LOGIN_NODE = "run this on a login node of the cluster, or use --local"
_SUBMITIT_LEAST_MIN = 10


@dataclass(frozen=True, slots=True)
class Partition:
    """A queue. `limit_min` is None where time is not limited."""

    name: str
    default: bool
    up: bool
    limit_min: int | None


def looks(prepared: SubmissionBundle, slurm: Slurm, scratch: Path) -> list[Look]:
    """Return what is to be asked of SLURM, each by itself; scripts go into `scratch`."""
    config = prepared.profile.slurm
    assert config is not None
    wishes: list[Look] = [
        ("environment", lambda: unheard(os.environ, config, prepared.profile.env.passed))
    ]
    if shutil.which("sbatch") is None:
        return [("sbatch", lambda: [_absent()]), *wishes]
    plan = prepared.plan
    found: list[Look] = [
        *wishes,
        *(
            (f"sbatch {names}", partial(tested, names, stage, prepared, slurm, scratch))
            for names, stage in distinct(plan).items()
        ),
    ]
    found.append(("array", lambda: [array_size(plan, config, slurm.config().get("MaxArraySize"))]))
    found.append(("time", lambda: times(plan, config, partitions(_sinfo(slurm)))))
    return found


def unheard(environ: Mapping[str, str], config: SlurmConfig, kept: Sequence[str]) -> list[Check]:
    """Return what this shell asks of sbatch and does not get: jobs are what the profile says.

    Another cluster is refused, as nobody would look for the jobs on this one.
    """
    found = []
    for name in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS"):
        if (wanted := environ.get(name, "")) and wanted != config.cluster:
            fix = f'[slurm.extra] clusters = "{wanted}" in the profile, or `unset {name}`'
            line = f"{name}={wanted}, but the profile names {config.cluster or 'no cluster'}"
            found.append(Check(name, False, line, fix))
    wishes = sorted(
        name
        for name, value in environ.items()
        if name.startswith("SBATCH_") and value and name not in {"SBATCH_CLUSTERS", *kept}
    )
    if wishes:
        said = ", ".join(f"{name}={environ[name]}" for name in wishes)
        line = f"{said}: set here and not passed to sbatch, as jobs are what the profile says"
        words = ", ".join(f'"{name}"' for name in wishes)
        found.append(Check("environment", None, line, f"[env] pass = [{words}] passes them"))
    return found


def distinct(plan: Plan) -> dict[str, Stage]:
    """Return one stage for each kind of request, by the names of all that make it.

    Follow-ups of a chain ask for the same, and so do stages with the same resources.
    """
    alike: dict[str, list[Stage]] = {}
    for stage in plan.stages:
        alike.setdefault(f"{stage.resources!r} {len(stage.tasks)}", []).append(stage)
    return {
        ", ".join(dict.fromkeys(whole_stage(stage.name) for stage in stages)): stages[0]
        for stages in alike.values()
    }


def tested(
    names: str, stage: Stage, prepared: SubmissionBundle, slurm: Slurm, scratch: Path
) -> list[Check]:
    """Ask sbatch whether it takes the very script of a stage; `names` are those it speaks for."""
    script = scratch / f"{stage.name}.sh"
    script.write_text(prepared.scripts[stage.name], encoding="utf-8")
    name = f"sbatch {names}"
    too_few = nodes_left(name, stage, prepared, slurm)
    if too_few and too_few.ok is False:
        return [too_few]
    try:
        said = slurm.test_only(script)
    except CommandFailed as error:
        if _NOT_SET_UP.search(error.line):
            line = "SLURM is not set up on this machine: sbatch finds no configuration"
            return [Check(name, False, line, _ON_A_LOGIN_NODE)]
        reason = error.line.removeprefix("allocation failure: ").rstrip(".")
        if too_few and _NO_SUCH_NODES in reason.lower():
            return [too_few]
        if error.ambiguous or _NOT_NOW.search(reason):
            return [Check(name, None, f"no clear answer: {reason}")]
        asked = _asked_for(stage, prepared.profile.slurm)
        return [Check(name, False, f"refused: {reason}", _mend(reason, asked))]
    start = _START.search(said)
    when = f"; could start {start[1].replace('T', ' ')}" if start else ""
    return [Check(name, True, f"accepted{when}")]


def array_size(plan: Plan, config: SlurmConfig, of_cluster: str | None) -> Check:
    """Compare the largest stage with MaxArraySize, which caps the index, and so the count."""
    largest = max((len(stage.tasks) for stage in plan.stages), default=0)
    told = int(of_cluster) if of_cluster and of_cluster.isdigit() else None
    known = [limit for limit in (config.max_array_size, told) if limit is not None]
    if not known:
        return Check(
            "array", None, f"{counted(largest, 'cell')}; the cluster does not say how many it takes"
        )
    if largest <= min(known):
        return Check("array", True, f"{largest} of at most {counted(min(known), 'cell')}")
    return Check(
        "array",
        False,
        f"{counted(largest, 'cell')}, but MaxArraySize is {min(known)}",
        "submit some of them with --only, or split the sweep",
    )


def times(plan: Plan, config: SlurmConfig, known: Sequence[Partition]) -> Iterator[Check]:
    """Yield what is wrong with time limits; one line that all is well otherwise.

    A cluster without EnforcePartLimits accepts a job that is too long, and never starts it.
    """
    problems = [
        problem
        for names, stage in distinct(plan).items()
        for problem in _time_problems(names, stage, config, known)
    ]
    yield from problems
    if not problems:
        limits = "; ".join(
            f"{names} {stage.resources.time_min} min" for names, stage in distinct(plan).items()
        )
        yield Check("time", True, limits or "nothing to run")


def partitions(text: str) -> list[Partition]:
    """Return the partitions in sinfo's lines of PARTITION_FORMAT, one each."""
    rows = [line.strip().split("|") for line in text.splitlines()]
    found = {
        name.rstrip("*"): Partition(
            name.rstrip("*"), name.endswith("*"), up == "up", minutes(limit)
        )
        for name, up, limit in (row for row in rows if len(row) == 3)
    }
    return list(found.values())


def _time_problems(
    names: str, stage: Stage, config: SlurmConfig, known: Sequence[Partition]
) -> Iterator[Check]:
    name, time_min = f"time {names}", stage.resources.time_min
    if time_min * 60 <= config.signal_seconds:
        line = f"{time_min} min are over before signal_seconds ({config.signal_seconds}) is"
        yield Check(name, False, line, "increase time_min, or reduce signal_seconds")
    if stage.of != "compare" and time_min < _SUBMITIT_LEAST_MIN:
        line = f"{time_min} min, and below {_SUBMITIT_LEAST_MIN} every stop looks like a time limit"
        yield Check(name, None, line, f"time_min = {_SUBMITIT_LEAST_MIN} or more")
    wanted = (stage.resources.partition or config.partition or "").split(",")
    # One that is not known here is refused by sbatch itself.
    queues = [p for p in known if p.name in wanted or (wanted == [""] and p.default)]
    longest = max(
        (math.inf if p.limit_min is None else p.limit_min for p in queues), default=time_min
    )
    if time_min > longest:
        line = f"{time_min} min, but partition {','.join(p.name for p in queues)} allows {longest}"
        yield Check(name, False, line, f"stages.{_section(stage)}.time_min = {longest}")
    if queues and not any(p.up for p in queues):
        line = f"partition {queues[0].name} is not up; jobs wait until it is"
        yield Check(name, None, line)


def _section(stage: Stage) -> str:
    """Return the section of the profile that a stage's resources are from."""
    return ASKS_FOR.get(stage.of, stage.of)


def _sinfo(slurm: Slurm) -> str:
    return slurm.text("sinfo", "-h", "-o", PARTITION_FORMAT)


def _absent() -> Check:
    return Check(
        "sbatch",
        False,
        "not found on this machine",
        _ON_A_LOGIN_NODE,
    )


def _asked_for(stage: Stage, config: SlurmConfig | None) -> dict[str, str]:
    """Return what a stage asks for, by the profile's own words."""
    assert config is not None
    resources = stage.resources
    named = {
        "partition": resources.partition or config.partition,
        "account": config.account,
        "qos": config.qos,
        "constraint": config.constraint,
        "reservation": config.reservation,
        "exclude": config.exclude,
    }
    gpus = f"{config.gpu_type or 'any'}:{resources.gpus}" if resources.gpus else None
    size = (
        f"{resources.nodes} x ({resources.cpus} cpus, {resources.memory_gb:g} GB"
        f"{f', gpus {gpus}' if gpus else ''})"
    )
    return {key: value for key, value in named.items() if value} | {"nodes": size}


def _mend(reason: str, asked: dict[str, str]) -> str:
    """Return what to correct in the profile, by the words of sbatch's refusal."""
    lower = reason.lower()
    for word, keys, command in _REFUSALS:
        if word in lower:
            said = ", ".join(f"{key} = {asked.get(key, 'the default')}" for key in keys)
            return f"{said}; see `{command}`"
    said = ", ".join(f"{key} = {value}" for key, value in asked.items())
    return f"it was asked for {said}"


_REFUSALS = (
    ("account", ("account", "partition"), "sacctmgr show assoc user=$USER"),
    ("partition", ("partition",), "sinfo -s"),
    ("qos", ("qos",), "sacctmgr show qos"),
    ("feature", ("constraint",), "sinfo -o '%P %f'"),
    ("reservation", ("reservation",), "scontrol show reservation"),
    ("node name", ("exclude",), "sinfo -N"),
    ("node configuration", ("partition", "nodes"), "sinfo -o '%P %c %m %G'"),
    ("time limit", ("partition",), "sinfo -o '%P %l'"),
    ("memory", ("nodes",), "sinfo -o '%P %m'"),
)
"""Word of a refusal -> what in the profile it is about, and where the right value is shown."""
