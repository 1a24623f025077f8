"""The process that vLLM runs in, as hsd talks to it: it never outlives hsd, and never hangs it."""

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import finalize

from hsd.errors import EvaluationError, HsdError
from hsd.inference import vllm_worker
from hsd.io.json_reader import parse_json
from hsd.model.memory import is_memory_error, memory_code
from hsd.visible import visible

_NOTICED_S = 0.1
"""How often a stop is looked for while vLLM computes."""
_END_S = 5.0
"""How long the end of a process may take that has closed its answers."""
_CHUNK = 1 << 20
_LONGEST = 300
"""Most characters of vLLM's own words in an error."""

Settings = Mapping[str, Any]


class VllmProcess:
    """A model that another Python has loaded with vLLM, until it is closed.

    `check_stop` is called while hsd waits, and may raise; then the process is killed. What vLLM
    writes goes to the file `log`. Raises EvaluationError in one line where vLLM fails.
    """

    def __init__(
        self, python: Path, settings: Settings, log: Path, check_stop: Callable[[], None]
    ) -> None:
        self._log, self._check_stop, self._read = log, check_stop, b""
        own, theirs = os.pipe()
        self._answers = own
        with log.open("ab") as file:
            self._log_begins = file.tell()  # an earlier start's words are before
            self._process = subprocess.Popen(
                [str(python), "-P", str(Path(vllm_worker.__file__).resolve()), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
                env=environment(os.environ),
                start_new_session=True,  # the terminal's Ctrl-C is hsd's, and so is the end
            )
        os.close(theirs)
        assert self._process.stdin
        self._requests = self._process.stdin.fileno()
        os.set_blocking(self._requests, False)  # a stop is heard while vLLM reads nothing
        self.close = finalize(self, _end, self._process, own)
        """End the process with all that it started; so does the end of whoever holds this."""
        self.facts: dict[str, Any] = self._said("ready", settings)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether it can be asked: no failure and no `close` ended it."""
        return bool(self.close.alive)

    def ask(self, what: str, **request: Any) -> Any:
        """Return what the process answers."""
        return self._said("answer", {"ask": what, **request})

    def _said(self, part: str, request: Settings) -> Any:
        """Send a line and return the part of the next one that is meant; closed if that fails."""
        try:
            with suppress(BrokenPipeError):  # what it died of is told by its end
                self._send(json.dumps(dict(request)).encode() + b"\n")
            line = self._line()
            said = parse_json(line, "vLLM", EvaluationError) if line else {}
            if part in said:
                return said[part]
            how = "" if line else self._end_said()
        except BaseException:
            self.close()
            raise
        self.close()
        raise self._failed(said.get("error"), how)

    def _send(self, line: bytes) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_WRITE)
            while line:
                self._check_stop()
                if selector.select(_NOTICED_S):
                    line = line[os.write(self._requests, line) :]

    def _line(self) -> bytes:
        """Return the next line; nothing where the process ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._read:
                self._check_stop()
                if not selector.select(_NOTICED_S):
                    continue
                chunk = os.read(self._answers, _CHUNK)
                if not chunk:
                    return b""
                self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _end_said(self) -> str:
        """Return how a process ended that says nothing more: ` with exit status 1`."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_END_S)
            return f" with exit status {code}" if code >= 0 else f" by signal {_signal(-code)}"
        return ""

    def _failed(self, said: str | None, how: str) -> HsdError:
        written = self._log.read_bytes()[self._log_begins :].decode("utf-8", "replace")
        words = last_line(said or written) or "it wrote nothing"
        error = RuntimeError(words)
        return EvaluationError(
            f"vLLM ended{how}: {visible(words)[:_LONGEST]}. What it wrote before is in "
            f"{self._log}; --engine hsd, the default, answers without vLLM.",
            code=memory_code(error) if is_memory_error(error) else None,
        )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the many without a name
        return str(number)


def _end(process: "subprocess.Popen[bytes]", answers: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        with suppress(OSError):  # what it was asked when it died
            process.stdin.close()
    os.close(answers)


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the process: the user's, but for what hsd has to decide.

    On a CPU, vLLM would bind its threads to the first cores, whoever computes there, and take most
    of the memory for keys and values. libc would give the memory of every large matrix back to the
    system and fetch it again: that took as long as the arithmetic.
    """
    decided = {
        "HF_HUB_OFFLINE": "1",  # hsd has fetched the files
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which ends as one
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "0",
    }
    defaults = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(4 * 1024**3),
    }
    left_out = ("PYTHONPATH", "PYTHONHOME")
    return {**defaults, **{k: v for k, v in own.items() if k not in left_out}, **decided}


def last_line(text: str) -> str:
    """Return the last line of a text that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""
