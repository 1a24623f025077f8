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
from slurm.run import submissions
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


def compared(number: int) -> None:
    """Write the marker of the comparison of a submission."""
    marker = {"identity": f"0123abcd-{number}", "at": "2026-01-01T00:00:00+00:00"}
    write_json(RunFolder(RUN).done(ALL, "compare"), marker)


def all_evaluated() -> None:
    """Write the markers of all that cells and bases do."""
    found = work.find_work("pair.toml", "here.toml", local=False, dry_run=True).work
    for name in (*(cell.name for cell in found.cells), *found.bases):
        for stage in ("train", "evaluate", "baseline"):
            at = "2030-01-01T00:00:00+00:00"
            marker = {"identity": found.hash_for(stage, name), "at": at}
            write_json(found.folder.done(name, stage), marker)


def end(fake: Fake, stage: str, state: str) -> None:
    """Let the jobs of a stage end."""
    with store.changed() as queue:
        for job in queue["jobs"]:
            for one in job["elements"]:
                if job["name"].rpartition("-")[2].startswith(stage) and not one.get("end"):
                    store.finish(one, state, "0:0" if state == "COMPLETED" else "1:0")


def cancelled_by_hand() -> None:
    """End every job with scancel, and have the comparison be there all the same."""
    with store.changed() as queue:
        for job in queue["jobs"]:
            for one in job["elements"]:
                store.finish(one, "CANCELLED")
    compared(1)


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


def test_a_comparison_that_failed_is_made_again_although_that_of_an_earlier_part_is_done(
    hsd: Hsd, fake: Fake
) -> None:
    next_part(fake, hsd)
    fake.fault(limits={})
    all_evaluated()
    compared(1)  # of the first part's cells alone
    for stage in ("train", "evaluate", "baseline"):
        end(fake, stage, "COMPLETED")
    code, out, err = hsd(run, *ON)
    assert (code, len(fake.jobs())) == (0, 7), err  # the second part's comparison is in the queue
    end(fake, "compare", "FAILED")
    code, _, err = hsd(run, *ON)
    assert code == 0, err
    assert [job["name"] for job in fake.jobs()[7:]] == ["hsd-pair-compare"]
    end(fake, "compare", "COMPLETED")
    compared(3)
    assert "Everything is done" in hsd(run, *ON)[1]


def test_an_evaluation_behind_a_new_training_is_not_taken_for_done_by_its_old_marker(
    hsd: Hsd, fake: Fake
) -> None:
    cancelled_by_hand()
    fake.fault(limits={})
    all_evaluated()
    cell = submissions.read_submissions(RUN)[0].cells[0]
    folder = RunFolder(RUN)
    folder.done(cell, "train").unlink()  # by who wants it trained once more
    code, out, err = hsd(run, *ON)
    assert code == 0, err
    assert f"1 to do: {cell}" in out
    assert not folder.done(cell, "evaluate").exists()
    assert not folder.done(ALL, "compare").exists()


def test_a_resubmission_runs_no_more_cells_at_once_than_was_asked(hsd: Hsd, fake: Fake) -> None:
    cancelled_by_hand()
    fake.fault(limits={})
    code, _, err = hsd(resubmit, "runs/pair", "--max-parallel", "1")
    assert code == 0, err
    trained = [job for job in fake.jobs()[4:] if job["name"] == "hsd-pair-train"]
    assert [(len(job["elements"]), job["parallelism"]) for job in trained] == [(6, 1)]
