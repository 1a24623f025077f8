"""What jobs used of what they booked: sampled on the node, told by `hsd cost`."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hsd.io.files import write_json
from slurm.cluster.stage_config import StageConfig
from slurm.node import usage
from slurm.node.descendants import PROC
from slurm.node.events import append_line
from slurm.node.usage import UsageMeter, gpu_samples, held_bytes
from slurm.watch.booked import StageUse, measured, profile_lines, stage_uses

SMI = """#!/bin/sh
echo "$@" >> {asked}
echo "80, 20000, 81920"
echo "40, 30000, 81920"
"""


def process(proc: Path, pid: int, parent: int, anon_kib: int, file_kib: int = 0) -> None:
    """Make a process as /proc shows it."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (a name) S {parent} 0 0")
    (folder / "status").write_text(
        f"Name:\ta\nRssAnon:\t{anon_kib} kB\nRssFile:\t{file_kib} kB\nRssShmem:\t1024 kB\n"
    )


class Clock:
    """A clock that stands until it is told to go on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def meter(tmp_path: Path, clock: Clock, smi: str = "", gpus: str = "0,1") -> UsageMeter:
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    if smi:
        (programs / "nvidia-smi").write_text(smi)
        (programs / "nvidia-smi").chmod(0o755)
    environ = {"PATH": str(programs), "CUDA_VISIBLE_DEVICES": gpus}
    return UsageMeter(environ, tmp_path / "proc", clock)


def answered(one: UsageMeter) -> None:
    """Wait until nvidia-smi has ended, so that the next look hears it."""
    if one._asked:
        one._asked.process.wait(30)


def test_memory_is_what_processes_hold_themselves_at_most(tmp_path: Path) -> None:
    proc, clock = tmp_path / "proc", Clock()
    process(proc, 900, os.getpid(), 1024 * 1024, file_kib=9_000_000)
    process(proc, 901, 900, 1024 * 1024)
    process(proc, 902, 1, 50 * 1024 * 1024)  # somebody else's
    one = meter(tmp_path, clock)
    one.look()
    (proc / "901" / "status").unlink()
    clock.now += usage.EVERY_S
    one.look()
    assert one.facts()["memory_gb"] == pytest.approx(2 * (1024 + 1) * 1024**2 / 1e9, abs=1e-3)


def test_samples_are_taken_every_fifteen_seconds_and_not_at_each_look(tmp_path: Path) -> None:
    proc, clock = tmp_path / "proc", Clock()
    process(proc, 900, os.getpid(), 1024)
    one = meter(tmp_path, clock)
    one.look()
    (proc / "900" / "status").write_text("RssAnon:\t9000000 kB\n")
    clock.now += usage.EVERY_S / 2
    one.look()
    assert one.facts()["memory_gb"] < 0.1


def test_of_gpus_the_mean_use_and_the_fullest_count(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    asked, clock = tmp_path / "asked", Clock()
    one = meter(tmp_path, clock, SMI.format(asked=asked))
    one.look()
    answered(one)
    found = one.facts()
    assert found["gpu_percent"] == 60
    assert found["gpu_memory_gb"] == pytest.approx(30000 * 1024**2 / 1e9, abs=1e-3)
    assert found["gpu_total_gb"] == pytest.approx(81920 * 1024**2 / 1e9, abs=1e-3)
    assert asked.read_text().startswith("--id=0,1 --query-gpu=utilization.gpu")


@pytest.mark.parametrize(
    ("smi", "gpus"),
    [("", "0"), ("#!/bin/sh\nexit 9\n", "0"), ("#!/bin/sh\necho '[N/A], 1, 2'\n", "0"),
     (SMI.format(asked="/dev/null"), "")],
)  # fmt: skip
def test_a_job_without_gpus_or_an_answer_says_nothing_of_gpus(
    tmp_path: Path, smi: str, gpus: str
) -> None:
    (tmp_path / "proc").mkdir()
    one = meter(tmp_path, Clock(), smi, gpus)
    one.look()
    answered(one)
    assert one.facts().keys() == {"memory_gb", "cpu_s"}


def test_an_nvidia_smi_that_never_answers_keeps_no_job_from_ending(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    clock = Clock()
    one = meter(tmp_path, clock, "#!/bin/sh\n/bin/sleep 600 &\n/bin/sleep 600\n")
    one.look()
    assert one._asked
    process = one._asked.process
    assert "gpu_percent" not in one.facts()
    assert one._asked is None
    assert process.wait(30) == -signal.SIGKILL


def test_an_nvidia_smi_that_no_signal_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    clock = Clock()
    one = meter(tmp_path, clock, "#!/bin/sh\nexec /bin/sleep 600\n")
    one.look()
    assert one._asked
    process = one._asked.process
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda *_: None)  # as in an uninterruptible sleep
        clock.now += 61
        one.look()
    assert process.poll() is None
    assert one._asked is None
    process.kill()
    process.wait(30)


def test_an_answer_is_heard_though_what_it_started_goes_on(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    one = meter(tmp_path, Clock(), "#!/bin/sh\n/bin/sleep 30 &\necho 80, 1, 2\n")
    one.look()
    answered(one)
    assert one.facts()["gpu_percent"] == 80


def test_lines_that_are_no_samples_are_skipped() -> None:
    assert gpu_samples("Unable to determine the device handle\n1, 2, 3\n") == [
        (1.0, 2 * 1024**2, 3 * 1024**2)
    ]


def test_this_process_holds_memory() -> None:
    assert held_bytes([os.getpid()], PROC) > 1_000_000


def started(at: str, job: str = "7_0") -> dict[str, Any]:
    return {"at": f"2026-01-01T{at}+00:00", "event": "started", "job": job}


def ended(at: str, job: str = "7_0", event: str = "ended", **used: float) -> dict[str, Any]:
    return {"at": f"2026-01-01T{at}+00:00", "event": event, "job": job, "used": used}


def test_each_attempt_is_measured_from_its_own_start() -> None:
    found = measured(
        [
            started("00:00:00"),
            ended("00:10:00", event="requeued", memory_gb=10, cpu_s=600),
            started("01:00:00"),
            ended("01:02:00", memory_gb=30, cpu_s=240),
        ]
    )
    assert [one.seconds for one in found] == [600, 120]


def test_an_attempt_of_a_few_seconds_and_one_of_an_older_hsd_say_nothing() -> None:
    quick = [started("00:00:00"), ended("00:00:20", memory_gb=1, cpu_s=1)]
    older = [started("00:00:00"), {**ended("01:00:00"), "used": None}]
    assert not measured(quick)
    assert not measured(older)


def test_an_attempt_that_failed_did_not_get_to_what_others_need() -> None:
    assert not measured([started("00:00:00"), {**ended("01:00:00", memory_gb=2), "code": 1}])


def test_an_attempt_that_was_killed_never_asks_for_less_memory() -> None:
    (one,) = measured([started("00:00:00"), {**ended("01:00:00", memory_gb=20), "code": 137}])
    assert one.killed
    assert profile_lines([use(memory_gb=20.0, cores=30.0, killed=True)]) == []
    assert profile_lines([use(memory_gb=20.0, cores=30.0)])


def use(**facts: Any) -> StageUse:
    booked = StageConfig(gpus=4, cpus=32, memory_gb=240)
    return StageUse("train", booked, 1, **{"memory_gb": 31.2, "cores": 5.5, **facts})


def test_a_booking_far_above_what_was_used_gets_another_line() -> None:
    assert profile_lines([use()]) == [
        "[stages.train]",
        "memory_gb = 40  # booked 240, used 31.2 at most",
        "cpus = 7  # booked 32, used 5.5",
    ]


def test_a_booking_that_was_almost_used_up_is_raised() -> None:
    (_, line) = profile_lines([use(memory_gb=230.0, cores=30.0)])
    assert line == "memory_gb = 289  # booked 240, used 230.0 at most"


def test_a_booking_that_fits_stays() -> None:
    assert not profile_lines([use(memory_gb=180.0, cores=25.0)])


def test_each_rank_keeps_a_core() -> None:
    assert profile_lines([use(memory_gb=180.0, cores=0.2)])[1].startswith("cpus = 4 ")


def test_a_run_s_stages_are_measured_over_all_cells(tmp_path: Path) -> None:
    write_json(
        tmp_path / "run.json",
        {"profile": {"stages": {"train": {"memory_gb": 240, "cpus": 32}, "evaluate": {}}}},
    )
    for cell, memory in (("a", 20.0), ("b", 31.2)):
        for line in (started("00:00:00"), ended("01:00:00", memory_gb=memory, cpu_s=7200)):
            append_line(tmp_path / "cells" / cell / "attempts" / "train.jsonl", line)
    for line in (started("00:00:00"), ended("00:05:00", memory_gb=3.0, cpu_s=60)):
        append_line(tmp_path / "cells" / "baseline" / "attempts" / "baseline.jsonl", line)
    train, evaluate = stage_uses(tmp_path)
    assert (train.stage, train.attempts, train.memory_gb, train.cores) == ("train", 2, 31.2, 2.0)
    assert (evaluate.stage, evaluate.memory_gb) == ("evaluate", 3.0)
