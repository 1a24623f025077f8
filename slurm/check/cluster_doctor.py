"""A cluster and its profile, looked at without a sweep: `hsd doctor --cluster`."""

import re
from collections.abc import Iterator, Mapping
from functools import partial

from hsd.checks import Check, Look
from slurm.check.preflight import preflight, run_all
from slurm.cluster.client import ClusterError, CommandFailed, Slurm, programs
from slurm.cluster.cluster_facts import SINFO_FORMAT, Nodes, nodes_of
from slurm.cluster.environment import exports
from slurm.cluster.profile import Profile, load_profile
from slurm.run.run_folder import RunFolder
from slurm.submit.submission import SubmissionBundle, scripts
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Stage, Task

NAME = "hsd-doctor"
_KINDS = ("train", "merge", "evaluate", "compare")
_UP = re.compile(r"\bis UP\b")
_OLD = (21, 8)
"""Older ones know options of ours (--kill-on-invalid-dep, --gpus-per-node) by other rules."""
_NO_ANSWER = "run this on a login node; if it is one, try again later"


def examine_cluster(profile_name: str, slurm: Slurm | None = None) -> list[Check]:
    """Return what is right and wrong with a profile and its cluster, as seen from here.

    A stand-in with one cell per stage takes a sweep's place; nothing is submitted or written.
    Raises PreflightError for a profile that is wrong itself.
    """
    profile = load_profile(profile_name)
    if profile.local:
        return [
            Check("profile", True, f"{profile_name}: this machine, without a scheduler"),
            *preflight(stand_in(profile), None),
        ]
    slurm = slurm or programs(profile)
    return [
        Check("profile", True, f"{profile_name}: {profile.description or profile.shared_root}"),
        *run_all(looks(profile, slurm)),
        *preflight(stand_in(profile), slurm),
    ]


def stand_in(profile: Profile) -> SubmissionBundle:
    """Return a submission of one empty cell in each stage: the requests of the profile alone."""
    stages = tuple(
        Stage(kind, kind, (Task("cell", ()),), getattr(profile.stages, kind)) for kind in _KINDS
    )
    folder = RunFolder(profile.shared_root / NAME)
    plan = Plan(NAME, folder, stages)
    made: dict[str, str] = {}
    if not profile.local:
        made = scripts(plan, profile, 1, exports(profile, folder.path, folder.code))
    return SubmissionBundle(plan, profile, 1, made, {}, folder.code)


def looks(profile: Profile, slurm: Slurm) -> list[Look]:
    """Return what is asked of the cluster beyond a submission's own checks."""
    assert profile.slurm is not None
    return [
        ("controller", partial(_controller, slurm)),
        ("accounting", partial(_accounting, slurm)),
        ("requeue", partial(_requeue, profile, slurm)),
        ("partition", partial(_partitions, profile, slurm)),
    ]


def controller_check(ping: str, version: str) -> Check:
    """Judge what `scontrol ping` and `sbatch --version` print."""
    name, line = "controller", "; ".join(ping.split("\n")).strip() or "scontrol ping said nothing"
    if not _UP.search(ping):
        return Check(name, False, line, _NO_ANSWER)
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < _OLD:
        fix = "hsd is tested with 22.05 and 24.11; try --smoke before a sweep"
        return Check(name, None, f"{version.strip()} is old", fix)
    return Check(name, True, f"{line}, {version.strip()}")


def requeue_check(requeue: str, config: Mapping[str, str]) -> Check:
    """Say whether a stopped training can go on by itself."""
    name, told = "requeue", config.get("JobRequeue")
    if requeue != "scontrol":
        how = {
            "chain": "further attempts wait in the queue",
            "none": "a stopped training is resubmitted by hand",
        }
        return Check(name, True, f"{requeue}: {how[requeue]}")
    if told == "1":
        return Check(name, True, "scontrol: the cluster lets jobs be requeued (JobRequeue = 1)")
    line = f"scontrol, but JobRequeue = {told or 'unknown'}: jobs may not come back after a stop"
    return Check(name, None, line, 'try --smoke; where it fails, requeue = "chain"')


def partition_checks(profile: Profile, nodes: tuple[Nodes, ...]) -> Iterator[Check]:
    """Describe the partitions that the profile uses, and name the others."""
    assert profile.slurm is not None
    stages = {kind: getattr(profile.stages, kind) for kind in _KINDS}
    default = next((n.partition for n in nodes if n.is_default), "")
    used: dict[str, list[str]] = {}
    for kind, stage in stages.items():
        wanted = stage.partition or profile.slurm.partition or default
        for name in filter(None, wanted.split(",")):
            used.setdefault(name, []).append(kind)
    others = sorted({n.partition for n in nodes} - used.keys())
    for name, kinds in used.items():
        here = [n for n in nodes if n.partition == name]
        fix = f"up are: {', '.join(others) or 'none'}; see `sinfo -s`"
        if not here:
            line = f"not there, or not up (for {', '.join(kinds)})"
            yield Check(f"partition {name}", False, line, fix)
        else:
            line = f"{'; '.join(map(_described, here))} (for {', '.join(kinds)})"
            yield Check(f"partition {name}", True, line)
    if others:
        yield Check("partitions", True, f"unused: {', '.join(others)}")


def features_line(sinfo: str) -> str:
    """Return what [slurm] constraint may name, by `sinfo -h -o %f`."""
    words = {word for line in sinfo.splitlines() for word in line.strip().split(",")}
    named = sorted(words - {"", "(null)"})
    return ", ".join(named) if named else "none: leave [slurm] constraint out"


def _controller(slurm: Slurm) -> list[Check]:
    try:
        ping, version = slurm.text("scontrol", "ping"), slurm.text("sbatch", "--version")
    except (ClusterError, CommandFailed) as error:
        return [Check("controller", False, str(error).rstrip("."), _NO_ANSWER)]
    return [controller_check(ping.strip(), version)]


def _accounting(slurm: Slurm) -> list[Check]:
    if slurm.accounting(["1"]) is None:
        line = "sacct does not answer: `hsd status` and `hsd cost` know what the run's files say"
        return [Check("accounting", None, line)]
    return [Check("accounting", True, "sacct answers")]


def _requeue(profile: Profile, slurm: Slurm) -> list[Check]:
    assert profile.slurm is not None
    return [requeue_check(profile.slurm.requeue, slurm.config())]


def _partitions(profile: Profile, slurm: Slurm) -> list[Check]:
    nodes = nodes_of(slurm.text("sinfo", "-h", "-e", "-o", SINFO_FORMAT))
    if not nodes:
        raise ClusterError("sinfo shows no partition that is up")
    features = features_line(slurm.text("sinfo", "-h", "-o", "%f"))
    return [*partition_checks(profile, nodes), Check("node features", True, features)]


def _described(nodes: Nodes) -> str:
    gpus = f", {nodes.gpus} x {nodes.gpu_type or 'GPU'}" if nodes.gpus else ""
    limit = f"{nodes.limit_min} min at most" if nodes.limit_min else "no time limit"
    size = f"{nodes.cpus} cores, {nodes.memory_mb / 1024:.0f} GB{gpus}"
    return f"{nodes.count} nodes of {size}, {limit}"
