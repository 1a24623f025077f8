"""A sweep larger than an array or a queue may be: split into arrays, and submitted in parts."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from fake_cluster import Fake
from hsd_program import Hsd
from sweep_bench import ON, RUN, profile, sweep

from hsd.io.json_reader import read_json
from jobs.cancel import cancel
from jobs.resubmit import resubmit
from jobs.run import run
from jobs.status import status
from slurm.run import submissions
from slurm.run.submissions import Submitted

pytestmark = pytest.mark.usefixtures("sweep_bench")
SEVEN = '[grid]\n"training.epochs" = [1, 2, 3, 4, 5, 6, 7]'
"""With two presets: fourteen cells."""


def arrays(kind: str, folder: Path = RUN) -> list[Submitted]:
    """Return the arrays of a stage in the run's folder."""
    return [one for one in submissions.read_submissions(folder) if one.kind == kind]


def large(fake: Fake, **limits: int) -> None:
    """Make the sweep of fourteen cells on a cluster with limits."""
    sweep(SEVEN)
    fake.fault(limits=limits)


def test_every_cell_of_a_split_stage_is_in_exactly_one_array(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxArraySize=4)
    code, _, err = hsd(run, *ON)
    assert code == 0, err
    for kind in ("train", "evaluate"):
        made = arrays(kind)
        assert [one.stage for one in made] == [kind, *(f"{kind}.{n}" for n in (2, 3, 4))]
        assert all(len(one.cells) <= 4 for one in made)
        counts = Counter(cell for one in made for cell in one.cells)
        assert len(counts) == 14
        assert set(counts.values()) == {1}


def test_an_evaluation_waits_for_the_array_that_trains_its_own_cells(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxArraySize=4)
    hsd(run, *ON)
    trains = {one.job_id: one.cells for one in arrays("train")}
    options = {str(job["id"]): job["options"] for job in fake.jobs()}
    for one in arrays("evaluate"):
        kind, behind = options[one.job_id]["dependency"].split(":")
        assert kind == "aftercorr"
        assert trains[behind] == one.cells, "element i waits for element i"
    compare = options[arrays("compare")[0].job_id]["dependency"]
    everyone = [*arrays("evaluate"), *arrays("baseline")]
    assert set(compare.split(",")) == {f"afterany:{one.job_id}" for one in everyone}


def test_status_cancel_and_resubmit_see_all_arrays(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxArraySize=4)
    hsd(run, *ON)
    shown = json.loads(hsd(status, "runs/pair", "--json")[1])
    assert shown["states"] == {"waiting": 15}
    assert len(shown["cells"]) == 16
    code, _, err = hsd(cancel, "runs/pair")
    assert code == 0, err
    states = {element["state"] for job in fake.jobs() for element in job["elements"]}
    assert states == {"CANCELLED"}
    code, _, err = hsd(resubmit, "runs/pair")
    assert code == 0, err
    again = [one for one in arrays("train") if one.number == 2]
    assert sorted(cell for one in again for cell in one.cells) == sorted(
        cell for one in arrays("train") if one.number == 1 for cell in one.cells
    )
    assert all(len(one.cells) <= 4 for one in again)


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (4, 4), (10, 10)])
def test_no_more_cells_of_a_stage_run_at_once_than_was_asked_however_it_is_split(
    hsd: Hsd, fake: Fake, limit: int, most: int
) -> None:
    large(fake, MaxArraySize=4)
    hsd(run, *ON, "--max-parallel", str(limit))
    made = [job for job in fake.jobs() if job["name"].startswith("hsd-pair-train")]
    by_id = {str(job["id"]): job for job in made}
    behind = {
        name: re.findall(r"afterany:(\d+)", job["options"].get("dependency", ""))
        for name, job in by_id.items()
    }
    first = [job for name, job in by_id.items() if not behind[name]]
    assert sum(job["parallelism"] for job in first) == most
    for name, waits in behind.items():  # a later one takes the places of the one before it
        for other in waits:
            assert by_id[name]["parallelism"] == by_id[other]["parallelism"]


def test_a_dry_run_is_split_as_the_submission(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxArraySize=4)
    _, dry, _ = hsd(run, *ON, "--dry-run")
    hsd(run, *ON)
    assert all(script.decode() in dry for script in fake.scripts())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MaxJobCount", "MaxJobCount of the controller"),
        ("MaxSubmitJobs", "MaxSubmitJobs of .* with account hsd"),
        ("MaxSubmitJobsPerUser", "MaxSubmitJobsPerUser of QOS normal"),
    ],
)
def test_what_does_not_fit_is_submitted_by_the_same_command_later(
    hsd: Hsd, fake: Fake, name: str, words: str
) -> None:
    large(fake, **{name: 12})
    code, out, err = hsd(run, *ON)
    assert code == 0, err
    # A base, a comparison, and five cells with a training and an evaluation each.
    assert sum(len(job["elements"]) for job in fake.jobs()) == 12
    assert re.search(rf"9 cells not submitted yet: {words} is 12, and 0 jobs are in the queue", out)
    assert [cell for one in arrays("baseline") for cell in one.cells] == ["baseline"]
    first = {cell for one in arrays("train") for cell in one.cells}
    assert len(first) == 5

    code, _, err = hsd(run, *ON)  # nothing has ended: it does not fit yet
    assert code == 3
    assert "12 jobs are in the queue" in err
    assert "wait until some of those have ended" in err

    fake.fault(limits={})
    code, _, err = hsd(run, *ON)
    assert code == 0, err
    trained = Counter(cell for one in arrays("train") for cell in one.cells)
    assert len(trained) == 14
    assert set(trained.values()) == {1}


def test_what_is_submitted_later_is_a_part_of_the_run(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxSubmitJobs=12)
    hsd(run, *ON)
    known = [cell["name"] for cell in read_json(RUN / "run.json")["cells"]]
    assert all((RUN / "cells" / name / "config.json").exists() for name in known)
    fake.fault(limits={})
    code, _, err = hsd(resubmit, "runs/pair")
    assert code == 0, err
    assert len({cell for one in arrays("train") for cell in one.cells}) == 14


def test_a_queue_too_small_for_one_cell_is_refused_with_the_numbers(hsd: Hsd, fake: Fake) -> None:
    large(fake, MaxSubmitJobs=1)
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "is 1, and 0 jobs are in the queue, so not even one cell fits, which needs 2 jobs" in err
    assert not fake.jobs()


def test_limits_that_are_not_enforced_do_not_count(hsd: Hsd, fake: Fake) -> None:
    sweep(SEVEN)
    code, out, _ = hsd(run, *ON)
    assert code == 0
    assert "not submitted yet" not in out
    assert not fake.calls("sacctmgr")


def test_the_profile_may_ask_for_smaller_arrays(hsd: Hsd, fake: Fake) -> None:
    sweep(SEVEN)
    profile("max_array_size = 7")
    hsd(run, *ON)
    assert [len(one.cells) for one in arrays("train")] == [7, 7]
    assert fake.jobs()
