"""Write a profile by asking a cluster: the questions, the choices, and the file with the reasons.

The choices are guesses that somebody who knows the cluster would make; each says why in a comment.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hsd.errors import HsdError, PreflightError
from slurm.cluster.cluster_facts import (
    SINFO_FORMAT,
    Facts,
    Nodes,
    accounts_of,
    nodes_of,
    partitions_of,
    settings_of,
)

_GPU_MEMORY_GB = {
    "b200": 180, "h200": 141, "gh200": 96, "h100": 80, "a100": 80, "mi300": 192, "mi250": 64,
    "l40": 48, "a40": 48, "a6000": 48, "v100": 32, "a30": 24, "l4": 24, "rtx": 24, "t4": 16,
}  # fmt: skip
_SAID_GB = re.compile(r"(\d+)gb")
_ENOUGH_GB = 80
"""A 20B base in bfloat16 has 42 GB; from here on more GPUs are better than bigger ones."""
_MERGE_GB = 120
"""A merge is in float32: 84 GB for a 20B base."""
_MOST_GPUS = 4
_DAY_MIN, _EVALUATE_MIN, _MERGE_MIN, _COMPARE_MIN = 1440, 480, 120, 10


@dataclass(frozen=True, slots=True)
class Texts:
    """What the programs printed; empty where one could not say."""

    sinfo: str
    config: str = ""
    partitions: str = ""
    associations: str = ""
    default_account: str = ""


def asked(run: Callable[..., str], user: str) -> Texts:
    """Ask the cluster; `run` is `Slurm().text`. Only sinfo must answer."""

    def optional(*argv: str) -> str:
        try:
            return run(*argv)
        except HsdError:
            return ""

    return Texts(
        run("sinfo", "-h", "-e", "-o", SINFO_FORMAT),
        optional("scontrol", "show", "config"),
        optional("scontrol", "show", "partition", "--oneliner"),
        optional("sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account,qos"),
        optional("sacctmgr", "-nP", "show", "user", user, "format=defaultaccount"),
    )


def facts_of(texts: Texts) -> Facts:
    """Return what the texts say."""
    return Facts(
        nodes_of(texts.sinfo),
        settings_of(texts.config),
        partitions_of(texts.partitions),
        *accounts_of(texts.associations, texts.default_account),
    )


def discover(texts: Texts, shared_root: str = "runs", cluster: str = "") -> str:
    """Return the TOML of a profile, with comments. Raises PreflightError without any node.

    `cluster` is the one that was asked, where a site has several.
    """
    facts = facts_of(texts)
    usable = facts.usable()
    if not usable:
        names = ", ".join(sorted({nodes.partition for nodes in facts.nodes})) or "none"
        raise PreflightError(
            f"sinfo shows no partition that you may use (shown: {names}); copy a profile of "
            "`hsd cluster list` and fill it in by hand."
        )
    best = max(usable, key=_worth)
    cpu = _for_cpus(usable, best)
    lines = [
        *_head(facts, best, shared_root),
        *_slurm(facts, best),
        *_extra(cluster),
        *_stages(best, cpu),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _extra(cluster: str) -> Iterator[str]:
    if cluster:
        yield ""
        yield "[slurm.extra]"
        yield "# As SLURM_CLUSTERS said when this was written: jobs go there, and are sought there."
        yield f"clusters = {_text(cluster)}"


def gpu_memory_gb(kind: str | None) -> int:
    """Return what a GPU of this type has, as far as its name says; 0 where it does not."""
    name = (kind or "").lower()
    if said := _SAID_GB.search(name):  # a100_80gb, or a slice such as a100_1g.5gb
        return int(said[1])
    return max((gb for known, gb in _GPU_MEMORY_GB.items() if known in name), default=0)


def _worth(nodes: Nodes) -> tuple[object, ...]:
    return (
        nodes.gpus > 0,
        min(gpu_memory_gb(nodes.gpu_type), _ENOUGH_GB),
        nodes.count * nodes.gpus,
        nodes.gpus,
        nodes.is_default,
        nodes.limit_min is None,
        nodes.limit_min or 0,
    )


def _for_cpus(usable: list[Nodes], best: Nodes) -> Nodes:
    """Return where jobs without a GPU go: nodes without GPUs if they can hold a merge."""
    fit = [n for n in usable if not n.gpus and n.memory_mb >= _MERGE_GB * 1024]
    return max(fit, key=lambda n: (n.count * n.cpus, n.is_default), default=best)


def _head(facts: Facts, best: Nodes, shared_root: str) -> Iterator[str]:
    name = facts.settings.get("ClusterName", "this cluster")
    version = facts.settings.get("SLURM_VERSION", "unknown")
    gpus = f"{best.gpus} x {best.gpu_type or 'GPU'}" if best.gpus else "no GPU"
    yield "# Written by `hsd cluster init`. Read it, change what you know better, then: hsd doctor"
    yield f"# {name}, SLURM {version}"
    yield f"description = {_text(f'{name}: {best.partition}, {gpus} a node')}"
    yield ""
    yield "# All nodes must see this folder at this path, and there must be room for the runs:"
    yield "# often a folder under /scratch or /work, seldom the home folder."
    yield f"shared_root = {_text(shared_root)}"
    yield '# A fast local disk of the nodes; "$TMPDIR" where the site makes one for each job.'
    yield 'node_local = "/tmp"'
    yield "# Could not be asked. false: models are fetched before, with `hsd fetch`."
    yield "compute_internet = false"


def _slurm(facts: Facts, best: Nodes) -> Iterator[str]:
    yield ""
    yield "[slurm]"
    yield from _account(facts)
    others = sorted({n.partition for n in facts.nodes if n.gpus} - {best.partition})
    if others:
        yield f"# Other partitions with GPUs: {', '.join(others)}"
    yield f"partition = {_text(best.partition)}"
    if [name for name in facts.qos if name != "normal"]:
        yield f"# qos = ...  # yours: {', '.join(facts.qos)}"
    if best.gpus and best.gpu_type:
        yield f"gpu_type = {_text(best.gpu_type)}"
    if best.gpus:
        yield from _gpu_request(facts)
    if facts.settings.get("JobRequeue") == "0":
        yield "# JobRequeue = 0: jobs are not put back into the queue here, so attempts are queued."
        yield 'requeue = "chain"'
    if (size := facts.settings.get("MaxArraySize", "")).isdigit() and int(size) > 0:
        yield f"max_array_size = {size}"
    if facts.settings.get("AccountingStorageType", "").endswith(("none", "(null)")):
        yield "# Accounting is off: no `hsd cost`; finished jobs are known by their files alone."


def _account(facts: Facts) -> Iterator[str]:
    if not facts.accounts:
        yield "# account = ...  # sacctmgr shows none of yours: perhaps none is needed"
        return
    first, *others = facts.accounts
    if others:
        yield f"# Your other accounts: {', '.join(others)}"
    yield f"account = {_text(first)}"


def _gpu_request(facts: Facts) -> Iterator[str]:
    kind = facts.settings.get("SelectType", "select/cons_tres")
    if kind != "select/cons_tres":
        yield f"# {kind} does not know --gpus-per-node."
        yield 'gpu_request = "gres"'


def _stages(best: Nodes, cpu: Nodes) -> Iterator[str]:
    share = max(best.gpus, 1)
    train = min(best.gpus, _MOST_GPUS)
    yield ""
    has = f"{best.cpus} CPUs, {_gb(best.memory_mb)} GB for jobs and {best.gpus} GPUs"
    yield f"# Such a node has {has}."
    if best.gpus:
        yield "# A job takes as large a part of the CPUs and the memory as of the GPUs."
    yield from _stage("train", best, train, train or 1, share, _DAY_MIN)
    enough = cpu.memory_mb >= _MERGE_GB * 1024
    yield "# In float32 on CPUs: a 20B base has 84 GB" + (
        "." if enough else ", too much for these nodes. Smaller ones fit."
    )
    at = cpu.partition if cpu.partition != best.partition else None
    yield from _on_cpus("merge", cpu, at, 16, _MERGE_GB, _MERGE_MIN)
    yield "# One GPU each, so that cells are evaluated side by side."
    yield from _stage("evaluate", best, min(best.gpus, 1), 1, share, _EVALUATE_MIN)
    yield from _on_cpus("compare", cpu, at, 2, 8, _COMPARE_MIN)


def _stage(
    name: str, nodes: Nodes, gpus: int, parts: int, share: int, time_min: int
) -> Iterator[str]:
    """Write a stage that takes `parts` of the `share` parts of a node."""
    yield f"[stages.{name}]"
    yield f"gpus = {gpus}"
    yield f"cpus = {max(nodes.cpus * parts // share, 1)}"
    yield f"memory_gb = {max(_gb(nodes.memory_mb) * parts // share, 1)}"
    yield f"time_min = {min(time_min, nodes.limit_min or time_min)}"
    yield ""


def _on_cpus(
    name: str, nodes: Nodes, partition: str | None, cpus: int, memory_gb: int, time_min: int
) -> Iterator[str]:
    yield f"[stages.{name}]"
    if partition:
        yield f"partition = {_text(partition)}"
    yield f"cpus = {max(min(cpus, nodes.cpus), 1)}"
    yield f"memory_gb = {max(min(memory_gb, _gb(nodes.memory_mb)), 1)}"
    yield f"time_min = {min(time_min, nodes.limit_min or time_min)}"
    yield ""


def _gb(memory_mb: int) -> int:
    """Return what a job may ask for: a node keeps some for itself."""
    return int(memory_mb / 1024 * 0.95)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
