"""A sweep in parts: what is said of cells that are not submitted, and what cancel ends."""

import json
import re
from pathlib import Path

import pytest
import sweeps
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import ON, RUN, sweep

from hsd.io.files import write_json
from jobs.cancel import cancel
from jobs.resubmit import resubmit
from jobs.run import run
from jobs.status import status
from slurm.run.run_folder import ALL, RunFolder
from slurm.submit import work

NEXT = "hsd resubmit pair"


@pytest.fixture(autouse=True)
def _part(sweep_bench: None, fake: Fake, hsd: Hsd) -> None:  # noqa: ARG001
    """Submit two of six cells: with a base and a comparison they are six jobs."""
    sweep('[grid]\n"training.epochs" = [1, 2, 3]')
    fake.fault(limits={"MaxSubmitJobs": 6})
    code, _, err = hsd(run, *ON)
    assert code == 0, err


def elements(fake: Fake) -> dict[str, list[str]]:
    """Return the states of each job's elements, by the job's id and stage."""
    return {
        f"{job['id']} {job['name'].rpartition('-')[2]}": [one["state"] for one in job["elements"]]
        for job in fake.jobs()
    }


def cancelled_by_hand() -> None:
    """End every job with scancel, and have the comparison be there all the same."""
    with store.changed() as queue:
        for job in queue["jobs"]:
            for one in job["elements"]:
                store.finish(one, "CANCELLED")
    write_json(RunFolder(RUN).done(ALL, "compare"), {"at": "2026-01-01T00:00:00+00:00"})


def next_part(fake: Fake, hsd: Hsd) -> None:
    """Submit two more cells while those before them are in the queue."""
    fake.fault(limits={"MaxSubmitJobs": 11})
    code, _, err = hsd(run, *ON)
    assert code == 0, err


def test_a_cell_without_a_job_is_not_called_waiting(hsd: Hsd) -> None:
    shown = json.loads(hsd(status, "runs/pair", "--json")[1])
    assert shown["states"] == {"waiting": 3, "not submitted": 4}
    assert shown["notes"] == [f"4 cells are not submitted yet. Submit more: {NEXT}"]


def test_status_names_the_command_that_submits_the_next_part(hsd: Hsd, fake: Fake) -> None:
    _, out, _ = hsd(status, "runs/pair")
    assert f"4 cells are not submitted yet. Submit more: {NEXT}\n" in out
    fake.fault(limits={})
    code, _, err = hsd(resubmit, "runs/pair")
    assert code == 0, err
    shown = json.loads(hsd(status, "runs/pair", "--json")[1])
    assert (shown["states"], shown["notes"]) == ({"waiting": 7}, [])


def test_nothing_failed_is_not_said_to_be_everything_done(hsd: Hsd) -> None:
    cancelled_by_hand()
    code, out, _ = hsd(resubmit, "runs/pair", "--failed")
    assert code == 0
    assert out.endswith("Other cells are not done: hsd resubmit pair\n")


def test_newer_code_between_two_parts_names_a_command_that_submits_the_rest(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(work, "running_code", lambda: sweeps.code(tmp_path / "newer"))
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "or `hsd resubmit pair`, which goes on with the code" in err
    fake.fault(limits={})
    code, out, err = hsd(resubmit, "runs/pair")
    assert code == 0, err
    assert "4 to do" in out


def test_cancel_ends_the_jobs_of_every_part(hsd: Hsd, fake: Fake) -> None:
    fake.fault(scancel="refused")  # the first comparison stays
    next_part(fake, hsd)
    fake.fault(scancel={})
    made = elements(fake)
    assert [made[name] for name in made if name.endswith("compare")] == [["PENDING"], ["PENDING"]]
    code, _, err = hsd(cancel, "runs/pair")
    assert code == 0, err
    assert {state for states in elements(fake).values() for state in states} == {"CANCELLED"}


def test_a_comparison_waits_for_all_parts_and_that_of_an_earlier_part_is_cancelled(
    hsd: Hsd, fake: Fake
) -> None:
    next_part(fake, hsd)
    found = elements(fake)
    (first, last) = [name for name in found if name.endswith("compare")]
    assert (found[first], found[last]) == (["CANCELLED"], ["PENDING"])
    waits = {
        name: fake.jobs()[at]["options"].get("dependency", "") for at, name in enumerate(found)
    }
    behind = set(re.findall(r"afterany:(\d+)", waits[last]))
    assert behind == {
        name.split()[0] for name in found if name.split()[1] in ("evaluate", "baseline")
    }
