"""A run's folder holds pickles and code that jobs run: others must not be able to write them."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import sweeps
from strangers import given_away

from hsd.errors import PreflightError
from hsd.io.files import write_json_files
from hsd.io.json_reader import read_json
from slurm.run.folder_owner import guard, refuse_open
from slurm.submit.write_run import private


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run's folder as hsd makes it."""
    folder = tmp_path / "it's a run"
    with private(folder):
        (folder / "submissions").mkdir()
    return folder


def on_the_node(folder: Path) -> subprocess.CompletedProcess[str]:
    script = f"{guard(folder)}\necho {shlex.quote('loads the pickle')}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


def refused(folder: Path, said: str) -> None:
    """Both where it is submitted and on the node."""
    with pytest.raises(PreflightError, match=said):
        refuse_open(folder)
    done = on_the_node(folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"Error: {folder}: is not yours, or others can write to it")


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_run_is_its_owner_s_alone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with private(tmp_path / "new"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert on_the_node(tmp_path / "new").stdout == "loads the pickle\n"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2750])
def test_a_folder_that_others_may_read_is_used(mode: int, run: Path) -> None:
    run.chmod(mode)
    refuse_open(run)
    assert on_the_node(run).returncode == 0


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o2775, 0o1777])
def test_a_folder_that_group_or_others_can_write_is_refused_each_time(mode: int, run: Path) -> None:
    run.chmod(mode)
    refused(run, "others can write to it.*: chmod go-w ")
    run.chmod(0o700)
    refuse_open(run)


def test_a_folder_of_another_user_is_refused(run: Path) -> None:
    given_away(run)
    refused(run, "belongs to another user")


def test_a_link_of_another_user_is_refused_wherever_it_leads(run: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(run)
    refuse_open(link)
    assert on_the_node(link).returncode == 0
    given_away(link)
    refused(link, "belongs to another user")


def test_a_folder_of_another_user_inside_is_refused(run: Path) -> None:
    given_away(run / "submissions")
    with pytest.raises(PreflightError, match="submissions: belongs to another user"):
        refuse_open(run)


def test_a_folder_that_is_gone_is_refused_on_the_node(run: Path, tmp_path: Path) -> None:
    run.rename(tmp_path / "elsewhere")
    assert on_the_node(run).returncode == 3


def test_nothing_is_written_into_a_run_that_others_can_write(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    work.folder.path.chmod(0o777)
    before = sorted(work.folder.path.rglob("*"))
    with pytest.raises(PreflightError, match="others can write to it"):
        sweeps.write(work, tmp_path)
    assert sorted(work.folder.path.rglob("*")) == before


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_many_files_at_once_are_as_open_as_one_and_leave_the_umask_alone(
    umask: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        write_json_files({tmp_path / f"{n}" / "a.json": {"n": n} for n in range(100)})
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for n in range(100):
        assert read_json(tmp_path / f"{n}" / "a.json") == {"n": n}
        assert (tmp_path / f"{n}" / "a.json").stat().st_mode & 0o777 == 0o666 & ~umask
        assert (tmp_path / f"{n}").stat().st_mode & 0o777 == 0o777 & ~umask


def test_of_many_files_one_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.json").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_json_files({tmp_path / "a.json": 1, tmp_path / "b.json": 2})
    assert error.value.filename == str(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == 1
