"""The scripts behind `make image`, `sif`, `sqsh`, `sbom`: what they refuse, and what they call."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = (
    "basename",
    "bash",
    "dirname",
    "echo",
    "env",
    "git",
    "ls",
    "mktemp",
    "rm",
    "sed",
    "sh",
    "xargs",
)
"""What the scripts use of any Unix; nothing else is on PATH, such as this machine's apptainer."""
SCRIPTS = Path(__file__).parent.parent / "containers"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose docker writes down how it was called and has one image."""
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/called\n'
        'case "$*" in *"inspect hsd:here"*|build*) exit 0 ;; *) exit 1 ;; esac\n',
        encoding="utf-8",
    )
    docker.chmod(0o755)
    podman = folder / "podman"
    podman.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    podman.chmod(0o755)
    for name in PROGRAMS:
        (folder / name).symlink_to(shutil.which(name) or "/absent")
    return {**os.environ, "PATH": str(folder)}


def ran(script: str, *arguments: str, env: dict[str, str]) -> tuple[int, str]:
    command = [str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def called(tmp_path: Path) -> list[str]:
    return (tmp_path / "called").read_text(encoding="utf-8").splitlines()


def test_an_unknown_variant_is_told_with_those_that_are_there(machine: dict[str, str]) -> None:
    code, said = ran("build.sh", "cuda99", env=machine)
    assert (code, said) == (3, "no lock for 'cuda99'; there are: cpu cuda130")


def test_a_build_gets_variant_version_and_commit(machine: dict[str, str], tmp_path: Path) -> None:
    assert ran("build.sh", "cuda130", env=machine)[0] == 0
    words = called(tmp_path)
    assert words[0] == "build"
    assert words[-3:] == ["-t", "hsd:cuda130", "."]
    assert "VARIANT=cuda130" in words
    assert "PIP_EXTRA_ARGS=" in words
    assert any(word.startswith("VERSION=0") for word in words)
    assert "--secret" not in words


def test_a_cpu_build_takes_torch_from_where_its_cpu_wheels_are(
    machine: dict[str, str], tmp_path: Path
) -> None:
    ready = list((SCRIPTS / "wheels").glob("torch-*"))
    assert ran("build.sh", "cpu", "mine:1", env=machine)[0] == 0
    index = "PIP_EXTRA_ARGS=--extra-index-url https://download.pytorch.org/whl/cpu"
    assert (index in called(tmp_path)) is not bool(ready)
    assert called(tmp_path)[-2] == "mine:1"


def test_what_a_site_needs_is_passed_on(machine: dict[str, str], tmp_path: Path) -> None:
    site = {
        "BASE_IMAGE": "r.example/cuda:13",
        "PIP_EXTRA_ARGS": "--no-index",
        "HSD_PIP_CONF": "/etc/pip.conf",
        "HSD_CA_BUNDLE": "/etc/ca.crt",
        "BUILD_ARGS": "--network host",
    }
    assert ran("build.sh", "cpu", env=machine | site)[0] == 0
    words = called(tmp_path)
    for wanted in (
        "BASE_IMAGE=r.example/cuda:13",
        "PIP_EXTRA_ARGS=--no-index",
        "id=pip_conf,src=/etc/pip.conf",
        "id=ca_bundle,src=/etc/ca.crt",
    ):
        assert wanted in words
    assert words[words.index("--network") + 1] == "host"


def test_an_image_that_no_engine_has_cannot_be_converted(
    machine: dict[str, str], tmp_path: Path
) -> None:
    code, said = ran("convert.sh", "sif", "hsd:away", str(tmp_path / "a.sif"), env=machine)
    assert (code, said) == (
        3,
        "neither docker nor podman has an image 'hsd:away'; build it with make image",
    )


def test_a_conversion_overwrites_nothing(machine: dict[str, str], tmp_path: Path) -> None:
    there = tmp_path / "a.sif"
    there.touch()
    code, said = ran("convert.sh", "sif", "hsd:here", str(there), env=machine)
    assert (code, said) == (3, f"{there} exists; remove it or choose another name")


def test_a_missing_program_is_told_with_what_to_do(machine: dict[str, str], tmp_path: Path) -> None:
    code, said = ran("convert.sh", "sif", "hsd:here", str(tmp_path / "a.sif"), env=machine)
    assert code == 3
    assert said.startswith("sif needs apptainer, which is not on PATH here")
    code, said = ran("convert.sh", "zip", "hsd:here", str(tmp_path / "a.zip"), env=machine)
    assert (code, said) == (3, "unknown form 'zip'; expected sif, sqsh, folder or sbom")
