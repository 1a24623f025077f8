"""A disk that is full after so many bytes, for every command: a small tmpfs, which needs root."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ranks import Ended, Started, start_command

from benchmarks.kill.campaign import Outcome, complaints, undisturbed
from benchmarks.kill.cases import Case
from benchmarks.kill.state import State, differences, state

PAGE = 4096
ENOUGH = 1 << 30


def full_disk(case: Case, sizes: int, tell: Callable[[str], None]) -> Outcome:
    """Return what came of `sizes` disks, from one page to almost what the command needs.

    On each the command must end with one line, and go on to the same end once there is room.
    """
    began = time.monotonic()
    outcome = Outcome(f"{case.name}, disk full")
    whole, _ = undisturbed(case)
    pages = sum(-(-p.stat().st_size // PAGE) + 1 for p in case.place.rglob("*"))
    shutil.rmtree(case.place)
    for n in range(sizes):
        size = PAGE * (1 + n * pages // sizes)
        outcome.trials += 1
        outcome.kills += 1
        outcome.note(f"{size // 1024} KB: {line}" for line in _trial(case, size, whole))
        tell(f"{outcome.name}: {n + 1} of {sizes} sizes, {len(outcome.wrong)} wrong")
    outcome.seconds = time.monotonic() - began
    return outcome


def can_mount(folder: Path) -> bool:
    """Whether a tmpfs can be mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("mount") or _mount(folder, ENOUGH) != 0:
        return False
    _unmount(folder)
    return True


def no_space_check() -> None:
    """Let this process believe that there is room: else it would refuse before it writes."""
    room = shutil.disk_usage("/")._replace(free=1 << 50)
    shutil.disk_usage = lambda path: room


def _trial(case: Case, size: int, whole: State) -> Iterator[str]:
    case.place.mkdir(parents=True)
    assert _mount(case.place, size) == 0
    try:
        yield from filter(None, map(_complaint, _ends(case)))
        _mount(case.place, ENOUGH, "remount")
        yield from complaints(_start(case))
        yield from differences(whole, state(case.place))
    finally:
        _unmount(case.place)
        case.place.rmdir()


def _complaint(end: Ended) -> str:
    last = end.said.strip().splitlines()[-1:]
    if "Traceback" in end.said:
        return f"traceback: {last}"
    if end.code == 0:
        return ""  # it needs less than was thought
    if last and "another process of this training has ended" in last[0]:
        return ""  # which says why
    if not last or not re.search("/.*(no space left|free some space)", last[0], re.IGNORECASE):
        return f"ended with {end.code}, and says neither that the disk is full nor where: {last}"
    return ""


def _ends(case: Case) -> list[Ended]:
    ended: list[Ended] = _start(case, no_space_check).ended()
    return ended


def _start(case: Case, prepare: Callable[[], None] | None = None) -> Started:
    return start_command(
        case.command, case.place.parent, case.arguments, case.ranks, prepare=prepare
    )


def _mount(folder: Path, size: int, *options: str) -> int:
    option = ",".join((*options, f"size={size}"))
    command = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)
