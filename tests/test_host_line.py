"""The first line of a job's log: what it says of a machine, and who prints it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.model

IN_A_JOB = ("SLURM_JOB_ID", "HSD_JOB", "RANK", "HSD_IMAGE_DIGEST")


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in IN_A_JOB:
        monkeypatch.delenv(name, raising=False)


def line(**facts: Any) -> str:
    from hsd.model.host_line import Host

    known: dict[str, Any] = {
        "name": "gpu1",
        "python": "3.11.7",
        "torch": "2.13.0+cu130",
        "cuda": "13.0",
        "driver": "580.65.06",
        "gpus": ("NVIDIA A100-SXM4-80GB",) * 4,
        "cores": 16,
        "all_cores": 64,
        "container": "sha256:abc",
    }
    return Host(**known | facts).line()


def test_a_gpu_nodes_line() -> None:
    assert line() == (
        "host gpu1: python 3.11.7, torch 2.13.0+cu130, CUDA 13.0 (driver 580.65.06), "
        "4 x A100-SXM4-80GB, 16 of 64 cores, image sha256:abc"
    )


def test_a_cpu_nodes_line() -> None:
    facts = {"torch": "2.13.0+cpu", "cuda": None, "driver": None, "gpus": (), "container": None}
    assert line(**facts) == (
        "host gpu1: python 3.11.7, torch 2.13.0+cpu, no CUDA, no GPU, 16 of 64 cores, no container"
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"gpus": ()}, "CUDA 13.0 (driver 580.65.06), no GPU, "),
        ({"driver": None}, "CUDA 13.0 (driver unknown), "),
        ({"gpus": ("NVIDIA A100", "NVIDIA A100", "NVIDIA L4")}, " 2 x A100 + 1 x L4, "),
        ({"container": ""}, ", a container that does not tell its image"),
    ],
)
def test_what_is_missing_is_said(facts: dict[str, Any], said: str) -> None:
    assert said in line(**facts)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 2021\n"
            "GCC version:  gcc version 9.3.0\n",
            "470.57.02",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65  Release Build"
            "  (dvs-builder@U22)  Sun Jul 27 07:16:07 UTC 2025\nGCC version: gcc 12.3.0\n",
            "580.65",
        ),
        ("GCC version:  gcc version 9.3.0 \n", None),
        ("", None),
    ],
)
def test_the_drivers_version_is_read_from_its_own_file(text: str, version: str | None) -> None:
    from hsd.model.host_line import driver_version

    assert driver_version(text) == version


@pytest.mark.parametrize(
    ("environ", "marked", "found"),
    [
        ({}, False, None),
        ({}, True, ""),
        ({"APPTAINER_CONTAINER": "/images/hsd.sif"}, False, ""),
        ({"HSD_IMAGE_DIGEST": "sha256:abc"}, True, "sha256:abc"),
    ],
)
def test_a_container_is_told_from_none(
    environ: dict[str, str], marked: bool, found: str | None
) -> None:
    from hsd.model.host_line import container_name

    assert container_name(environ, marked) == found


def test_the_gpus_that_this_process_sees_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    from hsd.model import host_line

    names = ["NVIDIA A100-SXM4-80GB", "NVIDIA L4"]
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=names.__getitem__
    )
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(host_line, "_DRIVER", driver)
    found = host_line.this_host()
    assert found.gpus == tuple(names)
    assert (found.cuda, found.driver) == ("13.0", "580.65.06")
    assert 1 <= found.cores <= found.all_cores


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        ({}, 0),
        ({"HSD_JOB": "0"}, 0),
        ({"HSD_JOB": "1"}, 1),
        ({"SLURM_JOB_ID": "17"}, 1),
        ({"SLURM_JOB_ID": "17", "RANK": "0"}, 1),
        ({"SLURM_JOB_ID": "17", "RANK": "1"}, 0),
    ],
)
def test_the_first_process_of_a_job_prints_it(
    environ: dict[str, str],
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from jobs.terminal.log_head import say_host

    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    say_host()
    assert capsys.readouterr().out.count("host ") == lines


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--set", "data.train_file=nothing.jsonl"]),
        ("evaluate", ["--model_name", "nothing"]),
        ("merge", ["--adapter_path", "nothing", "--output_dir", "merged"]),
    ],
)
def test_it_is_the_first_line_even_of_a_job_that_fails(
    command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    program: click.Command = getattr(import_module(f"jobs.{command}"), command)
    monkeypatch.setenv("HSD_JOB", "1")
    result = CliRunner().invoke(program, arguments)
    assert result.exception is not None
    assert result.stdout.startswith("host ")
    assert ": python 3." in result.stdout
