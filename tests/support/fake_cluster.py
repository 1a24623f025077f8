"""The fixture `fake`: SLURM's programs on PATH, but a fake one's, which a test can spoil."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import processes, store
from waiting import until

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "srun")
# -S: they need nothing but the standard library, and start twice as fast.
WRAPPER = """\
#!{python} -S
import json, os, sys
os.environ["FAKE_SLURM"] = {root!r}
sys.path.insert(0, {tests!r})
with open({root!r} + "/calls.jsonl", "a") as calls:
    calls.write(json.dumps([{program!r}, *sys.argv[1:]]) + "\\n")
from fake_slurm.faults import strike_caller
strike_caller("before")
try:
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.exit(print("slurm-wlm 22.05.8"))
    from fake_slurm.{program} import main
    main(sys.argv[1:])
finally:
    strike_caller("after")
"""


@dataclass(frozen=True)
class Fake:
    """A SLURM whose jobs are background processes of this machine."""

    root: Path
    bin: Path

    def fault(self, **faults: Any) -> None:
        """Make something go wrong from now on; the list is in fake_slurm/faults.py."""
        file = self.root / "faults.json"
        now = json.loads(file.read_text()) if file.exists() else {}
        file.with_suffix(".new").write_text(json.dumps(now | faults))
        file.with_suffix(".new").replace(file)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        (self.root / "faults.json").unlink(missing_ok=True)

    def scripts(self) -> list[bytes]:
        """Return the accepted scripts, byte for byte, in the order of their submission."""
        return [Path(job["files"], "script").read_bytes() for job in self.jobs()]

    def environments(self) -> list[dict[str, str]]:
        """Return the environment that sbatch had at each accepted submission."""
        return [json.loads(Path(j["files"], "environment.json").read_text()) for j in self.jobs()]

    def arguments(self) -> list[list[str]]:
        """Return sbatch's arguments of each accepted submission."""
        return [json.loads(Path(j["files"], "argv.json").read_text()) for j in self.jobs()]

    def calls(self, program: str) -> list[list[str]]:
        """Return the arguments of each call of a program, refused or not."""
        file = self.root / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [words for name, *words in map(json.loads, lines) if name == program]

    def jobs(self) -> list[store.Job]:
        """Return all jobs, as fake_slurm/store.py describes them."""
        return list(store.read(self.root)["jobs"])

    def element(self, name: str) -> store.Element:
        """Return what is known of the element `1001_0` (of a job without array: `1001`)."""
        pairs = [(job, element) for job in self.jobs() for element in job["elements"]]
        return next(element for job, element in pairs if store.name(job, element) == name)

    def state(self, name: str) -> str:
        """Return an element's state."""
        return str(self.element(name)["state"])

    def wait(self, name: str, *states: str, seconds: float = 20) -> str:
        """Wait until an element is in one of `states`, and return which."""
        wanted = f"{name} to be {' or '.join(states)}; {self.root / 'runners.txt'} may say why"
        return until(lambda: (now := self.state(name)) in states and now, wanted, seconds, 0.02)

    def strike(self, name: str, state: str, requeue: bool = False, code: str = "0:0") -> None:
        """End a running element as the cluster would: TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, ..."""
        with store.changed() as queue:
            for _, element in store.selected(queue, name):
                store.command(element, state, requeue, code)


def fake_slurm(root: Path) -> Fake:
    """Return a fake SLURM with its programs and queue below `root`."""
    made = Fake(root, root / "bin")
    made.bin.mkdir(parents=True)
    for program in PROGRAMS:
        names = {"root": str(root), "tests": str(Path(__file__).parent), "program": program}
        (made.bin / program).write_text(WRAPPER.format(python=sys.executable, **names))
        (made.bin / program).chmod(0o755)
    return made


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Give a fake SLURM that is first on PATH; nothing of it runs after the test."""
    root = tmp_path / "fake_slurm"
    made = fake_slurm(root)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(root))
    # Commands leave it ignored, and no script of a job could trap what was ignored before it.
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    yield made
    while left := processes.of_queue(root):
        processes.send(left, signal.SIGKILL)
