"""`hsd resubmit` of one command: what it waits for, its time limit, and what a container sees."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sweeps
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import PREDICT

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from jobs.cancel import cancel
from jobs.resubmit import resubmit
from jobs.submit import config_of_older, submit
from slurm.node.events import record
from slurm.run.run_folder import RunFolder
from slurm.submit.single_again import single_again
from slurm.submit.single_job import Single

pytestmark = pytest.mark.usefixtures("predict_bench")

RUN = RunFolder(Path("runs/scores"))
NAMED = ("--cluster", "here.toml", "--name")


def ended(job: str, state: str) -> None:
    """Let all elements of a job end, as if they had run."""
    with store.changed() as queue:
        for _, element in store.selected(queue, job):
            store.finish(element, state, "0:0" if state == "COMPLETED" else "1:0")


def without(folder: RunFolder, *names: str) -> None:
    """Make run.json one of an older hsd, which did not write these facts down."""
    facts = read_json(folder.run_json)
    write_json(folder.run_json, {key: facts[key] for key in facts if key not in names})


@pytest.fixture
def waited(hsd: Hsd, fake: Fake) -> str:
    """The job that a cancelled command was to wait for; its id."""
    assert hsd(submit, *PREDICT, *NAMED, "first")[0] == 0
    job = str(fake.jobs()[0]["id"])
    code, _, err = hsd(submit, *PREDICT, "--after", job, *NAMED, "scores")
    assert code == 0, err
    assert hsd(cancel, "scores")[0] == 0
    return job


def dependency(fake: Fake) -> Any:
    return fake.jobs()[-1]["options"].get("dependency")


def test_what_is_submitted_again_waits_for_the_job_of_after(
    hsd: Hsd, fake: Fake, waited: str
) -> None:
    code, dry, _ = hsd(resubmit, "scores", "--dry-run")
    assert f"--dependency=afterok:{waited}" in dry
    code, _, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert len(fake.jobs()) == 3
    assert dependency(fake) == f"afterok:{waited}"


def test_a_job_of_after_that_has_ended_well_is_not_waited_for_again(
    hsd: Hsd, fake: Fake, waited: str
) -> None:
    ended(waited, "COMPLETED")
    code, _, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert len(fake.jobs()) == 3
    assert dependency(fake) is None


def test_a_job_of_after_that_failed_is_refused_with_what_would_work(
    hsd: Hsd, fake: Fake, waited: str
) -> None:
    ended(waited, "FAILED")
    code, _, err = hsd(resubmit, "scores")
    assert code == 3
    assert f"--after {waited}: it is FAILED, so this would never start." in err
    assert "Submit the command with another --name and --after." in err
    assert len(fake.jobs()) == 2


def test_what_has_started_once_waits_for_nothing_although_slurm_has_forgotten_the_job(
    hsd: Hsd, fake: Fake, waited: str
) -> None:
    record(RUN.attempts("predict", "predict"), "started", job=f"{fake.jobs()[1]['id']}_0")
    with store.changed() as queue:
        (forgotten,) = (job for job in queue["jobs"] if str(job["id"]) == waited)
        forgotten["id"] = 7
    code, _, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert dependency(fake) is None


def test_a_run_of_an_older_hsd_keeps_the_time_limit_of_its_newest_job(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *PREDICT, "--time", "48:00:00", *NAMED, "scores")[0] == 0
    without(RUN, "time_min", "seen", "after", "shards")
    hsd(cancel, "scores")
    code, _, err = hsd(resubmit, "scores")
    assert code == 0, err
    assert b"#SBATCH --time=2880\n" in fake.scripts()[1]
    hsd(cancel, "scores")
    assert hsd(resubmit, "scores", "--time", "30")[0] == 0
    assert b"#SBATCH --time=30\n" in fake.scripts()[2]


def in_container(tmp_path: Path, kind: str, arguments: Iterable[str]) -> RunFolder:
    """Return the run of a command in a container, as an older hsd wrote it down."""
    profile = sweeps.cluster(tmp_path / "runs", container={"runtime": "apptainer", "image": "/i"})
    code = sweeps.code(tmp_path / "source")
    single = Single(kind, tuple(arguments), "one", profile, code, Path.cwd())
    single.write()
    without(single.folder, "seen")
    return single.folder


def test_a_container_of_an_older_run_sees_the_rows_that_arguments_name(tmp_path: Path) -> None:
    rows = tmp_path / "data" / "rows.jsonl"
    write_json(rows, {})
    folder = in_container(tmp_path, "evaluate", ("--model-name", "base", f"--data-file={rows}"))
    (order,) = single_again(folder).prepared().orders["evaluate"]
    assert f"{rows}:{rows}:ro" in order.commands[0]


def test_a_container_of_an_older_training_sees_what_its_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "data" / "rows.jsonl"
    write_json(rows, {})
    write_json(Path("a.json"), {"data": {"train_file": str(rows)}})
    folder = in_container(tmp_path, "train", ("--config", "a.json", "--output-dir", "out"))
    monkeypatch.chdir(tmp_path)
    again = single_again(folder, config=config_of_older(folder.facts()))
    assert rows in again.single.seen


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = in_container(tmp_path, "train", ("--config", "default"))
    facts = folder.facts() | {"cwd": str(tmp_path / "gone")}
    with pytest.raises(PreflightError, match="gone: no such folder; the command runs there"):
        config_of_older(facts)
