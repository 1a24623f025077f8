"""What sinfo, scontrol and sacctmgr say of a cluster, as typed facts. Pure: text in, facts out."""

import re
from dataclasses import dataclass, field, replace
from typing import Self

SINFO_FORMAT = "%P|%D|%c|%m|%G|%l|%a"
"""Partition (`*`: the default), nodes, CPUs, memory in MB, gres, time limit, up or not."""
_GPUS = re.compile(r"\bgpu(?::([^:,()]+))?:(\d+)")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one partition that are alike."""

    partition: str
    is_default: bool
    count: int
    cpus: int
    memory_mb: int
    gpu_type: str | None
    gpus: int
    limit_min: int | None
    """Longest job in minutes; None is without limit."""

    @classmethod
    def parsed(cls, line: str) -> Self | None:
        """Return the nodes of a line in SINFO_FORMAT; None of a partition that takes no jobs."""
        name, count, cpus, memory, gres, limit, available = line.strip().split("|")
        if available != "up":
            return None
        return cls(
            name.rstrip("*"),
            name.endswith("*"),
            _number(count) or 0,
            _number(cpus) or 1,  # `16+` where nodes differ: the smallest
            _number(memory) or 0,
            *gpus_of(gres),
            minutes(limit),
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides a profile."""

    nodes: tuple[Nodes, ...]
    settings: dict[str, str] = field(default_factory=dict)
    """Of `scontrol show config`."""
    partitions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of `scontrol show partition`, by name."""
    accounts: tuple[str, ...] = ()
    """Those that the user may use; the default first."""
    qos: tuple[str, ...] = ()

    def usable(self) -> list[Nodes]:
        """Return the nodes that the user is let onto, as large as a job may be there."""
        return [self._capped(n) for n in self.nodes if n.count and self._is_open(n.partition)]

    def _is_open(self, partition: str) -> bool:
        said = self.partitions.get(partition, {})
        if said.get("State", "UP") != "UP" or said.get("RootOnly") == "YES":
            return False
        allowed = said.get("AllowAccounts", "ALL").split(",")
        denied = said.get("DenyAccounts", "").split(",")
        fit = [a for a in self.accounts if a not in denied and (a in allowed or "ALL" in allowed)]
        return bool(fit) or not self.accounts

    def _capped(self, nodes: Nodes) -> Nodes:
        said = self.partitions.get(nodes.partition, {})
        cpus, memory_mb = _number(said.get("MaxCPUsPerNode")), _number(said.get("MaxMemPerNode"))
        return replace(
            nodes,
            cpus=min(nodes.cpus, cpus or nodes.cpus),
            memory_mb=min(nodes.memory_mb, memory_mb or nodes.memory_mb),
        )


def nodes_of(sinfo: str) -> tuple[Nodes, ...]:
    """Return the nodes of `sinfo -h -e -o SINFO_FORMAT`; lines of other forms are not ours."""
    lines = [line for line in sinfo.splitlines() if line.count("|") == SINFO_FORMAT.count("|")]
    return tuple(nodes for line in lines if (nodes := Nodes.parsed(line)))


def gpus_of(gres: str) -> tuple[str | None, int]:
    """Return type and number of GPUs: `gpu:a100:4(S:0-1)` is ("a100", 4).

    Of nodes with several types, the type that they have most of: a job cannot mix them.
    """
    found = [(int(number), kind or None) for kind, number in _GPUS.findall(gres)]
    if not found:
        return None, 0
    most, kind = max(found, key=lambda one: one[0])
    return kind, most


def minutes(limit: str) -> int | None:
    """Return a time limit in minutes: `1-00:00:00` is 1440, `30:00` is 30, infinite is None."""
    match = _TIME.fullmatch(limit.strip())
    if match is None:
        return None
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:  # DAYS-HOURS[:MINUTES[:SECONDS]]
        hours, mins, _ = (*numbers, 0, 0)[:3]
        return (int(days) * 24 + hours) * 60 + mins
    if len(numbers) == 3:  # noqa: PLR2004 - HOURS:MINUTES:SECONDS
        return numbers[0] * 60 + numbers[1]
    return numbers[0]  # MINUTES[:SECONDS]


def settings_of(config: str) -> dict[str, str]:
    """Return the pairs of `scontrol show config`."""
    pairs = (line.partition("=") for line in config.splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def partitions_of(shown: str) -> dict[str, dict[str, str]]:
    """Return the pairs of `scontrol show partition --oneliner`, by the partition's name."""
    pairs = (
        dict(word.split("=", 1) for word in line.split() if "=" in word)
        for line in shown.splitlines()
    )
    return {one["PartitionName"]: one for one in pairs if "PartitionName" in one}


def accounts_of(associations: str, default: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return accounts (the default first) and qualities of service.

    `associations` are the lines of sacctmgr with format=account,qos.
    """
    rows = [line.split("|") for line in associations.splitlines() if line.count("|") == 1]
    accounts = sorted({row[0] for row in rows if row[0]}, key=lambda name: name != default.strip())
    qos = sorted({name for row in rows for name in row[1].split(",") if name})
    return tuple(accounts), tuple(qos)


def _number(text: str | None) -> int | None:
    match = _NUMBER.match(text or "")
    return int(match[0]) if match else None
