"""What a job uses of what it booked, sampled while it runs. Standard library alone.

Memory is what the processes hold themselves: pages of files, such as weights that are mapped, can
be taken back by the system. GPUs are asked through nvidia-smi, NVML's own program.
"""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from slurm.node.descendants import PROC, descendants
from slurm.node.work_seen import WorkSeen

EVERY_S = 15.0
GPU_QUERY = (
    "--query-gpu=utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
)
_ANSWERS_S = 60.0
"""nvidia-smi of a broken driver never answers; it is ended and not asked again."""
_KIB, _MIB, _GB = 1024, 1024**2, 1e9


@dataclass(frozen=True)
class _GpuQuestion:
    """An nvidia-smi that was started, where its answer goes, and when."""

    process: "subprocess.Popen[bytes]"
    answer: IO[bytes]
    at: float


class UsageMeter:
    """Looks at the processes below this one, and at the job's GPUs, every fifteen seconds."""

    def __init__(
        self, environ: Mapping[str, str], proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic, work: WorkSeen | None = None,
    ) -> None:  # fmt: skip
        self.work = work or WorkSeen()
        """How far the work is."""
        self._proc, self._clock = proc, clock
        self._smi = _gpu_command(environ)
        self._asked: _GpuQuestion | None = None
        self._looked_at: float | None = None
        self._cpu_before = _cpu_s()
        self._memory = 0
        self._busy: list[float] = []
        self._gpu_memory = self._gpu_total = 0.0

    def look(self) -> None:
        """Take a sample, where it is time to; waits for nothing."""
        self._hear()
        self.work.look()
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        self._memory = max(
            self._memory, held_bytes(descendants(os.getpid(), self._proc), self._proc)
        )
        self._ask(now)

    def facts(self, *, of_processes: bool = True) -> dict[str, float]:
        """Return the most memory and the CPU time; of GPUs their mean use and the most memory.

        Without `of_processes` only of GPUs: those of a Docker container are not below this one.
        """
        self._hear()
        self._give_up()
        found = {}
        if of_processes:
            found = {"memory_gb": self._memory / _GB, "cpu_s": _cpu_s() - self._cpu_before}
        if self._busy:
            found["gpu_percent"] = sum(self._busy) / len(self._busy)
            found["gpu_memory_gb"] = self._gpu_memory / _GB
            found["gpu_total_gb"] = self._gpu_total / _GB
        return {name: round(value, 3) for name, value in found.items()}

    def _ask(self, now: float) -> None:
        if not self._smi or self._asked:
            return
        # Not a pipe, which whatever it starts would keep open.
        answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it has been read
        try:
            asked = subprocess.Popen(
                self._smi, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            answer.close()
            self._smi = ()
            return
        self._asked = _GpuQuestion(asked, answer, now)

    def _hear(self) -> None:
        """Take nvidia-smi's answer, if there is one; one that is late is ended."""
        asked = self._asked
        if asked is None:
            return
        if asked.process.poll() is None:
            if self._clock() - asked.at > _ANSWERS_S:
                self._give_up()
            return
        self._asked = None
        asked.answer.seek(0)
        said = asked.answer.read().decode("utf-8", errors="replace")
        asked.answer.close()
        for busy, used, total in gpu_samples(said):
            self._busy.append(busy)
            self._gpu_memory = max(self._gpu_memory, used)
            self._gpu_total = max(self._gpu_total, total)

    def _give_up(self) -> None:
        """End an nvidia-smi that does not answer, and ask none again.

        Nobody waits for it: with a broken driver no signal ends it, and the job must.
        """
        if self._asked:
            with suppress(OSError):
                os.killpg(self._asked.process.pid, signal.SIGKILL)
            self._asked.answer.close()
        self._asked, self._smi = None, ()


def gpu_samples(said: str) -> list[tuple[float, float, float]]:
    """Return of each GPU in nvidia-smi's lines: percent busy, bytes used, bytes in all."""
    found = []
    for line in said.splitlines():
        try:
            busy, used, total = (float(part) for part in line.split(","))
        except ValueError:  # "[N/A]", or an error in words
            continue
        found.append((busy, used * _MIB, total * _MIB))
    return found


def held_bytes(pids: list[int], proc: Path = PROC) -> int:
    """Return the memory that processes hold themselves; one that has ended holds none."""
    return sum(_held(proc / str(pid) / "status") for pid in pids)


def _held(status: Path) -> int:
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    named = dict(line.partition(":")[::2] for line in text.splitlines())
    return sum(_kib(named.get(name, "")) for name in ("RssAnon", "RssShmem"))


def _kib(words: str) -> int:
    number = words.split()[:1]
    return int(number[0]) * _KIB if number and number[0].isdigit() else 0


def _gpu_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command that asks about the job's own GPUs; empty for a job without any."""
    own = environ.get("CUDA_VISIBLE_DEVICES", "")
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    return (program, f"--id={own}", *GPU_QUERY) if own and program else ()


def _cpu_s() -> float:
    """Return the CPU time of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
