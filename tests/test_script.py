"""What sbatch gets: the very text, by profile, and the names of submitit's that it rests on."""

import inspect
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from submitit.core.utils import JobPaths
from submitit.slurm.slurm import SlurmExecutor, SlurmJobEnvironment
from sweeps import cluster, sweep

from hsd.errors import PreflightError
from slurm.cluster.environment import exports
from slurm.cluster.profile import Profile, load_profile, profile_names
from slurm.node.job_context import whereabouts
from slurm.run.folder_owner import guard
from slurm.run.run_folder import RunFolder
from slurm.submit.script import options, script
from slurm.sweep.plan import plan_sweep
from slurm.sweep.stage import Edge
from slurm.sweep.sweep import cells

FOLDER = RunFolder(Path("/shared/runs/pair"))
CODE = FOLDER.code / "0123456789ab"
ON_SLURM = [name for name in profile_names() if not load_profile(name).local]


def scripts(profile: Profile, **parts: object) -> dict[str, str]:
    """Return each stage's script, with nothing in it of the machine that runs the tests."""
    planned = plan_sweep(sweep(**parts), cells(sweep(**parts)), profile, FOLDER)
    lines = exports(profile, FOLDER.path, CODE)
    return {
        stage.name: script(planned, stage, profile, FOLDER.submission(1, stage.name), lines)
        for stage in planned.stages
    }


def asked(text: str) -> dict[str, str]:
    """Return the #SBATCH options of a script."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def test_three_shipped_profiles_have_a_scheduler() -> None:
    assert sorted(ON_SLURM) == ["a100x1", "a100x4", "testbed"]


@pytest.mark.parametrize("name", ON_SLURM)
def test_golden_scripts(name: str, golden: Callable[[str, str], None]) -> None:
    profile = load_profile(name).model_copy(update={"python": "/opt/hsd/bin/python"})
    for stage, text in scripts(profile, merge=True).items():
        golden(f"slurm/{name}_{stage}.sh", text)


def test_a_stage_asks_for_what_the_profile_says_of_it() -> None:
    profile = cluster(
        slurm={
            "account": "mine", "partition": "gpu", "qos": "long", "constraint": "a100&ib",
            "exclude": "n[1-2]", "reservation": "course", "gpu_type": "a100",
            "extra": {"mail-type": "END"}, "array_parallelism": 1, "signal_seconds": 90,
        },
        stages={
            "train": {"gpus": 4, "nodes": 2, "cpus": 8, "memory_gb": 1.5, "time_min": 90},
            "compare": {"partition": "cpu"},
        },
    )  # fmt: skip
    made = scripts(profile)
    train = asked(made["train"])
    assert train.items() >= {
        "account": "mine", "partition": "gpu", "qos": "long", "exclude": "n[1-2]",
        "reservation": "course", "gpus-per-node": "a100:4", "nodes": "2", "ntasks-per-node": "1",
        "cpus-per-task": "8", "mem": "1536M", "time": "90", "signal": "USR2@90",
        "array": "0-1%1", "mail-type": "END", "requeue": "", "job-name": "hsd-pair-train",
    }.items()  # fmt: skip
    assert train["constraint"] == "a100&ib"
    assert "wckey" not in train
    assert "--cpus-per-task=8" in made["train"].splitlines()[-1]  # srun would bind one core
    assert asked(made["compare"])["partition"] == "cpu"
    assert "gpus-per-node" not in asked(made["compare"])
    assert asked(made["compare"])["array"] == "0-0%1"  # always an array


def test_gpus_may_be_asked_for_as_generic_resources() -> None:
    profile = cluster(slurm={"gpu_request": "gres"}, stages={"train": {"gpus": 2}})
    assert asked(scripts(profile)["train"])["gres"] == "gpu:2"


@pytest.mark.parametrize("requeue", ["chain", "none"])
def test_a_job_that_may_not_be_requeued_says_so(requeue: str) -> None:
    made = asked(scripts(cluster(slurm={"requeue": requeue}))["train"])
    assert "no-requeue" in made
    assert "requeue" not in made


def test_a_folder_whose_name_sbatch_reads_as_a_pattern_is_refused() -> None:
    folder = RunFolder(Path("/shared/100%a/pair"))
    planned = plan_sweep(sweep(), cells(sweep()), cluster(), folder)
    with pytest.raises(PreflightError, match="/shared/100%a/pair: .* '%' .*; set shared_root"):
        script(planned, planned.stages[0], cluster(), folder.submission(1, "train"), [])


def test_a_job_knows_how_many_gpus_it_asked_for() -> None:
    made = scripts(cluster(stages={"train": {"gpus": 2}}))
    assert "\nexport HSD_GPUS=2\n" in made["train"]
    assert "\nexport HSD_GPUS=0\n" in made["compare"]


def test_a_run_s_folder_is_looked_at_right_before_what_is_in_it_is_loaded() -> None:
    *_, before, _, _, export, load = scripts(cluster())["train"].splitlines()
    assert before == guard(FOLDER.path)
    assert (export[:6], "submitit.core._submit" in load) == ("export", True)


def test_paths_with_spaces_stay_whole() -> None:
    profile = cluster(python="/opt/my env/python")
    folder = RunFolder(Path("/shared/my runs/pair"))
    planned = plan_sweep(sweep(), cells(sweep()), profile, folder)
    text = script(planned, planned.stages[0], profile, folder.submission(1, "train"), [])
    logs = "/shared/my runs/pair/submissions/001/train/%A_%a"
    assert asked(text)["output"] == f"{logs}_0_log.out"
    *_, last = text.splitlines()
    assert shlex.split(last)[3:5] == [f"{logs}_%t_log.out", "--error"]
    command = ["/opt/my env/python", "-u", "-m", "submitit.core._submit"]
    assert shlex.split(last)[-5:-1] == command


def test_rendering_writes_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "pair")
    planned = plan_sweep(sweep(), cells(sweep()), cluster(), folder)
    script(planned, planned.stages[0], cluster(), folder.submission(1, "train"), [])
    assert not (tmp_path / "runs").exists()


def test_what_a_stage_waits_for_is_an_option_of_the_command() -> None:
    slurm = cluster().slurm
    assert slurm is not None
    edges = [Edge("afterany", "evaluate"), Edge("afterok", "99")]
    assert options(edges, {"evaluate": "7"}, slurm) == [
        "--dependency=afterany:7,afterok:99",
        "--kill-on-invalid-dep=yes",
    ]
    kept = slurm.model_copy(update={"kill_on_invalid_dep": False})
    assert options(edges[:1], {"evaluate": "7"}, kept) == ["--dependency=afterany:7"]
    assert options([], {}, slurm) == []


def test_submitit_still_has_the_private_names_that_are_used() -> None:
    parameters = inspect.signature(SlurmExecutor._make_submission_file_text).parameters
    assert list(parameters) == ["self", "command", "uid"]
    assert isinstance(inspect.getattr_static(SlurmExecutor, "_submitit_command_str"), property)
    assert isinstance(inspect.getattr_static(JobPaths, "submitted_pickle"), property)
    paths = JobPaths(Path("/f"), job_id="7_1", task_id=0)
    assert str(paths.submitted_pickle) == "/f/7_1_submitted.pkl"
    assert str(paths.stdout) == "/f/7_1_0_log.out"


def test_submitit_and_the_supervisor_call_an_element_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {
        "SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_NODEID": "2", "SLURM_JOB_NODELIST": "n1", "SLURM_RESTART_COUNT": "3",
    }  # fmt: skip
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    theirs, ours = SlurmJobEnvironment(), whereabouts(there)
    assert (theirs.job_id, theirs.node) == (ours.job, ours.node) == ("7_1", 2)
    assert (ours.restart, ours.nodes) == (3, ("n1",))
    assert SlurmJobEnvironment.USR_SIG == "USR2"
