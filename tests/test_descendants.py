"""The processes below a process, and which of them a signal may be sent to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import until

from slurm.node.descendants import catches, descendants, tell


def process(proc: Path, pid: int, parent: int, name: str = "python", state: str = "S") -> None:
    """Write what /proc says of a process."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} 1 1")


def test_children_and_their_children_are_found_and_nobody_else(tmp_path: Path) -> None:
    for pid, parent in [(2, 1), (3, 2), (4, 3), (5, 2), (6, 1)]:
        process(tmp_path, pid, parent)
    (tmp_path / "self").mkdir()
    assert sorted(descendants(2, tmp_path)) == [3, 4, 5]
    assert descendants(6, tmp_path) == []


def test_a_name_may_hold_what_it_likes_and_the_dead_do_not_count(tmp_path: Path) -> None:
    process(tmp_path, 3, 2, name="a) S 9 (b")
    process(tmp_path, 4, 2, state="Z")
    (tmp_path / "5").mkdir()  # ended between the listing and the look
    assert descendants(2, tmp_path) == [3]


@pytest.mark.parametrize(
    ("mask", "expected"), [("0000000000000800", True), ("0000000000000400", False), ("", False)]
)
def test_a_handler_is_a_bit_of_the_mask(tmp_path: Path, mask: str, expected: bool) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "status").write_text(f"Name:\tx\nSigCgt:\t{mask}\n" if mask else "Name:\tx\n")
    assert catches(3, signal.SIGUSR2, tmp_path) is expected
    assert not catches(4, signal.SIGUSR2, tmp_path)


@contextmanager
def child(how: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child of ours that is `how` to SIGUSR2, once it is."""
    code = f"import signal, sys; signal.signal(signal.SIGUSR2, {how}); print(flush=True); input()"
    pipe = subprocess.PIPE
    made = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=pipe, stdout=pipe)
    assert made.stdout
    made.stdout.readline()
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


def test_only_who_has_a_handler_is_told() -> None:
    with (
        child("lambda *_: sys.exit(5)") as handles,
        child("signal.SIG_DFL") as dies,
        child("signal.SIG_IGN") as ignores,
    ):
        assert tell(os.getpid(), signal.SIGUSR2) == [handles.pid]
        assert handles.wait(timeout=30) == 5
        assert (dies.poll(), ignores.poll()) == (None, None)


def test_a_process_that_ended_meanwhile_is_passed_over(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    process(tmp_path, gone.pid, os.getpid())
    (tmp_path / str(gone.pid) / "status").write_text("SigCgt:\tffffffffffffffff\n")
    until(lambda: not Path(f"/proc/{gone.pid}").exists(), "the child to be gone")
    assert descendants(os.getpid(), tmp_path) == [gone.pid]
    assert gone.pid not in tell(os.getpid(), signal.SIGUSR2)
