"""`hsd run` killed on the SLURM of this machine: at each call to it, and at each line it notes."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fake_cluster import PROGRAMS
from ranks import Ended, start_command

from benchmarks.kill.campaign import Outcome
from benchmarks.kill.submission import write_sweep
from slurm.node.events import read_lines

NAME = "run, on SLURM"
HEAD = ["killed", "in the queue then", "what the next `hsd run` did", "in the end"]
PROFILE = """
shared_root = "{folder}/runs"
[slurm]
account = "hsd"
extra = {{ begin = "now+1hour" }}
"""
"""No job starts while its submission is played."""
SHIM = """#!/bin/sh
own="{program} $1"
case $1 in [0-9]*) own={program} ;; esac
echo "$own" >> {folder}/calls
call= at=0 when=
. {folder}/kill
[ "$own" = "$call" ] && [ "$(grep -cxFe "$call" {folder}/calls)" -ge "$at" ] ||
    exec {real} "$@"
case $when in
before) kill -9 $PPID; exit 1 ;;
late) kill -9 $PPID; sleep {late_s}; exec {real} "$@" ;;
after) {real} "$@"; kill -9 $PPID ;;
esac
"""
LATE_S = 8
"""How long a busy SLURM takes to accept a job whose hsd is dead: the next command has begun."""
_OWN = "hsd-pair-"
Queue = dict[str, tuple[bool, str]]
"""Of each stage in the queue: whether it is held, and what it waits for."""


@dataclass(frozen=True)
class Point:
    """Where a submission is killed: at a call to SLURM, or at a line of submissions.jsonl."""

    label: str
    at: int
    """Counted from 1: of the calls that are alike, or of all lines."""
    when: str
    call: str = ""
    """Program and first argument; empty for a line."""


def on_slurm(
    work: Path, share: float, tell: Callable[[str], None]
) -> tuple[Outcome, list[list[str]]]:
    """Return what came of killing a submission once at every point, with a row for each.

    In the end each stage of the sweep must be queued once, wait for the right ones, and none held.
    """
    began = time.monotonic()
    outcome = Outcome(NAME)
    prepare(work)
    try:
        whole, found = undisturbed(work)
        rows = []
        for point in found[:: max(1, round(1 / share))]:
            outcome.trials += 1
            outcome.kills += 1
            row, wrong = trial(work, point, whole)
            rows.append(row)
            outcome.note(f"{point.label}: {line}" for line in wrong)
            tell(f"{NAME}: {outcome.kills} kills, {len(outcome.wrong)} wrong; {' | '.join(row)}")
    finally:
        clear(work)
    outcome.seconds = time.monotonic() - began
    return outcome, rows


def can_submit() -> bool:
    """Whether this machine has a SLURM that answers."""
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "-h"], capture_output=True, check=False).returncode == 0


def undisturbed(work: Path) -> tuple[Queue, list[Point]]:
    """Return what an undisturbed submission leaves in the queue, and where it can be killed."""
    clear(work)
    end = _run(work)
    assert end.code == 0, end.said
    calls = (work / "calls").read_text().splitlines()
    lines = [_kind(line) for line in _notes(work)]
    return _queue(), [*_points(calls, lines)]


def _points(calls: list[str], lines: list[str]) -> Iterator[Point]:
    for call in dict.fromkeys(calls):
        total = calls.count(call)
        changes = "--parsable" in call or "release" in call
        for at in range(1, total + 1):
            which = f" ({at} of {total})" if total > 1 else ""
            for when in ("before", *(["late"] if changes else []), "after"):
                words = {"late": "during (SLURM answers late)"}.get(when, when)
                yield Point(f"{words} `{call}`{which}", at, when, call)
    for at, line in enumerate(lines, start=1):
        yield Point(f"half of line {at} ({line}) written", at, "torn")
        yield Point(f"after line {at} ({line})", at, "after")


def trial(work: Path, point: Point, whole: Queue) -> tuple[list[str], list[str]]:
    """Kill a submission, start it again; return a row, and what is wrong in the end."""
    clear(work)
    wrong = []
    if (code := _run(work, point).code) != -signal.SIGKILL:
        wrong.append(f"was not killed, but ended with {code}")
    left, known = _queue(), len(_jobs(work))
    end = _run(work)
    if end.code != 0:
        wrong.append(f"the same command again ended with {end.code}: {end.said[-300:]}")
    while _still_calls(work):
        time.sleep(0.1)
    if (found := _queue()) != whole:
        wrong.append(f"left over or missing: {found} for {whole}")
    said = re.findall(r"(?:killed half way: |late: )(.+?)\.$", end.said, re.MULTILINE)
    new = len(_jobs(work)) - known
    did = [*(re.sub(r" \(.*\)", "", one) for one in said), f"submitted {new or 'no'} jobs"]
    ends = "; ".join(wrong) or "each stage once"
    return [point.label, _words(left), ", ".join(did), ends], wrong


def _still_calls(work: Path) -> bool:
    """Whether a program that outlived its hsd is still to ask SLURM for something."""
    found = subprocess.run(["pgrep", "-f", f"{work}/bin/"], capture_output=True, check=False)
    return found.returncode == 0


def _words(queue: Queue) -> str:
    held = [stage for stage, (is_held, _) in queue.items() if is_held]
    free = [stage for stage, (is_held, _) in queue.items() if not is_held]
    parts = [f"{', '.join(names)} {word}" for names, word in ((held, "held"), (free, "released"))
             if names]  # fmt: skip
    return "; ".join(parts) or "nothing"


def _queue() -> Queue:
    """Return our jobs by their stage; one that is there twice has the number in its name."""
    form = "%F|%j|%r|%E"
    said = subprocess.run(
        ["squeue", "-h", "-a", "-o", form], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split("|") for line in said.splitlines() if f"|{_OWN}" in line]
    stages = {row[0]: row[1].removeprefix(_OWN) for row in rows}
    found: Queue = {}
    arrays = {row[0]: row for row in rows}  # squeue has a line for each part of an array
    for job, name, reason, after in sorted(arrays.values()):
        stage = name.removeprefix(_OWN)
        named = re.sub(r"\d+", lambda match: stages.get(match[0], match[0]), after)
        found[f"{stage} again ({job})" if stage in found else stage] = ("Held" in reason, named)
    return found


def _run(work: Path, point: Point | None = None) -> Ended:
    strike(work, point)
    arguments = [f"{work}/pair.toml", f"--cluster={work}/here.toml"]
    spoil = partial(_die_at_line, point.at, point.when) if point and not point.call else None
    path = {"PATH": f"{work}/bin:{os.environ['PATH']}"}
    (end,) = start_command("run", work, arguments, environment=path, prepare=spoil).ended()
    return end


def _die_at_line(at: int, when: str) -> None:
    """Let this process be killed at a line of submissions.jsonl: half written, or whole."""
    from slurm.node import events
    from slurm.run import submissions

    count = 0

    def append(path: Path, value: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == at and when == "torn":
            with path.open("a") as file:
                file.write(str(value)[:20])
            os.kill(os.getpid(), signal.SIGKILL)
        events.append_line(path, value)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    submissions.append_line = append  # type: ignore[attr-defined]


def prepare(work: Path) -> None:
    """Write the sweep, its profile, and the programs that kill who calls them."""
    write_sweep(work, PROFILE)
    write_shims(work)
    strike(work)


def write_shims(work: Path) -> None:
    """Write programs into `bin` that call SLURM's own, and kill where `strike` says."""
    (work / "bin").mkdir()
    for program in PROGRAMS:
        real = shutil.which(program)
        shim = SHIM.format(program=program, folder=work, real=real, late_s=LATE_S)
        (work / "bin" / program).write_text(shim)
        (work / "bin" / program).chmod(0o755)


def strike(work: Path, point: Point | None = None) -> None:
    """Let who makes a call be killed from now on; without one, nobody."""
    (work / "calls").unlink(missing_ok=True)
    words = f"call='{point.call}' at={point.at} when={point.when}" if point and point.call else ""
    (work / "kill").write_text(f"{words}\n")


def clear(work: Path) -> None:
    """Cancel our jobs, and forget the run."""
    said = subprocess.run(["squeue", "-h", "-a", "-o", "%F|%j"], capture_output=True, text=True)
    jobs = [line.split("|")[0] for line in said.stdout.splitlines() if f"|{_OWN}" in line]
    if jobs:
        subprocess.run(["scancel", *jobs], check=False)
    shutil.rmtree(work / "runs", ignore_errors=True)


def _notes(work: Path) -> list[dict[str, Any]]:
    return read_lines(work / "runs/pair/submissions.jsonl")


def _jobs(work: Path) -> list[str]:
    return [line["job_id"] for line in _notes(work) if "stage" in line]


def _kind(line: dict[str, Any]) -> str:
    return f"`{line['stage']} is job ...`" if "stage" in line else f"`{next(iter(line))}`"
