"""The run's folder, token files, Python and the container, as this machine sees them."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from containers.container_config import ContainerConfig
from containers.image_checks import check_container
from hsd.checks import Check, Look
from hsd.errors import PreflightError
from slurm.check.mounts import existing, why_unseen
from slurm.cluster.profile import Profile
from slurm.submit.submission import SubmissionBundle

_PYTHON_ANSWERS_S = 20


def looks(prepared: SubmissionBundle) -> list[Look]:
    """Return what is to be looked at on this machine, each alone."""
    profile, folder = prepared.profile, prepared.plan.folder.path
    found: list[Look] = [("run folder", lambda: [run_folder(folder, shared=not profile.local)])]
    found.append(("secrets", lambda: secrets(profile.secrets)))
    if not profile.local:
        found.append(("python", lambda: [python(profile)]))
    if profile.container.runtime != "none":
        found.append(("container", lambda: [container_looks(profile.container)]))
    return found


def run_folder(folder: Path, *, shared: bool) -> Check:
    """Try to write where the run will be; say when other machines may not see it."""
    where = existing(folder)
    if not where.is_dir():
        return Check("run folder", False, f"{where} is a file", _OTHER_ROOT)
    try:
        with tempfile.TemporaryFile(dir=where) as file:
            file.write(b"hsd")
    except OSError as error:
        line = f"{where} cannot be written ({error.strerror})"
        return Check("run folder", False, line, _OTHER_ROOT)
    if shared and (reason := why_unseen(folder)):
        return Check("run folder", None, f"{folder}: nodes may not see it: {reason}", _OTHER_ROOT)
    return Check("run folder", True, str(folder))


def secrets(files: Mapping[str, Path]) -> Iterator[Check]:
    """Look at the token files without opening them."""
    for name, path in files.items():
        yield _secret(f"secret {name}", Path(path).expanduser())


def python(profile: Profile) -> Check:
    """Look whether jobs find an interpreter that has submitit."""
    program = profile.python or sys.executable
    if "/" not in program:
        return Check("python", None, f"{program} is looked up on the node", "give an absolute path")
    if not os.access(program, os.X_OK) or Path(program).is_dir():
        return Check("python", False, f"{program} cannot be started", _OTHER_PYTHON)
    if not _has_submitit(program):
        return Check("python", False, f"{program} cannot import submitit", _OTHER_PYTHON)
    home = Path(sys.prefix) if program == sys.executable else Path(program)
    if reason := why_unseen(home) if _is_own(home) else None:
        return Check("python", None, f"{program}: nodes may not see it: {reason}", _OTHER_PYTHON)
    return Check("python", True, program)


def container_looks(config: ContainerConfig) -> Check:
    """Look at runtime, image, digest and binds."""
    try:
        check_container(config)
    except PreflightError as error:
        return Check("container", False, str(error).removeprefix("container: ").rstrip("."))
    return Check("container", True, f"{config.runtime}, {config.image}")


_OTHER_ROOT = "set shared_root in the profile to a folder of yours that all nodes see"
_OTHER_PYTHON = "set python in the profile to one that nodes have, with submitit installed"


def _secret(name: str, path: Path) -> Check:
    try:
        status = path.stat()
    except OSError as error:
        line = f"{path} cannot be looked at ({error.strerror})"
        return Check(name, False, line, "write the token to it, or leave it out of [secrets]")
    if not stat.S_ISREG(status.st_mode):
        return Check(name, False, f"{path} is not a file", "name a file that holds only the token")
    if status.st_mode & 0o077:
        line = f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})"
        return Check(name, False, line, f"chmod 600 {path}")
    if not os.access(path, os.R_OK):
        return Check(name, False, f"{path} cannot be read by you", f"chmod 600 {path}")
    if not status.st_size:
        return Check(name, False, f"{path} is empty", "write the token to it")
    return Check(name, True, f"{path}, for you alone")


def _has_submitit(program: str) -> bool:
    if program == sys.executable:
        return find_spec("submitit") is not None
    try:
        done = subprocess.run(
            [program, "-c", "import submitit"],
            capture_output=True,
            timeout=_PYTHON_ANSWERS_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _is_own(home: Path) -> bool:
    """Whether a Python is an environment that somebody made: a system's is on every node."""
    system = ("/usr", "/opt", "/bin")
    return not any(home.is_relative_to(folder) for folder in system)
