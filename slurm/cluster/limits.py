"""How many jobs a cluster takes: in one array, and at the same time from one user or account.

Asked before a submission, so that a large sweep becomes several arrays, or is submitted in parts,
rather than refused by sbatch.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slurm.cluster.client import ClusterError, CommandFailed, Slurm
from slurm.cluster.cluster_facts import partitions_of
from slurm.cluster.profile import Profile, SlurmConfig

ASSOCIATION_FIELDS = (
    "account",
    "user",
    "partition",
    "maxsubmitjobs",
    "grpsubmitjobs",
    "defaultqos",
)
QOS_FIELDS = ("name", "maxsubmitjobsperuser", "maxsubmitjobsperaccount", "grpsubmitjobs", "flags")
COUNTED_FIELDS = ("user", "account", "partition", "qos")
_COUNTED_FORMAT = "%u|%a|%P|%q"
_LARGE = 20
"""One in so many of the controller's jobs is a large submission."""
_SPARE = 0.05
"""What is left to others of the controller's places: it counts arrays too, and jobs come in."""
_NORMAL = "normal"
"""SLURM's own default quality of service."""
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SubmitLimit:
    """How many jobs may wait or run at once; each element of an array is one."""

    words: str
    most: int
    queued: int
    asks: frozenset[str | None]
    """The partitions whose jobs count, as a profile names them; None is the default one."""
    spare: int = 0
    """How many places are left free."""

    @property
    def room(self) -> int:
        """How many more jobs are taken now."""
        return max(self.most - self.spare - self.queued, 0)

    @property
    def sentence(self) -> str:
        """The limit and what is there of it."""
        return f"{self.words} is {self.most:,}, and {self.queued:,} jobs are in the queue"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A limit before it is known how many jobs there are; "" counts those of all."""

    words: str
    most: int
    asks: frozenset[str | None]
    user: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""

    def queued(self, rows: Iterable[Row]) -> int:
        """Return how many of the queue's jobs count."""
        own = {name: value for name in COUNTED_FIELDS if (value := getattr(self, name))}
        return sum(all(row[name] == value for name, value in own.items()) for row in rows)


def with_array_size(profile: Profile, slurm: Slurm) -> Profile:
    """Return the profile with the cluster's MaxArraySize where that is smaller than its own."""
    config = profile.slurm
    try:
        told = slurm.config().get("MaxArraySize", "") if config else ""
    except (ClusterError, CommandFailed):
        return profile
    if config is None or not told.isdigit() or int(told) < 1:  # 0: no arrays; a check says so
        return profile
    most = min(int(told), config.max_array_size or int(told))
    return profile.model_copy(update={"slurm": config.model_copy(update={"max_array_size": most})})


def submit_limits(
    slurm: Slurm, config: SlurmConfig, asks: Collection[str | None], user: str, jobs: int
) -> list[SubmitLimit]:
    """Return the limits that so many jobs in these partitions come under.

    There are none where SLURM says nothing. Of jobs of other users SLURM may show only some, so a
    group's room may be smaller than told.
    """
    try:
        settings = slurm.config()
        rules = joined(_rules(slurm, settings, config, list(asks), user))
        everyone = not all(rule.user for rule in rules)
        rows = _queued(slurm, () if everyone else ("-u", str(os.getuid()))) if rules else []
        found = [SubmitLimit(one.words, one.most, one.queued(rows), one.asks) for one in rules]
        return [*_controller(slurm, settings, frozenset(asks), jobs), *found]
    except (ClusterError, CommandFailed):
        return []


def _controller(
    slurm: Slurm, settings: Row, asks: frozenset[str | None], jobs: int
) -> Iterator[SubmitLimit]:
    """Yield the limit of all jobs that the controller knows: of all users, some minutes ended too.

    sbatch waits for ever where it is reached. A few jobs find a place; counting them is not free.
    """
    most = settings.get("MaxJobCount", "")
    if most.isdigit() and jobs * _LARGE > int(most):
        known = _queued(slurm, ("-t", "all"))
        spare = int(int(most) * _SPARE)
        yield SubmitLimit("MaxJobCount of the controller", int(most), len(known), asks, spare)


def _queued(slurm: Slurm, which: Sequence[str]) -> list[dict[str, str]]:
    said = slurm.text("squeue", "-h", "-a", "-r", *which, "-o", _COUNTED_FORMAT)
    return rows_of(said, COUNTED_FIELDS)


def joined(rules: Iterable[LimitRule]) -> list[LimitRule]:
    """Return each limit once, with all the partitions whose jobs count."""
    found: dict[LimitRule, frozenset[str | None]] = {}
    for rule in rules:
        alike = replace(rule, asks=frozenset())
        found[alike] = found.get(alike, frozenset()) | rule.asks
    return [replace(rule, asks=asks) for rule, asks in found.items()]


def rows_of(text: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Return the lines of a table with `|` between its columns; others are skipped."""
    rows = ([word.strip() for word in line.split("|")] for line in text.splitlines())
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]


def _rules(
    slurm: Slurm, settings: Row, config: SlurmConfig, asks: Sequence[str | None], user: str
) -> Iterator[LimitRule]:
    enforced = settings.get("AccountingStorageEnforce", "").split(",")
    if not {"limits", "safe"} & {word.strip() for word in enforced}:
        return
    known = partitions_of(slurm.text("scontrol", "show", "partition", "--oneliner"))
    default = next((name for name, said in known.items() if said.get("Default") == "YES"), "")
    names = {ask: ask or default for ask in asks}
    where = [f"cluster={name}"] if (name := settings.get("ClusterName")) else []
    associations = rows_of(
        slurm.text("sacctmgr", "-nP", "show", "assoc", *where, _format(ASSOCIATION_FIELDS)),
        ASSOCIATION_FIELDS,
    )
    qos = rows_of(slurm.text("sacctmgr", "-nP", "show", "qos", _format(QOS_FIELDS)), QOS_FIELDS)
    account = config.account or _default_account(slurm, user)
    yield from association_rules(associations, names, user, account)
    own = [row for row in associations if (row["user"], row["account"]) == (user, account)]
    default_qos = next((row["defaultqos"] for row in own if row["defaultqos"]), _NORMAL)
    for ask, partition in names.items():
        said = known.get(partition, {}).get("QoS", "N/A")
        chosen = config.qos or default_qos
        yield from qos_rules(qos, ask, partition, chosen, said, user, account)


def association_rules(
    rows: Sequence[Row], names: Mapping[str | None, str], user: str, account: str
) -> Iterator[LimitRule]:
    """Yield the limits of a user's association, and of its account as a whole."""
    for row in rows:
        if row["account"] != account or row["user"] not in ("", user):
            continue
        here = [ask for ask, name in names.items() if row["partition"] in ("", name)]
        whose = f"account {account}" + (f" in {row['partition']}" if row["partition"] else "")
        for field, word in (("maxsubmitjobs", "MaxSubmitJobs"), ("grpsubmitjobs", "GrpSubmitJobs")):
            is_own = field == "maxsubmitjobs"
            if row[field].isdigit() and here and (row["user"] or not is_own):
                yield LimitRule(
                    f"{word} of {f'{user} with ' if row['user'] else ''}{whose}",
                    int(row[field]),
                    frozenset(here),
                    row["user"],
                    account,
                    row["partition"],
                )


def qos_rules(
    rows: Sequence[Row], ask: str | None, partition: str, chosen: str, of_partition: str,
    user: str, account: str,
) -> Iterator[LimitRule]:  # fmt: skip
    """Yield the limits of the quality of service of a job and of its partition.

    A partition's own goes before the job's, limit by limit, but where the job's says otherwise.
    """
    by_name = {row["name"]: row for row in rows}
    found = [(of_partition, partition, ""), (chosen, "", chosen)]
    if "OverPartQOS" in by_name.get(chosen, {}).get("flags", ""):
        found.reverse()
    for field, word, who in (
        ("maxsubmitjobsperuser", "MaxSubmitJobsPerUser", {"user": user}),
        ("maxsubmitjobsperaccount", "MaxSubmitJobsPerAccount", {"account": account}),
        ("grpsubmitjobs", "GrpSubmitJobs", {}),
    ):
        for name, place, own in found:
            if (most := by_name.get(name, {}).get(field, "")).isdigit():
                counted = {"partition": place, "qos": own, **who}
                yield LimitRule(f"{word} of QOS {name}", int(most), frozenset([ask]), **counted)
                break


def _format(fields: Sequence[str]) -> str:
    return f"format={','.join(fields)}"


def _default_account(slurm: Slurm, user: str) -> str:
    said = slurm.text("sacctmgr", "-nP", "show", "user", user, "format=defaultaccount")
    return said.strip().split("\n")[0].strip()
