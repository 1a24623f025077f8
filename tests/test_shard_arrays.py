"""`hsd submit predict --shards N`: an array whose elements share the rows, against a fake SLURM."""

import time
from pathlib import Path
from typing import Any

import pytest
import sweep_bench
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import PREDICT

from hsd.io.files import write_json
from hsd.io.json_reader import parse_json, read_json
from jobs.cancel import cancel
from jobs.resubmit import resubmit
from jobs.status import status
from jobs.submit import submit
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.submit.single_again import single_again

pytestmark = pytest.mark.usefixtures("predict_bench")

RUN = RunFolder(Path("runs/scores"))
SHARED = ("--shards", "2")
NAMED = ("--cluster", "here.toml", "--name", "scores")


@pytest.fixture
def submitted(hsd: Hsd) -> str:
    """An array of four elements in the queue; its id."""
    code, _, err = hsd(submit, *PREDICT, "--shards", "4", *NAMED)
    assert code == 0, err
    (one,) = submissions.read_submissions(RUN.path)
    return one.job_id


def ended(job: str, index: int, state: str) -> None:
    """Let an element of the queue end, as if it had run."""
    with store.changed() as queue:
        for _, element in store.selected(queue, f"{job}_{index}"):
            element.update(start=time.time(), raw=2000 + index)
            store.finish(element, state, "0:0" if state == "COMPLETED" else "1:0")
    if state == "COMPLETED":
        single = single_again(RUN).single
        task = single.tasks()[index]
        marker = RUN.done(task.cell, single.kind)
        write_json(marker, {"identity": single.identity(task), "at": "2030-01-01T00:00:00+00:00"})


def tasks_of(job: str) -> list[str]:
    (one,) = [one for one in submissions.read_submissions(RUN.path) if one.job_id == job]
    return list(one.cells)


def test_each_element_of_an_array_answers_its_own_part_of_the_rows(hsd: Hsd, fake: Fake) -> None:
    code, dry, _ = hsd(submit, *PREDICT, "--shards", "4", *NAMED, "--dry-run")
    assert code == 0
    assert "#SBATCH --array=0-3%4\n" in dry
    assert not Path("runs").exists()
    code, _, err = hsd(submit, *PREDICT, "--shards", "4", *NAMED)
    assert code == 0, err
    (script,) = fake.scripts()
    assert script.decode() in dry
    orders = single_again(RUN, only=["shard-2-of-4"]).single.tasks()
    assert [task.cell for task in orders] == [f"shard-{index}-of-4" for index in range(4)]
    assert [task.commands[0][-2:] for task in orders] == [("--shard", f"{i}/4") for i in range(4)]


def test_no_more_shards_run_at_once_than_the_profile_says(hsd: Hsd, fake: Fake) -> None:
    with Path("here.toml").open("a") as file:
        file.write("array_parallelism = 2\n")
    assert hsd(submit, *PREDICT, "--shards", "6", *NAMED)[0] == 0
    (job,) = fake.jobs()
    assert (len(job["elements"]), job["parallelism"]) == (6, 2)


def test_more_shards_than_an_array_may_have_are_several_arrays(hsd: Hsd, fake: Fake) -> None:
    fake.fault(limits={"MaxArraySize": 4})
    code, dry, err = hsd(submit, *PREDICT, "--shards", "6", *NAMED, "--dry-run")
    assert code == 0, err
    assert hsd(submit, *PREDICT, "--shards", "6", *NAMED)[0] == 0
    assert all(script.decode() in dry for script in fake.scripts())
    first, second = submissions.read_submissions(RUN.path)
    assert (first.stage, second.stage) == ("predict", "predict.2")
    assert [*first.cells, *second.cells] == [f"shard-{index}-of-6" for index in range(6)]
    ended(first.job_id, 0, "FAILED")
    ended(second.job_id, 2, "FAILED")
    code, out, err = hsd(resubmit, "scores", "--failed")
    assert code == 0, err
    assert "2 to do: shard-0-of-6, shard-5-of-6" in out
    assert tasks_of(str(fake.jobs()[2]["id"])) == ["shard-0-of-6", "shard-5-of-6"]
    assert hsd(cancel, "scores")[0] == 0
    assert {one["state"] for job in fake.jobs() for one in job["elements"]} == {
        "CANCELLED",
        "FAILED",
    }


def test_every_array_of_shards_waits_for_the_job_of_after(hsd: Hsd, fake: Fake) -> None:
    hsd(submit, *PREDICT, "--cluster", "here.toml", "--name", "first")
    waited = str(fake.jobs()[0]["id"])
    with Path("here.toml").open("a") as file:
        file.write("array_parallelism = 1\nmax_array_size = 3\n")
    code, _, err = hsd(submit, *PREDICT, "--shards", "6", "--after", waited, *NAMED)
    assert code == 0, err
    first, second = (job["options"]["dependency"] for job in fake.jobs()[1:])
    assert first == f"afterok:{waited}"
    assert second == f"afterok:{waited},afterany:{fake.jobs()[1]['id']}"


@pytest.mark.parametrize("kind", ["predict", "evaluate"])
def test_rows_that_a_job_would_not_find_are_refused_unless_another_job_may_make_them(
    hsd: Hsd, fake: Fake, kind: str
) -> None:
    absent = ("absent.jsonl", "--output", "scores.csv")
    asked = absent if kind == "predict" else ("--data-file", absent[0], "--output-dir", "out")
    asked = (kind, *asked, "--model-name", "base", *NAMED)
    code, _, err = hsd(submit, *asked)
    assert code != 0
    assert "data file 'absent.jsonl': no such name, and no such file" in err
    assert fake.jobs() == []
    code, out, err = hsd(submit, *PREDICT, *NAMED[:2], "--name", "first")
    assert code == 0, err
    code, out, err = hsd(submit, *asked, "--after", str(fake.jobs()[0]["id"]))
    assert code == 0, err
    assert "Not here yet, so the rows were not checked: data file 'absent.jsonl'" in out
    assert len(fake.jobs()) == 2


def test_status_counts_the_shards_that_are_done(hsd: Hsd, submitted: str) -> None:
    for index, state in enumerate(("COMPLETED", "FAILED", "COMPLETED")):
        ended(submitted, index, state)
    code, out, _ = hsd(status, "scores")
    assert code == 0
    assert out.splitlines()[0] == "scores: 2 of 4 shards done, 1 failed, 1 waiting"
    assert "hsd logs scores/shard-1-of-4/predict" in out
    _, said, _ = hsd(status, "scores", "--json")
    shown = parse_json(said, "status")
    assert (shown["shards"], shown["states"]["done"]) == (4, 2)


def test_status_says_the_error_of_several_shards_once_with_their_numbers(
    hsd: Hsd, submitted: str
) -> None:
    for index in range(4):
        ended(submitted, index, "FAILED" if index != 2 else "COMPLETED")
        log = RUN.log(1, "predict", f"{submitted}_{index}", "err")
        log.write_text("Error: data file 'posts.jsonl': it is empty.\n")
    _, out, _ = hsd(status, "scores")
    assert out.count("it is empty") == 1
    assert "shards 0-1, 3 of 4: data file 'posts.jsonl': it is empty.\n" in out
    assert out.count("hsd logs") == 1
    assert "  hsd logs scores/shard-0-of-4/predict\n" in out


def test_one_failed_shard_is_resubmitted_alone(hsd: Hsd, fake: Fake, submitted: str) -> None:
    for index, state in enumerate(("COMPLETED", "FAILED", "COMPLETED", "COMPLETED")):
        ended(submitted, index, state)
    code, out, err = hsd(resubmit, "scores", "--failed")
    assert code == 0, err
    assert "1 to do: shard-1-of-4\n3 done, skipped: shard-0-of-4, shard-2-of-4" in out
    first, again = (str(job["id"]) for job in fake.jobs())
    assert (tasks_of(first)[1], tasks_of(again)) == ("shard-1-of-4", ["shard-1-of-4"])
    assert fake.jobs()[1]["elements"][0]["index"] == 0
    code, out, _ = hsd(resubmit, "scores", "--failed")  # it is in the queue now
    assert code == 0
    assert len(fake.jobs()) == 2


def test_without_failed_cancelled_shards_are_submitted_too_and_no_running_one(
    hsd: Hsd, fake: Fake, submitted: str
) -> None:
    for index, state in enumerate(("COMPLETED", "CANCELLED", "FAILED")):
        ended(submitted, index, state)
    code, out, err = hsd(resubmit, "scores", "--time", "30")
    assert code == 0, err
    assert tasks_of(str(fake.jobs()[1]["id"])) == ["shard-1-of-4", "shard-2-of-4"]
    assert "1 in the queue: shard-3-of-4" in out
    assert b"#SBATCH --time=30\n" in fake.scripts()[1]


def test_cancel_ends_all_elements_and_says_how_to_go_on(
    hsd: Hsd, fake: Fake, submitted: str
) -> None:
    code, out, err = hsd(cancel, "scores")
    assert code == 0, err
    assert {element["state"] for element in fake.jobs()[0]["elements"]} == {"CANCELLED"}
    assert f"cancelled shard-3-of-4/predict ({submitted}_3, was waiting)" in out
    assert out.rstrip().endswith("To continue: hsd resubmit scores")
    hsd(resubmit, "scores")
    assert len(fake.jobs()[1]["elements"]) == 4


def test_one_shard_is_cancelled_by_its_name(hsd: Hsd, fake: Fake, submitted: str) -> None:
    assert hsd(cancel, "scores/shard-1-of-4")[0] == 0
    states = [element["state"] for element in fake.jobs()[0]["elements"]]
    assert (int(submitted), states.count("CANCELLED")) == (fake.jobs()[0]["id"], 1)


@pytest.mark.parametrize("kind", ["gate", "merge"])
def test_any_single_job_can_be_cancelled(kind: str, hsd: Hsd, fake: Fake) -> None:
    words = {
        "gate": ("gate", "runs/eval", "--reference", "runs/base"),
        "merge": ("merge", "--adapter-path", "x", "--output-dir", "y"),
    }
    sweep_bench.adapter_folder("x", "base")
    assert hsd(submit, *words[kind], *NAMED)[0] == 0
    code, out, err = hsd(cancel, "scores")
    assert code == 0, err
    assert f"cancelled {kind}/{kind}" in out
    assert fake.jobs()[0]["elements"][0]["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--config", "demo", "--shards", "2"), "--shards: only evaluate and predict"),
        ((*PREDICT, "--shards", "1"), "--shards"),
        ((*PREDICT, "--shards", "2", "--shard", "0/2"), "--shard: each job of --shards N gets its"),
        ((*PREDICT, "--shard", "array"), "--shard array: say how many jobs there are"),
        (("predict", "-", *PREDICT[2:], "--shards", "2"), "-: a job has no standard input"),
        (
            (
                "evaluate",
                "--engine=openai",
                "--base-url=http://x/v1",
                "--model-name=m",
                *SHARED,
            ),
            "--shards: one server answers all rows",
        ),
        (
            (
                "evaluate",
                "--set=engine=openai",
                "--set=server.base_url=http://x/v1",
                "--model-name=m",
                *SHARED,
            ),
            "--shards: one server answers all rows",
        ),
    ],
)
def test_what_no_element_could_do_is_refused_before_it_is_a_job(
    arguments: tuple[str, ...], said: str, hsd: Hsd, fake: Fake
) -> None:
    code, _, err = hsd(submit, *arguments, *NAMED)
    assert code == 2
    assert said in err
    assert not fake.jobs()


@pytest.mark.parametrize("more", [("--set", "seed=7"), ("--new-code",)])
def test_a_changed_command_is_another_submission(more: Any, hsd: Hsd, submitted: str) -> None:
    code, _, err = hsd(resubmit, "scores", *more)
    assert code == 2
    assert "are for sweeps; submit a changed command with another --name" in err
    assert submitted


def test_a_submission_of_an_older_hsd_is_submitted_again_whole(hsd: Hsd, fake: Fake) -> None:
    sweep_bench.adapter_folder("x", "base")
    hsd(submit, "merge", "--adapter-path", "x", "--output-dir", "y", *NAMED)
    facts = read_json(RUN.run_json)
    old = {name: facts[name] for name in facts if name not in ("seen", "shards", "time_min")}
    write_json(RUN.run_json, old)
    hsd(cancel, "scores")
    code, _, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert tasks_of(str(fake.jobs()[1]["id"])) == ["merge"]
    assert single_again(RUN).single.tasks()[0].commands == (
        ("merge", "--adapter-path", "x", "--output-dir", "y"),
    )
