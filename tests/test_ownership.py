"""An id is not enough: which of the jobs that SLURM tells of are a run's own."""

import pytest

from slurm.cluster.job_comment import new_comment
from slurm.cluster.parse import Accounted, Queued
from slurm.run.job_ownership import is_own, is_own_attempt
from slurm.run.submissions import Submitted

AT = "2026-11-27T12:00:00+00:00"


def submitted(comment: str = "hsd-1") -> Submitted:
    return Submitted(
        1, "train", "train", "7", ("a",), AT, 1, 60, name="hsd-x-train", comment=comment
    )


@pytest.mark.parametrize(
    ("comment", "told", "ours"),
    [
        ("hsd-1", ("me", "hsd-x-train", "hsd-1"), True),
        ("hsd-1", ("you", "renamed", "hsd-1"), True),  # no other job has that comment
        ("hsd-1", ("me", "hsd-x-train", "hsd-2"), False),  # a run of the same name elsewhere
        ("hsd-1", ("me", "hsd-x-train", ""), True),  # accounting that keeps no comments
        ("hsd-1", ("me", "hsd-x-train", "set by the site"), True),
        ("hsd-1", ("you", "hsd-x-train", ""), False),
        ("hsd-1", ("me", "other", ""), False),
        ("hsd-1", ("me", "hsd-x-train2", "site"), False),
        ("", ("me", "hsd-x-train", "hsd-2"), True),  # submitted by an older hsd
        ("", ("you", "hsd-x-train", "hsd-2"), False),
        ("", ("me", "other", "hsd-2"), False),
        ("", ("", "hsd-x-train", ""), True),
    ],
)
def test_a_job_is_known_by_its_comment_else_by_name_and_user(
    comment: str, told: tuple[str, str, str], ours: bool
) -> None:
    user, name, said = told
    queued = Queued("7_0", "RUNNING", user=user, name=name, comment=said)
    assert is_own(submitted(comment), queued, "me") == ours


@pytest.mark.parametrize(
    ("submit", "said", "ours"),
    [
        ("2024-03-01T10:00:00+00:00", "", False),  # the id of a job of years ago
        ("2024-03-01T10:00:00+00:00", "hsd-1", True),
        ("2026-11-27T11:59:00+00:00", "", True),  # clocks differ
        ("2026-11-29T03:00:00+00:00", "", True),  # requeued: submitted anew
        ("", "", True),
        ("Unknown", "", True),
    ],
)
def test_an_attempt_of_before_the_submission_is_another_job_s(
    submit: str, said: str, ours: bool
) -> None:
    told = Accounted("7_0", "COMPLETED", user="me", name="hsd-x-train", comment=said)
    assert is_own_attempt(submitted(), told, submit, "me") == ours


def test_no_two_jobs_have_one_comment() -> None:
    assert len({new_comment() for _ in range(100)}) == 100
