"""The fixtures `cluster` and `on_cluster`: the real Slurm of tests/slurm_testbed."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from waiting import until

TESTBED = Path(__file__).parents[1] / "slurm_testbed"
RUN, PORT = "/tmp/hsd-slurm", 26817  # as at the top of lib.sh
NO_CLUSTER_HERE = 77  # start.sh's exit code where the packages are missing and cannot be installed


@dataclass(frozen=True)
class Cluster:
    """A Slurm that runs. Folders of jobs may be anywhere that is not below `run`."""

    conf: Path
    run: Path
    env: dict[str, str]
    """What a program needs besides its own environment to talk to this Slurm."""
    nodes: tuple[str, ...]
    has_accounting: bool

    def call(self, *argv: str | Path, folder: Path | None = None) -> str:
        """Return what a command, such as `sinfo -h`, prints; fail with its own words."""
        done = _run(argv, os.environ | self.env, folder)
        assert done.returncode == 0, f"{argv}: {done.stderr or done.stdout}"
        return done.stdout

    def submit(self, script: Path, *options: str) -> str:
        """Submit a batch script from its own folder and return the job's id."""
        return self.call("sbatch", "--parsable", *options, script, folder=script.parent).strip()

    def state(self, job: str) -> str:
        """Return a job's or element's (`12_0`) state, as the controller knows it, such as RUNNING.

        The controller forgets a job five minutes after its end; until then it knows more than
        sacct, which lags, and it does not need accounting.
        """
        shown = self.call("scontrol", "--oneliner", "show", "job", job)
        return str(re.findall(r"\bJobState=(\w+)", shown)[0])

    def wait(self, job: str, *states: str, seconds: float = 60) -> str:
        """Wait until a job or an element is in one of `states`, and return which."""
        wanted = f"{job} to be {' or '.join(states)}"
        return until(lambda: (now := self.state(job)) in states and now, wanted, seconds, every=0.2)

    def node(self, action: str, name: str) -> None:
        """Let a node die (`down`; `crash` tells no one) or bring it back (`up`)."""
        self.call(TESTBED / "node.sh", action, name)


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    """Run start.sh with some of the settings at the top of lib.sh."""
    return _run([TESTBED / "start.sh"], os.environ | settings)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a running Slurm; one that was not running before is stopped at the end.

    SLURM_TESTBED says of which version: 22.05 or 24.11. Each of several test processes has one of
    its own: most tests wait for SLURM, and a node that dies is nobody else's.
    """
    own = _own_place(os.environ.get("PYTEST_XDIST_WORKER", ""))
    done = start(**own)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["start.sh failed and said nothing"])[-1]
        if done.returncode == NO_CLUSTER_HERE and os.environ.get("CI") != "true":
            pytest.skip(why)
        pytest.fail(f"{TESTBED / 'start.sh'}: {done.stderr or why}", pytrace=False)
    try:
        yield _found(Path((os.environ | own).get("HSD_SLURM_RUN", RUN)))
    finally:
        if "already running" not in done.stderr:
            _run([TESTBED / "stop.sh"], os.environ | own)


def _own_place(worker: str) -> dict[str, str]:
    """Return the settings of a test process's own cluster, such as gw1's; none for the only one."""
    if not worker:
        return {}
    number = int(worker.removeprefix("gw")) + 1
    run = os.environ.get("HSD_SLURM_RUN", RUN)
    port = int(os.environ.get("HSD_SLURM_PORT", PORT)) + 100 * number
    return {
        "HSD_SLURM_RUN": f"{run}-{number}",
        "HSD_SLURM_PORT": str(port),
        "HSD_SLURM_CLUSTER": f"hsdtest{number}",
    }


@pytest.fixture
def on_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Give the cluster, with this process's own environment pointing at it."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def no_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a sacct first on PATH that says what it says on a cluster without accounting."""
    folder = tmp_path / "no_accounting"
    folder.mkdir()
    text = "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"
    (folder / "sacct").write_text(text, encoding="utf-8")
    (folder / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def _found(run: Path) -> Cluster:
    conf = run / "etc" / "slurm.conf"
    env = {"SLURM_CONF": str(conf), "HSD_SLURM_RUN": str(run)} | _path(run)
    text = conf.read_text(encoding="utf-8")
    nodes = tuple(re.findall(r"^NodeName=(?!DEFAULT)(\S+)", text, re.MULTILINE))
    return Cluster(conf, run, env, nodes, "accounting_storage/slurmdbd" in text)


def _path(run: Path) -> dict[str, str]:
    """Return PATH with the commands of another version first; none for the machine's own."""
    settings = (run / "etc" / "settings.sh").read_text(encoding="utf-8")
    root = re.findall(r"^ROOT=(.+)", settings, re.MULTILINE)
    return {"PATH": f"{root[0]}/bin:{os.environ['PATH']}"} if root else {}


def _run(
    argv: tuple[str | Path, ...] | list[Path],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=400, check=False
    )
