"""What sacctmgr says of limits, as rules: whose jobs count, and which limit goes before which."""

import pytest

from slurm.cluster.limits import (
    ASSOCIATION_FIELDS,
    COUNTED_FIELDS,
    QOS_FIELDS,
    LimitRule,
    association_rules,
    joined,
    qos_rules,
    rows_of,
)

QUEUE = rows_of(
    """\
ann|lab|gpu|normal
ann|lab|long|high
bob|lab|gpu|normal
ann|other|gpu|normal
""",
    COUNTED_FIELDS,
)


def of_associations(text: str, names: dict[str | None, str]) -> list[tuple[str, int, int]]:
    """Return words, limit and what is in the queue of Ann's associations with account lab."""
    rules = association_rules(rows_of(text, ASSOCIATION_FIELDS), names, "ann", "lab")
    return [(rule.words, rule.most, rule.queued(QUEUE)) for rule in rules]


def test_a_user_s_limit_counts_that_user_s_jobs_with_the_account() -> None:
    assert of_associations("lab|ann||5||", {"gpu": "gpu"}) == [
        ("MaxSubmitJobs of ann with account lab", 5, 2)
    ]


def test_an_account_s_limit_counts_the_jobs_of_all_its_users() -> None:
    assert of_associations("lab|||7|9|\nlab|ann||||", {"gpu": "gpu"}) == [
        ("GrpSubmitJobs of account lab", 9, 3)
    ]


def test_limits_of_others_do_not_count() -> None:
    assert not of_associations("lab|bob||5||\nother|ann||5||", {"gpu": "gpu"})


def test_a_limit_in_another_partition_does_not_count() -> None:
    assert not of_associations("lab|ann|long|5||", {"gpu": "gpu"})
    assert of_associations("lab|ann|gpu|5||", {None: "gpu"}) == [
        ("MaxSubmitJobs of ann with account lab in gpu", 5, 1)
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "MaxSubmitJobsPerUser of QOS part"),
        ("OverPartQOS", "MaxSubmitJobsPerUser of QOS normal"),
    ],
)
def test_a_partition_s_qos_goes_before_the_job_s_unless_that_says_otherwise(
    flags: str, said: str
) -> None:
    rows = rows_of(f"normal|3|||{flags}\npart|100|||", QOS_FIELDS)
    (rule,) = qos_rules(rows, None, "gpu", "normal", "part", "ann", "lab")
    assert rule.words == said


def test_a_qos_without_a_limit_leaves_it_to_the_other() -> None:
    rows = rows_of("normal|3||8|\npart||4||", QOS_FIELDS)
    rules = qos_rules(rows, None, "gpu", "normal", "part", "ann", "lab")
    assert [(rule.words, rule.most, rule.queued(QUEUE)) for rule in rules] == [
        ("MaxSubmitJobsPerUser of QOS normal", 3, 2),
        ("MaxSubmitJobsPerAccount of QOS part", 4, 2),
        ("GrpSubmitJobs of QOS normal", 8, 3),
    ]


def test_jobs_of_two_partitions_share_one_limit() -> None:
    one = LimitRule("MaxSubmitJobs", 5, frozenset(["gpu"]), "ann")
    other = LimitRule("MaxSubmitJobs", 5, frozenset(["long"]), "ann")
    assert joined([one, other]) == [
        LimitRule("MaxSubmitJobs", 5, frozenset(["gpu", "long"]), "ann")
    ]
