"""Shards of one command on a cluster with a small queue: submitted in parts, or refused."""

import re
from collections import Counter
from pathlib import Path

import pytest
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import PREDICT

from hsd.io.json_reader import parse_json
from jobs.resubmit import resubmit
from jobs.status import status
from jobs.submit import submit
from slurm.run import submissions

pytestmark = pytest.mark.usefixtures("predict_bench")

NAMED = ("--cluster", "here.toml", "--name", "scores")
LIMITS = ("MaxJobCount", "MaxSubmitJobs", "MaxSubmitJobsPerUser")


def end_all() -> None:
    """Let every job of the queue end with an error."""
    with store.changed() as queue:
        for job in queue["jobs"]:
            for element in job["elements"]:
                store.finish(element, "FAILED", "1:0")


def submitted() -> Counter[str]:
    """Return how often each shard was submitted."""
    return Counter(
        one for job in submissions.read_submissions(Path("runs/scores")) for one in job.cells
    )


@pytest.mark.parametrize("limit", LIMITS)
def test_no_more_shards_are_submitted_than_the_queue_takes_and_resubmit_submits_the_rest(
    hsd: Hsd, fake: Fake, limit: str
) -> None:
    fake.fault(limits={limit: 3})
    code, out, err = hsd(submit, *PREDICT, "--shards", "5", *NAMED)
    assert code == 0, err
    assert re.search(
        r"2 shards not submitted yet: \S+ of .* is 3, and 0 jobs are in the queue", out
    )
    assert "When jobs have ended, submit more: hsd resubmit scores\n" in out
    assert [len(job["elements"]) for job in fake.jobs()] == [3]
    shown = hsd(status, "scores")[1]
    assert "scores: 0 of 5 shards done, 3 waiting, 2 not submitted" in shown
    assert "2 shards are not submitted yet. Submit more: hsd resubmit scores\n" in shown

    code, _, err = hsd(resubmit, "scores")
    assert code == 3
    assert "is 3, and 3 jobs are in the queue, so not even one shard fits; wait until" in err

    fake.fault(limits={limit: 4})
    code, out, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert "1 to do: shard-3-of-5\n3 in the queue" in out
    assert "1 shard not submitted yet: " in out
    fake.fault(limits={})
    assert hsd(resubmit, "scores")[0] == 0
    assert submitted() == {f"shard-{index}-of-5": 1 for index in range(5)}


def test_a_dry_run_has_the_shards_that_the_submission_has(hsd: Hsd, fake: Fake) -> None:
    fake.fault(limits={"MaxSubmitJobs": 3})
    code, dry, err = hsd(submit, *PREDICT, "--shards", "5", *NAMED, "--dry-run")
    assert code == 0, err
    assert "2 shards not submitted yet" in dry
    assert hsd(submit, *PREDICT, "--shards", "5", *NAMED)[0] == 0
    (script,) = fake.scripts()
    assert script.decode() in dry


def test_a_full_queue_refuses_a_single_job_with_the_numbers(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *PREDICT, "--cluster", "here.toml", "--name", "first")[0] == 0
    fake.fault(limits={"MaxSubmitJobs": 1})
    code, _, err = hsd(submit, *PREDICT, *NAMED)
    assert code == 3
    assert "is 1, and 1 jobs are in the queue, so not even one job fits; wait until" in err
    assert not Path("runs/scores").exists()


def test_a_name_that_is_taken_is_refused_though_only_some_shards_fit(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *PREDICT, *NAMED)[0] == 0
    end_all()
    fake.fault(limits={"MaxSubmitJobs": 3})
    code, _, err = hsd(submit, *PREDICT, "--shards", "5", *NAMED)
    assert code == 3
    assert "a run of this name is there; choose another --name" in err


def test_json_of_a_resubmission_in_parts_warns_on_stderr(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *PREDICT, "--shards", "5", *NAMED)[0] == 0
    end_all()
    fake.fault(limits={"MaxSubmitJobs": 3})
    code, out, err = hsd(resubmit, "scores", "--json")
    assert code == 0, err
    (job,) = parse_json(out, "resubmit")
    assert len(job["cells"]) == 3
    assert "Warning: 2 shards not submitted yet: " in err


def test_no_more_shards_run_at_once_than_was_asked(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *PREDICT, "--shards", "6", "--max-parallel", "2", *NAMED)[0] == 0
    end_all()
    assert hsd(resubmit, "scores", "--max-parallel", "3")[0] == 0
    assert [job["parallelism"] for job in fake.jobs()] == [2, 3]


def test_a_single_job_is_not_told_how_many_may_run_at_once(hsd: Hsd, fake: Fake) -> None:
    code, _, err = hsd(submit, *PREDICT, "--max-parallel", "2", *NAMED)
    assert code == 2
    assert "--max-parallel: one job runs alone; give --shards N too." in err
    assert not fake.jobs()
