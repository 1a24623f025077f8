"""`hsd run`, `hsd cancel` and `hsd status` after a submission was killed half way."""

import json
import time
from typing import Any

import pytest
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import ON, RUN

from jobs.cancel import cancel
from jobs.cost import cost
from jobs.run import run
from jobs.status import status
from slurm.run import submissions

pytestmark = pytest.mark.usefixtures("sweep_bench")


def killed_before(word: str) -> None:
    """Leave of submissions.jsonl what a submission had written that was killed before `word`."""
    file = RUN / "submissions.jsonl"
    lines = file.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if word in json.loads(line))
    file.write_text("".join(f"{line}\n" for line in lines[:at]))


def each(fake: Fake, stage: str, **facts: Any) -> None:
    """Change all elements of a stage in the queue; "" is all stages."""
    assert fake.jobs()
    with store.changed() as queue:
        for job in queue["jobs"]:
            for number, element in enumerate(job["elements"]):
                if job["name"].endswith(stage):
                    raw = {"raw": job["id"] * 10 + number} if facts.get("start") else {}
                    element.update(facts | raw)


def hold(fake: Fake) -> None:
    """Put all jobs back to what they were before the release."""
    each(fake, "", held=True, reason="JobHeldUser")


def states_of(fake: Fake, stage: str) -> list[str]:
    """Return the states of a stage's elements."""
    of_stage = (job for job in fake.jobs() if job["name"].endswith(stage))
    return [element["state"] for job in of_stage for element in job["elements"]]


def released_and_killed(hsd: Hsd, fake: Fake) -> None:
    """Kill it after the release and before the note; hours later trainings have ended."""
    hsd(run, *ON)
    killed_before("released")
    hours = {"start": time.time() - 7200, "end": time.time() - 3600}
    each(fake, "train", state="COMPLETED", **hours)
    each(fake, "evaluate", state="RUNNING", start=time.time() - 3600)


def paid(hsd: Hsd) -> int:
    """Return how many attempts the run had."""
    return int(json.loads(hsd(cost, "runs/pair", "--json")[1])["attempts"])


def test_cancelling_what_is_stuck_after_a_kill_leaves_running_jobs_and_their_costs(
    hsd: Hsd, fake: Fake
) -> None:
    released_and_killed(hsd, fake)
    before = paid(hsd)
    assert before
    code, out, err = hsd(cancel, "runs/pair", "--stuck")
    assert (code, out) == (0, "No job is stuck.\n"), err
    assert states_of(fake, "evaluate") == ["RUNNING", "RUNNING"]
    assert paid(hsd) == before


def test_cancelling_one_cell_after_a_kill_leaves_the_other_cell(hsd: Hsd, fake: Fake) -> None:
    released_and_killed(hsd, fake)
    before = paid(hsd)
    code, out, err = hsd(cancel, "runs/pair/a")
    assert code == 0, err
    assert "cancelled a/evaluate" in out
    of_a, of_b = states_of(fake, "evaluate")
    assert of_a in ("COMPLETING", "CANCELLED")
    assert of_b == "RUNNING"
    assert paid(hsd) == before


def test_cancelling_one_cell_of_held_jobs_releases_the_others(hsd: Hsd, fake: Fake) -> None:
    hsd(run, *ON)
    killed_before("released")
    hold(fake)
    code, _, err = hsd(cancel, "runs/pair/a")
    assert code == 0, err
    assert "released its jobs" in err
    assert states_of(fake, "train") == ["CANCELLED", "PENDING"]
    left = [e for job in fake.jobs() for e in job["elements"] if e["state"] == "PENDING"]
    assert not any(element["held"] for element in left)


@pytest.mark.parametrize("word", ["complete", "released"])
def test_cancelling_all_after_a_kill_says_so_and_so_does_the_second_time(
    hsd: Hsd, fake: Fake, word: str
) -> None:
    hsd(run, *ON)
    killed_before(word)
    hold(fake)
    code, out, err = hsd(cancel, "runs/pair")
    assert code == 0, err
    assert out.startswith("cancelled ")
    assert out.endswith("To continue: hsd resubmit pair\n")
    assert set(states_of(fake, "")) == {"CANCELLED"}
    assert submissions.unsettled(RUN) == []
    assert hsd(cancel, "runs/pair") == (0, "No job was waiting or running.\n", "")


def test_a_job_that_has_an_id_of_a_killed_submission_by_now_is_left_alone(
    hsd: Hsd, fake: Fake
) -> None:
    hsd(run, *ON)
    killed_before("complete")
    with store.changed() as queue:
        for job in queue["jobs"]:
            job["name"] = "other-work"
            job["options"]["comment"] = "hsd-another-run-of-mine"
    each(fake, "", state="RUNNING", start=time.time())
    assert hsd(cancel, "runs/pair")[0] == 0
    assert set(states_of(fake, "")) == {"RUNNING"}


def test_where_a_site_changes_comments_a_job_that_was_not_written_down_is_taken_back_by_its_name(
    hsd: Hsd, fake: Fake
) -> None:
    hsd(run, *ON)
    killed_before("stage")  # right after sbatch's yes to the first
    each(fake, "", state="CANCELLED", end=time.time())  # the later ones were never there
    each(fake, "train", state="PENDING", end=None, held=True, reason="JobHeldUser")
    with store.changed() as queue:
        queue["jobs"][0]["options"]["comment"] = "billing=42"
    name = fake.jobs()[0]["name"]
    code, _, err = hsd(run, *ON)
    assert code == 0, err
    lost, *others = [job for job in fake.jobs() if job["name"] == name]
    assert {element["state"] for element in lost["elements"]} == {"CANCELLED"}
    assert [e["state"] for job in others for e in job["elements"]] == ["PENDING", "PENDING"]


@pytest.mark.parametrize("word", ["complete", "released"])
def test_held_jobs_of_a_killed_submission_are_settled_by_hsd_alone(
    hsd: Hsd, fake: Fake, word: str
) -> None:
    hsd(run, *ON)
    killed_before(word)
    hold(fake)
    _, out, _ = hsd(status, "runs/pair")
    assert "hsd resubmit pair\n" in out
    assert "scontrol release" not in out
