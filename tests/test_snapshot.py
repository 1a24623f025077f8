"""A copy of the running code: what is in it, and what is known of where it comes from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsd.errors import PreflightError
from slurm.submit import snapshot
from slurm.submit.snapshot import Code, running_code, write_snapshot


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout of four packages, all committed, which is the code that runs."""
    root = tmp_path / "checkout"
    for package in snapshot.PACKAGES:
        write(root / package / "__init__.py", "")
    write(root / "hsd/one.py", "answer = 42\n")
    write(root / "hsd/presets/default.json", "{}")
    write(root / "README.md", "not of a package")
    write(root / ".gitignore", "*.tmp\n__pycache__\n")
    monkeypatch.setattr(snapshot, "_home", lambda package: root / package)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "nobody")
        monkeypatch.setenv(f"{name}_EMAIL", "nobody@example.org")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all")
    return root


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def facts(copy: Path) -> Any:
    return json.loads((copy / "code.json").read_text())


def test_a_clean_checkout_is_known_by_its_commit(checkout: Path, tmp_path: Path) -> None:
    code = running_code()
    copy = write_snapshot(code, tmp_path / "code")
    assert copy.name == code.tree[:12]
    commit = git(checkout, "rev-parse", "HEAD")
    assert facts(copy) == {"commit": commit, "dirty": False, "tree": code.tree}
    assert not (copy / "uncommitted.diff").exists()


def test_packages_are_copied_whole_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    write(checkout / "hsd/__pycache__/one.pyc", "compiled")
    write(checkout / "hsd/.hidden", "an editor's")
    copy = write_snapshot(running_code(), tmp_path / "code")
    files = {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()}
    inits = {f"{package}/__init__.py" for package in snapshot.PACKAGES}
    assert files == {*inits, "hsd/one.py", "hsd/presets/default.json", "code.json"}


def test_what_is_not_committed_is_copied_and_its_diff_kept(checkout: Path, tmp_path: Path) -> None:
    clean = running_code().tree
    write(checkout / "hsd/one.py", "answer = 43\n")
    code = running_code()
    copy = write_snapshot(code, tmp_path / "code")
    assert code.tree != clean
    assert (copy / "hsd/one.py").read_text() == "answer = 43\n"
    assert "+answer = 43" in (copy / "uncommitted.diff").read_text()
    assert facts(copy)["dirty"] is True


def test_a_module_that_git_does_not_know_is_copied_and_is_dirty(
    checkout: Path, tmp_path: Path
) -> None:
    write(checkout / "hsd/new.py", "")
    code = running_code()
    copy = write_snapshot(code, tmp_path / "code")
    assert (copy / "hsd/new.py").exists()
    assert code.untracked == ("hsd/new.py",)
    assert facts(copy)["dirty"] is True


def test_changes_outside_the_packages_are_no_changes_of_the_code(checkout: Path) -> None:
    before = running_code()
    write(checkout / "README.md", "new words")
    write(checkout / "hsd/scratch.tmp", "ignored by git, but a file of the package")
    assert running_code().diff == before.diff == ""
    assert running_code().untracked == ()


def test_a_diff_that_is_no_text_is_no_obstacle(checkout: Path) -> None:
    (checkout / "hsd/one.py").write_bytes(b"answer = '\xff'\n")
    assert "answer" in running_code().diff


def test_an_installed_package_has_no_commit(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".git")
    copy = write_snapshot(running_code(), tmp_path / "code")
    assert facts(copy)["commit"] is None
    assert facts(copy)["dirty"] is False


def test_an_environment_inside_another_checkout_is_not_that_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = checkout / "venv/site-packages"
    shutil.copytree(checkout / "hsd", inside / "hsd")
    monkeypatch.setattr(snapshot, "_home", lambda _: inside / "hsd")
    assert running_code().commit is None


def test_a_machine_without_git_has_no_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert running_code().commit is None
    assert "hsd/one.py" in running_code().files


def test_the_same_code_is_copied_once(checkout: Path, tmp_path: Path) -> None:
    first = write_snapshot(running_code(), tmp_path / "code")
    before = {p: p.stat().st_mtime_ns for p in first.rglob("*")}
    assert write_snapshot(running_code(), tmp_path / "code") == first
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*")} == before


def test_a_copy_that_was_interrupted_is_made_again(checkout: Path, tmp_path: Path) -> None:
    copy = write_snapshot(running_code(), tmp_path / "code")
    (copy / "code.json").unlink()  # it is written last
    (copy / "hsd/one.py").write_text("torn")
    assert write_snapshot(running_code(), tmp_path / "code") == copy
    assert (copy / "hsd/one.py").read_text() == "answer = 42\n"


@pytest.mark.parametrize("name", ["hsd/one.py", "hsd/new.py", "code.json"])
def test_a_copy_that_was_changed_is_not_used_again(
    checkout: Path, tmp_path: Path, name: str
) -> None:
    copy = write_snapshot(running_code(), tmp_path / "code")
    write(copy / "hsd/__pycache__/one.pyc", "jobs leave these")
    write_snapshot(running_code(), tmp_path / "code")
    write(copy / name, '{"tree": "0123"}')
    with pytest.raises(PreflightError, match=r"this copy of the code was changed.* Remove that"):
        write_snapshot(running_code(), tmp_path / "code")


def test_code_that_changes_while_it_is_copied_is_refused(checkout: Path, tmp_path: Path) -> None:
    code = running_code()
    assert code.tree  # the cells' identities are made of it
    write(checkout / "hsd/one.py", "answer = 43\n")
    with pytest.raises(PreflightError, match="changed while it was copied; run this again"):
        write_snapshot(code, tmp_path / "code")
    assert not list((tmp_path / "code").iterdir())


def test_what_lay_in_the_place_of_a_copy_is_no_part_of_it(checkout: Path, tmp_path: Path) -> None:
    code = running_code()
    write(tmp_path / "code" / code.tree[:12] / "hsd/planted.py", "")
    with pytest.raises(PreflightError, match="run this again"):
        write_snapshot(code, tmp_path / "code")
    assert not (write_snapshot(code, tmp_path / "code") / "hsd/planted.py").exists()


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", "x"), write(tmp_path / "2", "y")
    trees = [
        Code(files, None, "").tree
        for files in ({"a": one}, {"b": one}, {"a": two}, {"a": one, "b": two})
    ]
    assert len(set(trees)) == 4
    again = Code({"b": two, "a": one}, "commit", "diff").tree
    assert again == trees[-1]  # neither order nor git


def test_jobs_import_the_copy_and_not_the_checkout(tmp_path: Path) -> None:
    copy = write_snapshot(running_code(), tmp_path / "code")
    environ = os.environ | {"PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import slurm.node.payload; print(slurm.node.payload.__file__)"],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(copy))
