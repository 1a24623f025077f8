"""A copy of the code for a run's jobs, so that editing the checkout changes nothing queued."""

import hashlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.hashes import sha256_file
from hsd.io.json_reader import read_object

PACKAGES = ("hsd", "containers", "slurm", "jobs")
FACTS = "code.json"
DIFF = "uncommitted.diff"
_LEFT_OUT = {"__pycache__", "locks", "wheels"}


@dataclass(frozen=True)
class Code:
    """The code that is running: its files by their path in a snapshot, and where it comes from."""

    files: dict[str, Path]
    commit: str | None
    diff: str
    """What is not committed, as git prints it; empty outside a checkout."""
    untracked: tuple[str, ...] = ()
    """Files of the packages that git does not know, and that are no rubbish to it."""

    @cached_property
    def tree(self) -> str:
        """Digest of all files' names and contents, as they were when it was first asked for."""
        return _tree(self.files)


def running_code() -> Code:
    """Return the packages as they are on the disk now, committed or not.

    The files themselves are taken, rather than git's archive and a patch to apply: the same
    content, untracked modules included, and an installed wheel has no git.
    """
    homes = {name: _home(name) for name in PACKAGES}
    root = homes["hsd"].parent
    files = {
        f"{package}/{file.relative_to(home)}": file
        for package, home in homes.items()
        for file in _package_files(home)
    }
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()) != root.resolve():
        return Code(files, None, "")  # an installed package, in an environment of some checkout
    commit = _git(root, "rev-parse", "HEAD")
    diff = _git(root, "diff", "HEAD", "--", *PACKAGES)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *PACKAGES)
    known = commit.strip() if commit else None
    return Code(files, known, diff or "", tuple((new or "").splitlines()))


def write_snapshot(code: Code, folder: Path) -> Path:
    """Copy the code into `folder`/TREE and return that; the same code is copied once.

    Raises PreflightError when a file changes meanwhile, or did since an earlier copy: a cell's
    identity names its code.
    """
    target = folder / code.tree[:12]
    if (target / FACTS).exists():
        require_unchanged(target, "Remove that folder, and the same command copies it again.")
        return target
    copies = {name: target / name for name in code.files}
    for name, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(code.files[name], copy)
    if _tree(_files_in(target)) != code.tree:  # what else lay there would be imported too
        shutil.rmtree(target)
        raise PreflightError("hsd's own code was changed while it was copied; run this again.")
    if code.diff:
        (target / DIFF).write_text(code.diff, encoding="utf-8")
    dirty = bool(code.diff or code.untracked)
    facts = {"commit": code.commit, "dirty": dirty, "tree": code.tree}
    write_json(target / FACTS, facts)  # last: a copy without it is not whole
    return target


def require_unchanged(copy: Path, instead: str) -> None:
    """Raise PreflightError unless a copy holds the files that it was made of, and no others.

    Its facts are what jobs write into their manifests. Some 300 small files: a few milliseconds.
    """
    if not (copy / FACTS).exists():
        raise PreflightError(f"{copy}: no whole copy of the code is here. {instead}")
    known = read_object(copy / FACTS).get("tree")
    if _tree(_files_in(copy)) != known or not str(known).startswith(copy.name):
        raise PreflightError(
            f"{copy}: this copy of the code was changed since it was made for this run, so its "
            f"results would be another code's. {instead}"
        )


def _files_in(copy: Path) -> dict[str, Path]:
    files = (file for package in PACKAGES for file in _package_files(copy / package))
    return {str(file.relative_to(copy)): file for file in files}


def _tree(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _home(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PreflightError(f"package '{package}' is not installed; reinstall hsd.")
    return Path(spec.submodule_search_locations[0])


def _package_files(home: Path) -> Iterable[Path]:
    for file in sorted(home.rglob("*")):
        inside = file.relative_to(home).parts
        if file.is_file() and not _LEFT_OUT & set(inside) and not inside[-1].startswith("."):
            yield file


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            errors="replace",  # a file that is no UTF-8
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
