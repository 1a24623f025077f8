"""The commands of an element: the interpreter, the ranks, the container."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from sweeps import cluster

from hsd.errors import PreflightError
from slurm.cluster.profile import Profile
from slurm.node.job_context import Here, filled
from slurm.node.supervisor import Orders
from slurm.run.run_folder import RunFolder
from slurm.submit.launch import orders
from slurm.sweep.stage import Stage, Task

RUN = Path("/shared/runs/pair")
TRAIN = ("train", "--config_file", "c.json")
DIGEST = f"sha256:{'0' * 64}"


def ordered(
    profile: Profile,
    command: tuple[str, ...] = TRAIN,
    of: str = "train",
    seen: tuple[Path, ...] = (),
) -> Orders:
    """Return the orders of an element of a stage that runs one command."""
    stage = Stage(of, of, (Task("a", (command,)),), getattr(profile.stages, of))
    return orders(stage.tasks[0], stage, profile, RunFolder(RUN), "i", RUN, seen)


def launched(profile: Profile, *arguments: str) -> str:
    (command,) = ordered(profile, arguments or TRAIN).commands
    return " ".join(command)


def ranks(**resources: int) -> Profile:
    return cluster(stages={"train": resources, "compare": resources})


@pytest.mark.parametrize("resources", [{}, {"gpus": 1}, {"processes": 1, "gpus": 4}])
def test_one_rank_needs_no_launcher(resources: dict[str, int]) -> None:
    said = launched(ranks(**resources))
    assert said == "/opt/hsd/python -m jobs.train --config_file c.json"


def test_several_ranks_on_a_node_meet_at_a_free_port() -> None:
    (command,) = ordered(ranks(gpus=4)).commands
    assert command[:2] == ("sh", "-c")
    assert 'trap "" USR2 TERM' in command[2]
    assert " ".join(command[3:]) == (
        "sh /opt/hsd/python -m torch.distributed.run --standalone --nproc_per_node 4"
        " -m jobs.train --config_file c.json"
    )


def test_nodes_meet_at_the_first_of_them() -> None:
    (command,) = ordered(ranks(processes=2, nodes=3)).commands
    here = Here(job="7_1", restart=1, node=2, nodes=("n1", "n2", "n3"), environ={})
    assert " ".join(filled(command, here)[3:]) == (
        "sh /opt/hsd/python -m torch.distributed.run --nnodes 3 --node_rank 2 --master_addr n1"
        " --master_port 20015 --nproc_per_node 2 -m jobs.train --config_file c.json"
    )


def test_all_nodes_of_a_job_meet_at_one_port_and_other_jobs_at_others() -> None:
    def port(job: str, node: int = 0, restart: int = 0) -> str:
        return filled(["@port@"], Here(job, restart, node, ("n1", "n2"), {}))[0]

    assert port("7_1", node=0) == port("7_1", node=1)
    assert len({port("7_0"), port("7_1"), port("7_2"), port("8_0")}) == 4
    assert port("7_0", restart=1) != port("7_0")  # the old one may still be held


@pytest.mark.parametrize("command", ["merge", "compare"])
def test_what_is_no_work_of_several_ranks_runs_once(command: str) -> None:
    assert launched(ranks(gpus=4), command, "x") == f"/opt/hsd/python -m jobs.{command} x"


def test_without_a_python_in_the_profile_jobs_run_the_one_of_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/env/bin/python3")
    assert launched(cluster(python="")).startswith("/env/bin/python3 -m jobs.train")


@pytest.mark.parametrize(
    ("slurm", "requeue", "at_most"),
    [
        ({}, "scontrol", 20),
        ({"requeue": "chain", "max_requeues": 2}, "chain", 2),
        ({"requeue": "none"}, "none", 20),
        (None, "", 0),
    ],
)
def test_the_supervisor_is_told_whether_a_job_may_go_on(
    slurm: dict[str, object] | None, requeue: str, at_most: int
) -> None:
    made = ordered(cluster(slurm=slurm))
    assert (made.requeue, made.max_requeues) == (requeue, at_most)


def test_attempts_of_a_chain_share_events_and_marker() -> None:
    profile = cluster()
    second = Stage("train-2", "train", (Task("a", (TRAIN,)),), profile.stages.train)
    made = orders(second.tasks[0], second, profile, RunFolder(RUN), "i", RUN)
    assert made.attempts == f"{RUN}/cells/a/attempts/train.jsonl"
    assert made.done == f"{RUN}/cells/a/train.done.json"


CONTAINERS = ("apptainer", "pyxis", "docker", "podman", "charliecloud")


def contained(runtime: str, **parts: Any) -> Profile:
    return cluster(container={"runtime": runtime, "image": "/images/hsd"}, **parts)


@pytest.mark.parametrize("runtime", CONTAINERS)
def test_in_a_container_the_image_s_python_runs_and_the_run_is_seen(runtime: str) -> None:
    said = launched(contained(runtime))
    assert said.endswith("/opt/hsd/bin/python -m jobs.train --config_file c.json")
    assert str(RUN) in said  # though nothing of it is made yet
    assert "PYTHONPATH=@env:PYTHONPATH@" in said
    assert "@env:HSD_SCRATCH@" in said


@pytest.mark.parametrize("runtime", CONTAINERS)
def test_in_a_container_ranks_are_launched_inside(runtime: str) -> None:
    said = launched(contained(runtime, stages={"train": {"gpus": 4}}))
    assert "/opt/hsd/bin/python -m torch.distributed.run --standalone --nproc_per_node 4" in said


@pytest.mark.parametrize("runtime", CONTAINERS)
def test_a_variable_that_slurm_may_not_have_set_is_not_passed_as_empty(runtime: str) -> None:
    said = launched(contained(runtime, stages={"train": {"gpus": 1}}))
    assert "CUDA_VISIBLE_DEVICES=@env" not in said  # empty, it would hide all GPUs


@pytest.mark.parametrize("runtime", CONTAINERS)
def test_a_container_sees_what_is_there_and_a_secret_by_its_path_alone(
    runtime: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("hf_secret")
    data, missing = tmp_path / "data", tmp_path / "missing"
    data.mkdir()
    profile = contained(runtime, secrets={"HF_TOKEN_PATH": token})
    (command,) = ordered(profile, seen=(data, missing)).commands
    said = " ".join(command)
    assert str(data) in said
    assert str(missing) not in said
    assert f"HF_TOKEN_PATH={token}" in said
    assert "hf_secret" not in said


def binds(profile: Profile, *seen: Path) -> dict[str, bool]:
    """Return the host paths that docker is given, and whether each can be written."""
    words = " ".join(ordered(profile, seen=seen).commands[0])
    found = re.findall(r"type=bind,source=([^,]+),target=[^ ,]+(,readonly)?", words)
    return {source: not read_only for source, read_only in found}


def test_a_file_is_seen_alone_and_cannot_be_written(tmp_path: Path) -> None:
    rows, model = tmp_path / "rows.jsonl", tmp_path / "model"
    rows.write_text("")
    model.mkdir()
    made = binds(contained("docker"), rows, model, Path("/etc/hosts"), Path("/usr/lib"))
    assert made.items() >= {str(rows): False, "/etc/hosts": False, "/usr/lib": False}.items()
    assert made[str(model)]
    assert not {str(tmp_path), "/etc"} & made.keys()


@pytest.mark.parametrize("beside", ["prompt.json", "post_id_divisions.json"])
def test_what_belongs_to_a_file_of_rows_is_seen_with_it(beside: str, tmp_path: Path) -> None:
    rows = tmp_path / "train.jsonl"
    rows.write_text("")
    (tmp_path / beside).write_text("{}")
    assert binds(contained("docker"), rows)[str(tmp_path / beside)] is False


@pytest.mark.parametrize("path", [Path("/"), Path.home().parent])
def test_all_of_a_machine_is_not_given_to_a_container(path: Path) -> None:
    with pytest.raises(PreflightError, match="is not given to a command to write"):
        binds(contained("docker"), path)


def test_a_stop_reaches_a_container_by_the_name_that_it_has_in_this_job() -> None:
    made = ordered(contained("docker"))
    (command,) = made.commands
    here = Here("7_1", 0, 0, ("n1",), {})
    assert "hsd-7_1-train" in filled(command, here)
    assert filled(made.tell, here)[:3] == ["docker", "exec", "hsd-7_1-train"]
    assert ordered(contained("apptainer")).tell == ()


def test_a_container_belongs_to_who_submits() -> None:
    assert f"--user {os.getuid()}:{os.getgid()}" in launched(contained("docker"))


@pytest.mark.parametrize("runtime", ["none", *CONTAINERS])
def test_a_user_s_text_reaches_the_command_as_it_is(runtime: str) -> None:
    image = {} if runtime == "none" else {"image": "/images/hsd"}
    profile = cluster(
        container={"runtime": runtime, **image}, env={"set": {"SAID": "@env:HOME@ of @job@"}}
    )
    (command,) = ordered(profile, ("train", "--set", "x=@env:HOME@@job@")).commands
    words = filled(command, Here("7_1", 0, 0, ("n1",), {"HOME": "/secret"}))
    assert words[-1] == "x=@env:HOME@@job@"
    assert "/secret" not in " ".join(words)
    assert runtime == "none" or "SAID=@env:HOME@ of @job@" in " ".join(words)
