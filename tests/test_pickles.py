"""What a job's process loads: texts alone, in an interpreter that has little more than submitit."""

import os
import pickletools
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission, JobPaths

from slurm.node.payload import Payload
from slurm.node.supervisor import Orders
from slurm.submit.pickles import hand_over, log_paths, write_pickles

CODE = Path(__file__).parent.parent
ORDERS = Orders(
    commands=(("true",), ("echo", "two")),
    cwd="/run",
    attempts="/run/a.jsonl",
    done="/run/done.json",
    identity="abc",
    requeue="scontrol",
    max_requeues=3,
    tell=("docker", "kill"),
)


def names_in(pickle: Path) -> set[str]:
    """The modules of ours that a pickle names."""
    return {
        value
        for op, value, _ in pickletools.genops(pickle.read_bytes())
        if isinstance(value, str) and value.startswith(("slurm", "hsd", "jobs", "containers"))
    }


def test_a_copy_of_the_code_from_before_is_named_as_it_names_itself(tmp_path: Path) -> None:
    (tmp_path / "code" / "slurm").mkdir(parents=True)
    (tmp_path / "code" / "slurm" / "payload.py").write_text("")
    (before,) = write_pickles(tmp_path / "a", [ORDERS], 60, tmp_path / "code")
    (today,) = write_pickles(tmp_path / "b", [ORDERS], 60, CODE)
    assert names_in(before) == {"slurm.payload", "slurm.supervisor"}
    assert names_in(today) == {"slurm.node.payload", "slurm.node.supervisor"}
    assert "slurm.payload" not in sys.modules


def test_a_pickle_names_the_one_class_and_holds_texts(tmp_path: Path) -> None:
    (path,) = write_pickles(tmp_path, [ORDERS], 60)
    assert names_in(path) == {"slurm.node.payload", "slurm.node.supervisor"}
    values = [v for value in asdict(ORDERS).values() for v in _leaves(value)]
    assert {type(value) for value in values} == {str, int}


def _leaves(value: object) -> list[object]:
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def test_what_was_written_is_what_the_job_loads(tmp_path: Path) -> None:
    paths = write_pickles(tmp_path / "new", [ORDERS, ORDERS], 60)
    hand_over(paths, tmp_path / "new", "7")
    job = JobPaths(tmp_path / "new", job_id="7_1")
    loaded = DelayedSubmission.load(job.submitted_pickle)
    assert loaded.function == Payload(ORDERS)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "7_0_submitted.pkl",
        "7_1_submitted.pkl",
    ]


def test_a_requeue_of_submitit_s_own_would_run_the_same(tmp_path: Path) -> None:
    again = Payload(ORDERS).checkpoint()
    assert again.function == Payload(ORDERS)


def test_pickles_are_for_their_owner_alone_under_the_umask_of_a_submission(tmp_path: Path) -> None:
    from slurm.submit.submission import for_owner_alone

    with for_owner_alone():
        (path,) = write_pickles(tmp_path / "stage", [ORDERS], 60)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_logs_are_where_submitit_writes_them(tmp_path: Path) -> None:
    out, error = log_paths(tmp_path, "7", 1)
    assert (out.name, error.name) == ("7_1_0_log.out", "7_1_0_log.err")


@pytest.mark.parametrize("module", ["slurm.node.payload", "slurm.node.supervisor"])
def test_a_job_s_process_imports_the_standard_library_and_submitit_alone(module: str) -> None:
    code = f"""
import sys
before = set(sys.modules)
import {module}
rooms = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(rooms - set(sys.stdlib_module_names)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
        check=True,
    )
    # cloudpickle and typing_extensions are submitit's own needs.
    assert set(done.stdout.split()) <= {"slurm", "submitit", "cloudpickle", "typing_extensions"}


def test_a_job_s_process_ends_with_the_code_of_its_commands(tmp_path: Path) -> None:
    orders = Orders(
        commands=(("sh", "-c", "exit 7"),),
        cwd=str(tmp_path),
        attempts=str(tmp_path / "attempts/train.jsonl"),
        done=str(tmp_path / "done.json"),
        identity="abc",
    )
    folder = tmp_path / "stage"
    hand_over(write_pickles(folder, [orders], 60), folder, "7")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "submitit.core._submit", str(folder)],
        env=os.environ | slurm | {"PYTHONPATH": str(CODE), "SUBMITIT_EXECUTOR": "slurm"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
