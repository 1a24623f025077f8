"""`hsd run`, `resubmit` and `submit` as commands, against a fake SLURM that starts nothing."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
from fake_cluster import Fake
from hsd_program import Hsd
from slurm_programs import write_programs
from sweep_bench import ON, RUN, profile, sweep

from hsd.errors import InUseError
from hsd.io.json_reader import read_json
from hsd.io.lease import hold_lease
from jobs.cancel import cancel
from jobs.cost import cost
from jobs.resubmit import resubmit
from jobs.run import run
from jobs.status import status
from jobs.submit import submit
from jobs.terminal import submission_output
from jobs.train import train
from slurm.check.preflight import preflight
from slurm.run import submissions
from slurm.submit.work import find_work
from slurm.sweep import cells as cells_of_a_sweep
from slurm.sweep.cells import Cell

pytestmark = pytest.mark.usefixtures("sweep_bench")


def one_line(err: str) -> str:
    """Return the one line of an error."""
    (line,) = [line for line in err.splitlines() if line]
    assert line.startswith("Error: ")
    return line


def test_what_a_dry_run_prints_is_what_sbatch_gets(hsd: Hsd, fake: Fake) -> None:
    code, dry, _ = hsd(run, *ON, "--dry-run")
    assert code == 0
    assert not RUN.exists()
    assert not fake.jobs()

    code, out, _ = hsd(run, *ON)

    assert code == 0
    scripts = [script.decode() for script in fake.scripts()]
    assert len(scripts) == 4
    assert all(f"\n{script}" in dry for script in scripts)
    assert re.findall(r"^\$ sbatch --hold (.*)$", dry, re.M)[1].startswith(
        "--dependency=aftercorr:<train> --kill-on-invalid-dep=yes"
    )
    assert out.rstrip().endswith("Next: hsd status pair --watch")
    assert "3 to do: a, b, baseline" in out
    assert "At most 0.0 GPU-hours, without requeues." in out


def notes(out: str) -> list[str]:
    """Return what a dry run says is missing, after the scripts."""
    _, _, said = out.partition("hsd would refuse this here, because of:\n")
    return said.splitlines()


def test_a_dry_run_where_the_rows_are_not_prints_the_same_scripts_and_what_is_missing(
    hsd: Hsd,
) -> None:
    _, whole, _ = hsd(run, *ON, "--dry-run")
    Path("test.jsonl").unlink()

    code, dry, err = hsd(run, *ON, "--dry-run")

    assert (code, err, notes(whole)) == (0, "", [])
    assert dry.startswith(whole.rstrip("\n"))
    (said,) = notes(dry)
    assert said.startswith("- data file 'test.jsonl': no such name")
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "no such file" in one_line(err)
    assert not RUN.exists()


def test_a_dry_run_names_the_base_the_image_and_the_rows_that_are_not_here(hsd: Hsd) -> None:
    sweep('[model]\nname = "owner/big"\n[data]\ntrain_file = "gone.jsonl"')
    profile('[container]\nruntime = "apptainer"\nimage = "/images/gone.sif"')
    code, dry, _ = hsd(run, *ON, "--dry-run")
    assert code == 0
    assert dry.count("$ sbatch --hold") == 4
    said = [line.split()[1] for line in notes(dry)]
    assert said == ["data", "container:", "base"]
    assert all(line.startswith("- ") and line.endswith(".") for line in notes(dry))


def test_a_dry_run_on_a_machine_without_slurm_says_so_and_shows_the_scripts(
    hsd: Hsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, dry, _ = hsd(run, *ON, "--dry-run")
    assert code == 0
    assert dry.count("$ sbatch --hold") == 4
    assert "- sbatch: not found on this machine" in dry


def test_one_job_for_a_profile_without_slurm_is_refused_in_a_line(hsd: Hsd) -> None:
    arguments = ("--cluster", "local", "--dry-run", "train", "--config", "demo")
    code, _, err = hsd(submit, *arguments)
    assert code == 3
    assert one_line(err).startswith("Error: this profile has no SLURM; run `hsd train ...` here")


def test_a_dry_run_for_no_cluster_is_for_the_reference_and_a_run_is_refused(hsd: Hsd) -> None:
    code, dry, _ = hsd(run, "pair.toml", "--dry-run")
    assert code == 0
    assert "#SBATCH --gpus-per-node=a100:4" in dry
    assert dry.startswith("No cluster was chosen, so this is for the reference cluster a100x4.")
    assert notes(dry)[0] == "- no cluster was chosen; give --cluster NAME."
    code, _, err = hsd(run, "pair.toml")
    assert code == 3
    assert one_line(err).startswith("Error: which cluster?")


def refusing_sbatch(said: str) -> str:
    """Return a folder for PATH in which sbatch refuses everything with these words."""
    folder = Path("elsewhere").absolute()
    write_programs(folder, Path("ran").absolute(), sbatch=f"echo '{said}' >&2; exit 1")
    return str(folder)


def test_a_dry_run_for_no_cluster_does_not_ask_slurm_about_the_reference(
    hsd: Hsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", refusing_sbatch("sbatch: error: invalid partition specified"))
    assert [note for note in notes(hsd(run, *ON, "--dry-run")[1]) if "sbatch" in note]
    _, dry, _ = hsd(run, "pair.toml", "--dry-run")
    assert not [note for note in notes(dry) if "sbatch" in note]


def test_what_is_wrong_with_several_stages_alike_is_one_line_of_a_dry_run(
    hsd: Hsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "sbatch: error: _establish_config_source: failed to fetch config"
    monkeypatch.setenv("PATH", refusing_sbatch(said))
    _, dry, _ = hsd(run, *ON, "--dry-run")
    (line,) = [note for note in notes(dry) if "SLURM is not set up on this machine" in note]
    assert {"train", "evaluate", "baseline", "compare"} <= set(re.findall(r"\w+", line))
    assert "run this on a login node of the cluster" in line
    assert "establish" not in dry


def test_a_dry_run_of_one_job_for_no_cluster_is_for_the_reference(hsd: Hsd) -> None:
    code, dry, _ = hsd(submit, "train", "--config", "a.json", "--output-dir", "out", "--dry-run")
    assert code == 0
    assert dry.startswith("No cluster was chosen, so this is for the reference cluster a100x4.")
    assert "#SBATCH --gpus-per-node=a100:4" in dry
    code, _, err = hsd(submit, "train", "--config", "a.json", "--output-dir", "out")
    assert code == 3
    assert one_line(err).startswith("Error: which cluster?")


@pytest.mark.parametrize("only", ["", " , "])
def test_only_no_cell_is_refused_and_does_not_run_all(hsd: Hsd, fake: Fake, only: str) -> None:
    code, _, err = hsd(run, *ON, "--only", only)
    assert code == 2
    assert "--only: no cell is named" in err
    assert not fake.jobs()


def test_the_untouched_base_is_no_cell_to_run_alone(hsd: Hsd, fake: Fake) -> None:
    code, _, err = hsd(run, *ON, "--only", "baseline")
    assert code == 3
    assert one_line(err) == "Error: --only baseline: no such cell. Known: a, b."
    assert not fake.jobs()


def test_an_unknown_preset_sweep_and_cluster_end_with_one_code(hsd: Hsd) -> None:
    for command, said in (
        ((train, "--config", "nope"), "unknown preset 'nope'."),
        ((run, "nope", *ON[1:]), "unknown sweep 'nope'."),
        ((run, "pair.toml", "--cluster", "nope"), "unknown profile 'nope'."),
    ):
        code, _, err = hsd(*command)
        assert code == 2
        assert one_line(err).startswith(f"Error: {said} Known: ")
        assert err.endswith("A file's path works.\n")


def test_the_cells_of_a_sweep_are_made_once(hsd: Hsd, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    once = cells_of_a_sweep._cell

    def counted(place: str, preset: str, *rest: Any) -> Cell:
        made.append(preset)
        return once(place, preset, *rest)

    monkeypatch.setattr(cells_of_a_sweep, "_cell", counted)
    assert hsd(run, *ON, "--dry-run")[0] == 0
    assert len(made) == 2


def test_a_dry_run_of_this_machine_says_what_is_missing_too(hsd: Hsd) -> None:
    Path("test.jsonl").unlink()
    code, dry, _ = hsd(run, "pair.toml", "--local", "--dry-run")
    assert code == 0
    assert "# train" in dry
    assert notes(dry)[0].startswith("- data file")


def test_the_same_command_again_leaves_the_queue_alone(hsd: Hsd, fake: Fake) -> None:
    hsd(run, *ON)
    code, out, _ = hsd(run, *ON)
    assert code == 0
    assert "3 in the queue: a, b, baseline" in out
    assert "Wait for what is in the queue: hsd status pair" in out
    assert len(fake.jobs()) == 4


def test_a_lost_answer_of_sbatch_is_no_second_job(hsd: Hsd, fake: Fake) -> None:
    fake.fault(sbatch={"timeout_but_accepted_at": 2})
    code, _, _ = hsd(run, *ON)
    assert code == 0
    assert len(fake.jobs()) == 4
    found = [one.job_id for one in submissions.read_submissions(RUN)]
    assert found == [str(job["id"]) for job in fake.jobs()]


def test_when_the_third_sbatch_fails_nothing_is_left_and_the_same_command_works(
    hsd: Hsd, fake: Fake
) -> None:
    fake.fault(sbatch={"fail_at": 3, "message": "QOSMaxSubmitJobPerUserLimit"})
    code, _, err = hsd(run, *ON)
    assert code == 4
    assert one_line(err) == (
        "Error: baseline: sbatch: QOSMaxSubmitJobPerUserLimit. The 2 jobs submitted before it "
        "were taken back."
    )
    states = {element["state"] for job in fake.jobs() for element in job["elements"]}
    assert states == {"CANCELLED"}
    assert not submissions.read_submissions(RUN)
    cancelled = [words[-1] for words in fake.calls("scancel")]
    assert cancelled == [str(job["id"]) for job in reversed(fake.jobs())]

    sweep('set = { "training.epochs" = 7 }')  # and it may be another by now
    code, _, _ = hsd(run, *ON)
    assert code == 0
    assert read_json(RUN / "cells/a/config.json")["training"]["epochs"] == 7


SITE = """\
#!/bin/sh
case "$*" in *test-only*) exec {sbatch} "$@";; esac
{sbatch} "$@" || exit $?
echo "Remaining allocation of project 12:"
echo "  4218 GPU hours"
{more}
"""
"""What a site puts around sbatch; numbers in it are no job's."""


def site(fake: Fake, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """Put a site's own sbatch before the fake one."""
    folder = Path("site").absolute()
    folder.mkdir(exist_ok=True)
    (folder / "sbatch").write_text(SITE.format(sbatch=fake.bin / "sbatch", more=more))
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def live(fake: Fake) -> list[str]:
    """Return the names of the jobs that are in the queue."""
    return [j["name"] for j in fake.jobs() if any(e["state"] == "PENDING" for e in j["elements"])]


def test_what_a_site_prints_around_an_id_is_no_id(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(fake, monkeypatch)
    code, out, err = hsd(run, *ON)
    assert code == 0, err
    known = {one.job_id: one for one in submissions.read_submissions(RUN)}
    assert list(known) == [str(job["id"]) for job in fake.jobs()]
    assert [job["options"]["comment"] for job in fake.jobs()] == [
        one.comment for one in known.values()
    ]
    assert "4218" not in out
    code, out, _ = hsd(cancel, "pair")
    assert (code, live(fake)) == (0, [])


def test_a_job_that_was_accepted_by_a_failing_sbatch_is_taken_back_too(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(fake, monkeypatch, 'case "$*" in *evaluate*) echo quota >&2; exit 1;; esac')
    code, _, err = hsd(run, *ON)
    assert code == 4
    assert one_line(err) == (
        "Error: evaluate: sbatch: quota. The job submitted before it was taken back."
    )
    assert len(fake.jobs()) == 2
    assert live(fake) == []
    assert submissions.read_submissions(RUN) == []


def test_a_job_that_scancel_leaves_is_not_said_to_be_taken_back(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slurm.cluster.client.time.sleep", lambda _: None)
    fake.fault(sbatch={"fail_at": 2, "message": "no"})
    unknown = "echo 'scancel: error: Invalid job id specified' >&2; exit 1"
    (fake.bin / "scancel").write_text(f"#!/bin/sh\n{unknown}\n")
    code, _, err = hsd(run, *ON)
    assert code == 4
    job = str(fake.jobs()[0]["id"])
    assert one_line(err).endswith(f"Held jobs are left; remove them: scancel {job}")
    assert [one.job_id for one in submissions.read_submissions(RUN)] == [job]


def test_another_s_job_that_has_a_run_s_id_is_neither_cancelled_nor_paid_for(
    hsd: Hsd, fake: Fake
) -> None:
    hsd(run, *ON)
    Path("o.sh").write_text("#!/bin/sh\n#SBATCH --job-name=not-hsd\n#SBATCH --array=0-1\n")
    said = subprocess.run(["sbatch", "--parsable", "o.sh"], capture_output=True, text=True)
    job, lines = said.stdout.strip(), RUN / "submissions.jsonl"
    text = re.sub(r'"job_id": "\d+"', f'"job_id": "{job}"', lines.read_text(), count=1)
    lines.write_text(text)  # as where ids begin anew, or two clusters share a home
    code, out, _ = hsd(cancel, "pair")
    assert code == 0
    assert live(fake) == ["hsd-pair-train", "not-hsd"]
    assert f"({job}" not in out


OLD = """\
#!/bin/sh
{sacct} "$@"
for i in 0 1; do
  for name in old hsd-pair-train; do
    echo "{job}_$i|COMPLETED|0:0|0:0|None|2019-03-01T10:00:00|2019-03-01T10:01:00|\
2019-03-03T10:01:00|172800|billing=4,cpu=4,gres/gpu=4,mem=8G,node=1|old1|root|$name|"
  done
done
"""


def test_jobs_of_years_ago_with_the_same_id_cost_a_run_nothing(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsd(run, *ON)
    folder = Path("site").absolute()
    folder.mkdir()
    words = {"sacct": fake.bin / "sacct", "job": fake.jobs()[0]["id"]}
    (folder / "sacct").write_text(OLD.format(**words))
    (folder / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    code, out, _ = hsd(cost, "pair", "--json")
    assert code == 0
    assert json.loads(out)["gpu_hours"] == 0


def test_another_cluster_that_the_shell_asks_for_is_refused(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CLUSTERS", "beta")
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "SLURM_CLUSTERS=beta, but the profile names no cluster" in one_line(err)
    assert not fake.jobs()
    assert "- SLURM_CLUSTERS: SLURM_CLUSTERS=beta" in hsd(run, *ON, "--dry-run")[1]


def test_a_run_on_another_cluster_is_looked_for_and_cancelled_there(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CLUSTERS", "beta")
    profile('[slurm.extra]\nclusters = "beta"')
    code, _, err = hsd(run, *ON)
    assert code == 0, err
    assert all(b"#SBATCH --clusters=beta\n" in script for script in fake.scripts())
    assert {one.cluster for one in submissions.read_submissions(RUN)} == {"beta"}
    monkeypatch.delenv("SLURM_CLUSTERS")
    assert "3 in the queue" in hsd(run, *ON)[1]
    assert hsd(cancel, "pair")[0] == 0
    assert live(fake) == []


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_what_the_shell_asks_of_sbatch_and_does_not_get_is_said(
    hsd: Hsd, as_json: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "theirs")
    monkeypatch.setenv("SBATCH_DEBUG", "1")
    profile('[env]\npass = ["SBATCH_DEBUG"]')
    code, out, err = hsd(run, *ON, *as_json)
    assert code == 0
    said = " ".join((out + err).split())
    assert "SBATCH_ACCOUNT=theirs: set here and not passed to sbatch" in said
    assert "SBATCH_DEBUG=" not in said
    if as_json:
        assert len(json.loads(out)) == 4


def test_json_says_what_was_submitted_and_nothing_else(hsd: Hsd) -> None:
    code, out, _ = hsd(run, *ON, "--json")
    assert code == 0
    assert [one["stage"] for one in json.loads(out)] == ["train", "evaluate", "baseline", "compare"]
    assert json.loads(hsd(run, *ON, "--json")[1]) == []


def test_only_some_cells_and_only_so_many_at_once(hsd: Hsd, fake: Fake) -> None:
    hsd(run, *ON, "--only", "b", "--max-parallel", "1", "--set", "training.epochs=9")
    assert b"--array=0-0%1" in fake.scripts()[0]
    assert read_json(RUN / "cells/b/config.json")["training"]["epochs"] == 9
    assert not (RUN / "cells/a").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing",), 2, "nothing"),
        (("pair.toml", "--cluster", "nowhere"), 2, "nowhere"),
        ((*ON, "--only", "c"), 3, "--only c: no such cell"),
        ((*ON, "--set", "lora.rnak=8"), 3, "rnak"),
        ((*ON, "--set", "lora.rank"), 3, "lora.rank"),
        (("pair.toml",), 3, "which cluster?"),
    ],
)
def test_a_wrong_request_is_one_line_and_nothing_is_written(
    hsd: Hsd, fake: Fake, arguments: tuple[str, ...], code: int, said: str
) -> None:
    before = sorted(Path.cwd().rglob("*"))
    ended, _, err = hsd(run, *arguments)
    assert ended == code, err
    assert said in one_line(err)
    assert sorted(Path.cwd().rglob("*")) == before
    assert not fake.jobs()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda: profile("partitoin = 'gpu'"), "Did you mean 'partition'?"),
        (lambda: sweep('set = { "lora.rnak" = 8 }'), "rnak"),
        (lambda: _preset("no_such"), "no_such"),
        (lambda: Path("runs").write_text("a file"), "runs is a file"),
        (lambda: Path("test.jsonl").unlink(), "test.jsonl"),
        (lambda: Path("base/config.json").unlink(), "config.json"),
        (lambda: Path("a.json").write_text("{"), "a.json"),
        (lambda: _spoil_label("test.jsonl"), "evaluation rows: 1 of 4 rows cannot be used"),
        (lambda: _spoil_label("train.jsonl"), "training rows: 1 of "),
        (lambda: _train_on_validation(), "has the same post as training row"),
    ],
)
def test_what_is_wrong_in_files_is_one_line_and_nothing_is_written(
    hsd: Hsd, fake: Fake, spoil: Callable[[], object], said: str
) -> None:
    spoil()
    before = sorted(Path.cwd().rglob("*"))
    code, _, err = hsd(run, *ON)
    assert code == 3, err
    assert said in one_line(err)
    assert sorted(Path.cwd().rglob("*")) == before
    assert not fake.jobs()


def _spoil_label(file: str) -> None:
    """Write a label that only a job would have found, hours later."""
    rows = Path(file).read_text().splitlines()
    Path(file).write_text("\n".join([*rows[:-1], json.dumps({"text": "x", "label": "maybe"})]))


def _train_on_validation() -> None:
    for name in ("a", "b"):
        tree = json.loads(Path(f"{name}.json").read_text())
        tree["data"]["validation_file"] = tree["data"]["train_file"]
        Path(f"{name}.json").write_text(json.dumps(tree))


def _preset(name: str) -> None:
    file = Path("pair.toml")
    file.write_text(file.read_text().replace("b.json", name))


def test_a_machine_without_slurm_is_told_what_would_work(
    hsd: Hsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "sbatch: not found on this machine (run this on a login node" in one_line(err)
    assert not RUN.exists()
    assert hsd(run, *ON, "--dry-run")[0] == 0


def test_a_cell_that_changed_after_it_was_submitted_is_refused(hsd: Hsd, fake: Fake) -> None:
    hsd(run, *ON)
    code, _, err = hsd(run, *ON, "--set", "training.epochs=9")
    assert code == 3
    said = one_line(err)
    assert "cell 'a' was submitted with other content: config.training.epochs: 3.0 -> 9.0" in said
    assert "(1 more cell changed too)" in said
    assert len(fake.jobs()) == 4


def test_resubmitting_what_is_in_the_queue_does_nothing(hsd: Hsd, fake: Fake) -> None:
    hsd(run, *ON)
    code, out, _ = hsd(resubmit, "pair", "--set", "training.epochs=9")
    assert code == 0
    assert "3 in the queue" in out
    assert len(fake.jobs()) == 4
    assert read_json(RUN / "cells/a/config.json")["training"]["epochs"] == 3


def test_what_was_cancelled_can_be_submitted_again_with_another_time_limit(
    hsd: Hsd, fake: Fake
) -> None:
    hsd(run, *ON)
    hsd(cancel, "pair")
    code, out, _ = hsd(resubmit, "last", "--only", "a", "--time", "2:00:00")
    assert code == 0, out
    assert "1 to do: a" in out
    assert b"#SBATCH --time=120\n" in fake.scripts()[4]
    assert {one.number for one in submissions.read_submissions(RUN)} == {1, 2}


ONE = ("train", "--cluster", "here.toml", "--name", "one", "--config", "a.json")


def test_one_command_is_one_job(hsd: Hsd, fake: Fake) -> None:
    code, dry, _ = hsd(submit, *ONE, "--output-dir", "out", "--dry-run")
    assert code == 0
    assert not Path("runs").exists()
    code, out, err = hsd(submit, *ONE, "--output-dir", "out", "--time", "30")
    assert code == 0, err
    assert out.rstrip().endswith("Next: hsd status one --watch")
    (script,) = fake.scripts()
    assert script.decode().replace("time=30\n", "time=60\n") in dry
    assert read_json(Path("runs/one/run.json"))["arguments"] == [
        "--config", "a.json", "--output-dir", "out"
    ]  # fmt: skip


def test_a_job_may_wait_for_another_and_not_for_none(hsd: Hsd, fake: Fake) -> None:
    code, _, err = hsd(submit, *ONE, "--after", "12_3")
    assert code == 3
    assert "--after 12_3: SLURM knows no such job" in one_line(err)
    assert not Path("runs").exists()
    hsd(submit, *ONE)
    first = str(fake.jobs()[0]["id"])
    then = ("merge", "--cluster", "here.toml", "--name", "two", "--after", first)
    code, _, err = hsd(submit, *then, "--adapter_path", "out", "--output_dir", "merged")
    assert code == 0, err
    assert f"--dependency=afterok:{first}" in fake.arguments()[1]


def test_a_name_is_taken_once_a_job_has_it_and_not_before(hsd: Hsd, fake: Fake) -> None:
    fake.fault(sbatch={"fail_at": 1, "message": "no"})
    assert hsd(submit, *ONE)[0] == 4
    assert hsd(submit, *ONE)[0] == 0
    code, _, err = hsd(submit, *ONE)
    assert code == 3
    assert one_line(err).endswith("a run of this name is there; choose another --name.")


def without_lines(folder: Path, *words: str) -> None:
    """Make a submission one that was killed before it wrote these lines."""
    lines = (folder / "submissions.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not any(f'"{word}": 1' in line for word in words)]
    (folder / "submissions.jsonl").write_text("".join(kept))


def test_one_job_that_was_killed_before_its_release_is_released_by_the_same_command(
    hsd: Hsd, fake: Fake
) -> None:
    assert hsd(submit, *ONE)[0] == 0
    without_lines(Path("runs/one"), "released")
    code, out, err = hsd(submit, *(word if word != "one" else "again" for word in ONE))
    assert code == 0
    assert "submission 1 was killed half way: released its jobs" in err
    assert out == "This command is in the queue: hsd status one --watch\n"
    assert len(fake.jobs()) == 1
    assert submissions.unsettled(Path("runs/one")) == []


def test_an_array_of_shards_that_was_killed_before_its_release_is_not_submitted_twice(
    hsd: Hsd, fake: Fake
) -> None:
    rows = ("posts.jsonl", "--model-name", "base", "--output", "scores.csv")
    small_runs.jsonl(Path("posts.jsonl"), small_runs.posts(4))
    shared = ("predict", *rows, "--shards", "2", "--cluster", "here.toml", "--name")
    assert hsd(submit, *shared, "one")[0] == 0
    without_lines(Path("runs/one"), "released")
    code, out, err = hsd(submit, *shared, "again")
    assert code == 0
    assert "submission 1 was killed half way: released its jobs" in err
    assert out == "This command is in the queue: hsd status one --watch\n"
    assert len(fake.jobs()) == 1


def test_a_damaged_run_beside_it_stops_no_submission(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *ONE)[0] == 0
    without_lines(Path("runs/one"), "released")
    Path("runs/one/run.json").unlink()
    code, _, err = hsd(submit, *(word if word != "one" else "again" for word in ONE))
    assert code == 0, err
    assert len(fake.jobs()) == 2


def test_one_job_that_was_killed_earlier_is_taken_back_and_submitted_anew(
    hsd: Hsd, fake: Fake
) -> None:
    assert hsd(submit, *ONE)[0] == 0
    without_lines(Path("runs/one"), "released", "complete")
    code, _, err = hsd(submit, *(word if word != "one" else "again" for word in ONE))
    assert code == 0
    assert "submission 1 was killed half way: took its jobs back." in err
    assert [job["elements"][0]["state"] for job in fake.jobs()] == ["CANCELLED", "PENDING"]


def test_another_command_leaves_one_that_was_killed_alone(hsd: Hsd, fake: Fake) -> None:
    assert hsd(submit, *ONE)[0] == 0
    without_lines(Path("runs/one"), "released")
    other = (word if word != "one" else "other" for word in ONE)
    assert hsd(submit, *other, "--output-dir", "elsewhere")[0] == 0
    assert len(fake.jobs()) == 2
    assert len(submissions.unsettled(Path("runs/one"))) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("train", "--set", "lora.rnak=8"), 2, "rnak"),
        (("train", "--no_such_option"), 2, "--no-such-option"),
        (("merge", "--adapter_path", "x"), 2, "--output-dir"),
        (("train", "--name", "../up"), 3, "--name ../up: expected letters, digits"),
        (("train", "--time", "2"), 3, "--time: 2 minutes are over before signal_seconds"),
        (("train", "--time", "soon"), 2, "expected minutes, HH:MM:SS or D-HH:MM:SS"),
    ],
)
def test_a_command_that_cannot_work_is_no_job(
    hsd: Hsd, fake: Fake, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended, _, err = hsd(submit, *arguments, "--cluster", "here.toml")
    assert ended == code, err
    assert said in err
    assert not Path("runs").exists()
    assert not fake.jobs()


# Two at once


def test_of_two_starts_of_one_sweep_the_second_says_who_is_at_it_and_submits_nothing(
    hsd: Hsd, fake: Fake
) -> None:
    with hold_lease(RUN, "a submission"):
        code, _, err = hsd(run, *ON)
        assert code == 3
        assert f"{RUN.absolute()} is in use: a submission (process " in one_line(err)
        code, _, _ = hsd(run, *ON, "--dry-run")
        assert code == 0, "which writes nothing"
    assert not fake.jobs()
    assert hsd(run, *ON)[0] == 0
    assert not list(RUN.glob(".lease*"))
    assert {one.number for one in submissions.read_submissions(RUN)} == {1}


def test_a_start_that_another_one_overtook_submits_nothing_twice(
    hsd: Hsd, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(submission_output, "preflight", preflight)
        assert hsd(run, *ON)[0] == 0
        return preflight(*arguments)

    monkeypatch.setattr(submission_output, "preflight", overtaken)
    code, _, err = hsd(run, *ON)
    assert code == 3
    assert "another process has submitted jobs of this run meanwhile" in one_line(err)
    assert len(fake.jobs()) == 4
    code, out, _ = hsd(run, *ON)
    assert code == 0
    assert "3 in the queue" in out


def test_what_was_left_while_another_start_submitted_is_not_submitted_again(
    hsd: Hsd, fake: Fake
) -> None:
    assert hsd(run, *ON)[0] == 0
    refused = 0
    for lines in (0, 1, 4):  # of the first start's five: nothing, some or all but the release
        whole = (RUN / "submissions.jsonl").read_text().splitlines(keepends=True)
        (RUN / "submissions.jsonl").write_text("".join(whole[:lines]))
        found = find_work("pair.toml", "here.toml", local=False)
        (RUN / "submissions.jsonl").write_text("".join(whole))
        if found.left.plan.stages:
            refused += 1
            with pytest.raises(InUseError, match="has submitted jobs of this run meanwhile"):
                submission_output.proceed(found, dry_run=False, as_json=True)
    assert refused >= 2
    assert len(fake.jobs()) == 4


def test_a_single_job_of_a_name_that_is_being_submitted_is_refused(hsd: Hsd, fake: Fake) -> None:
    config = ("--cluster", "here.toml", "--name", "one", "--config", "a.json")
    with hold_lease(Path("runs/one"), "a submission"):
        code, _, err = hsd(submit, "train", *config)
    assert code == 3
    assert "is in use: a submission" in one_line(err)
    assert not fake.jobs()


def test_who_works_in_a_run_keeps_nobody_from_looking_at_it(hsd: Hsd, fake: Fake) -> None:
    assert hsd(run, *ON)[0] == 0
    with hold_lease(RUN, "a submission"):
        assert hsd(status, "pair")[0] == 0
