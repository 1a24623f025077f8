"""CPU seconds and peak memory of a piece of work, in a process of its own."""

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

MIB = 1024


class WorkError(Exception):
    """A measured piece of work ended with an error, which its log shows."""


@dataclass(frozen=True, slots=True)
class Cost:
    """`system` is the kernel's part of the CPU seconds: page faults, mostly.

    `extra` is the peak of memory above what was there before: model, libraries and rows.
    """

    cpu_s: float
    system_s: float
    wall_s: float
    peak_mib: float
    extra_mib: float


class Meter:
    """Measures between `start` and `stop`, in this process and its finished children."""

    def __init__(self) -> None:
        self.cost: Cost | None = None
        self._began = (0.0, 0.0, 0.0, 0.0)

    def start(self) -> None:
        """Forget the peak so far, and begin."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak (VmHWM) is now what is held
        self._began = (*_cpu(), time.monotonic(), memory_mib("VmRSS"))

    def stop(self) -> None:
        """Take the cost since `start`."""
        cpu, system, wall, held = self._began
        (now, in_kernel), peak = _cpu(), memory_mib("VmHWM")
        self.cost = Cost(now - cpu, in_kernel - system, time.monotonic() - wall, peak, peak - held)


def forked(work: Callable[[], Mapping[str, Any]], log: Path) -> dict[str, Any]:
    """Return what `work` returns in a fork of this process, which prints into `log`.

    A fork has libraries and weights already and shares nothing it changes: no contender finds the
    memory, caches or patches of another. Raises WorkError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, log, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not answer:
        raise WorkError(f"ended with {os.waitstatus_to_exitcode(status)}; its output: {log}")
    result: dict[str, Any] = json.loads(answer)
    return result


def _be_child(work: Callable[[], Mapping[str, Any]], log: Path, writing: int) -> None:
    """Work, answer and end, without ever returning into the parent's code."""
    code = 1
    try:
        with log.open("ab", buffering=0) as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(work(), pipe)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def launched(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Return the cost of a whole command, from its start to its end. Raises WorkError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        began = time.monotonic()
        process = Popen(
            list(command), stdout=output, stderr=output, env=dict(environment), cwd=folder
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise WorkError(f"{command[:3]} ended with {process.returncode}; its output: {log}")
    peak = usage.ru_maxrss / MIB
    return asdict(Cost(usage.ru_utime + usage.ru_stime, usage.ru_stime, wall, peak, peak))


def _cpu() -> tuple[float, float]:
    """Return CPU seconds of this process and its finished children, and the kernel's part."""
    times = os.times()
    system = times.system + times.children_system
    return times.user + times.children_user + system, system


def memory_mib(field: str) -> float:
    """Return a field of /proc/self/status in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / MIB
