"""Whether a container can be started on this machine: its program, image, digest and binds."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from containers.container_config import IMAGE_KINDS, ContainerConfig, Runtime, parse_bind
from containers.pinned_image import is_remote
from hsd.errors import PreflightError, did_you_mean
from hsd.io.hashes import sha256_file

PROGRAMS = {
    "apptainer": "apptainer",
    "pyxis": "srun",
    "docker": "docker",
    "podman": "podman",
    "charliecloud": "ch-run",
}
ENGINES = ("docker", "podman")
"""Runtimes with a store of images; the others are given a file or a folder."""
_TIMEOUT_S = 60


def check_container(config: ContainerConfig, folders: Iterable[str] = ()) -> None:
    """Raise PreflightError, one line, for the first thing that is missing here.

    `folders` are further host paths that will be bound at the same path. A registry's image is
    not asked for: a login node may not reach what the compute nodes can.
    """
    if config.runtime == "none":
        return
    _require_program(config.runtime)
    _require_image(config)
    for text in (*config.binds, *folders):
        _require_bind(config, text)
    if config.digest is not None:
        _require_digest(config, config.digest)


def found_digest(config: ContainerConfig) -> str | None:
    """Return what `digest` may be set to; None for an image that has none here."""
    digests = _digests(config)
    return digests[0] if digests else None


def _require_program(runtime: str) -> None:
    program = PROGRAMS[runtime]
    if shutil.which(program) is None:
        here = [name for name in get_args(Runtime) if shutil.which(PROGRAMS.get(name, ""))]
        raise PreflightError(
            f"container: runtime = '{runtime}', but no {program} on PATH here; install it or load "
            f"its module, or choose another runtime (found: {', '.join(here) or 'none'})."
        )
    if runtime == "pyxis" and "--container-image" not in _asked("srun", "--help").stdout:
        raise PreflightError(
            "container: runtime = 'pyxis', but this srun knows no --container-image; ask for the "
            "pyxis plugin, or choose apptainer."
        )


def _require_image(config: ContainerConfig) -> None:
    if config.runtime in ENGINES:
        _require_stored(config)
        return
    if is_remote(config):
        return
    image = Path(config.image or "")
    if not image.exists():
        near = did_you_mean(image.name, beside=_names_beside(image))
        raise PreflightError(
            f"container: image {image}: no such file or folder.{near} "
            f"{config.runtime} takes {IMAGE_KINDS[config.runtime]}; `make sif` and `make sqsh` "
            "write one from the image."
        )
    if config.runtime == "charliecloud" and image.is_dir() and not (image / "bin").exists():
        raise PreflightError(
            f"container: image {image}: no root file system (it has no bin); unpack one there "
            "with `podman export`."
        )


def _require_stored(config: ContainerConfig) -> None:
    """Docker or podman must have the image: a job never pulls."""
    if _inspected(config) is not None:
        return
    listed = _asked(config.runtime, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    if listed.returncode:
        raise PreflightError(f"container: {config.runtime}: {_last_line(listed.stderr)}.")
    names = {line for line in listed.stdout.split() if "<none>" not in line}
    raise PreflightError(
        f"container: image '{config.image}' is not in {config.runtime}'s store here; build it with "
        f"`make image`, or `{config.runtime} pull` it.{did_you_mean(config.image or '', names)}"
    )


def _require_bind(config: ContainerConfig, text: str) -> None:
    bind = parse_bind(text)
    source = Path(bind.source)
    if not source.exists():
        near = did_you_mean(source.name, beside=_names_beside(source))
        raise PreflightError(
            f"container: bind '{text}': {source} does not exist here; create it or correct the "
            f"path.{near}"
        )
    if config.runtime != "charliecloud" or bind.target.startswith("/tmp/"):  # /tmp is the host's
        return
    inner = Path(config.image or "") / bind.target.lstrip("/")
    if not inner.exists():
        raise PreflightError(
            f"container: bind '{text}': {bind.target} does not exist in the image, which "
            f"charliecloud opens read-only; mkdir -p {inner}."
        )


def _require_digest(config: ContainerConfig, wanted: str) -> None:
    found = _digests(config)
    if wanted not in found:
        reason = f"it is {found[0]}" if found else "it has none that could be compared here"
        raise PreflightError(
            f"container: image {config.image}: expected digest {wanted}, but {reason}; take the "
            "image that was meant, or correct the digest."
        )


def _digests(config: ContainerConfig) -> list[str]:
    """Return all names of the image's content: a registry's first, then the engine's own."""
    if config.runtime in ENGINES:
        return re.findall(r"sha256:[0-9a-f]{64}", _inspected(config) or "")
    if is_remote(config):
        return re.findall(r"sha256:[0-9a-f]{64}$", config.image or "")
    file = Path(config.image or "")
    return [f"sha256:{sha256_file(file)}"] if file.is_file() else []


def _inspected(config: ContainerConfig) -> str | None:
    """Return the image's digests as the engine prints them; None when it has no such image."""
    form = '{{join .RepoDigests " "}} sha256:{{.Id}}'
    done = _asked(config.runtime, "image", "inspect", "--format", form, config.image or "")
    return None if done.returncode else done.stdout.replace("sha256:sha256:", "sha256:")


def _names_beside(path: Path) -> list[str]:
    return [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []


def _asked(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PreflightError(
            f"container: `{' '.join(command[:3])}` gave no answer within {_TIMEOUT_S} s; is its "
            "service running?"
        ) from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["failed without a word"])[-1].rstrip(".?!")
