"""Who works in a folder: one at a time, found out when dead, and told when it was taken over."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from stolen import stolen
from waiting import until

from hsd.errors import InUseError, PreflightError, TakenOver
from hsd.io import lease
from hsd.io.files import is_empty
from hsd.io.lease import Holder, hold_lease, ticks_of
from hsd.io.run_identity import claim, require_own

CHECKOUT = Path(__file__).parent.parent
ELSEWHERE: dict[str, Any] = {"host": "node9", "pid": 4242, "boot": "another kernel"}
LONG_AGO = 2 * lease.STALE_S


@pytest.fixture(autouse=True)
def _no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def worker() -> Iterator[Callable[[Path], Any]]:
    """Give `worker(folder)`: a process that holds the lease until its input ends."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom hsd.io.lease import hold_lease\n"
        "with hold_lease(Path(sys.argv[1]), 'hsd train'):\n    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with ExitStack() as stack:

        def start(folder: Path) -> Any:
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(folder)],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            return process

        yield start


def left_by(folder: Path, age_s: float = 0, **changes: Any) -> Holder:
    """Put a lease into a folder, as another holder left it so many seconds ago."""
    file = folder / ".lease"
    holder = stolen(file, **changes)
    at = file.stat().st_mtime - age_s
    os.utime(file, (at, at))
    return holder


def taken(folder: Path) -> Holder:
    """Take the lease of a folder and return who holds it then."""
    with hold_lease(folder, "hsd train"):
        found = lease._holder((folder / ".lease").read_bytes())
        assert found is not None
        return found


def test_a_second_start_is_refused_in_one_line_that_says_who_works_there(
    tmp_path: Path, worker: Callable[[Path], Any]
) -> None:
    run = tmp_path / "run"
    process = worker(run)
    with pytest.raises(InUseError) as error, hold_lease(run, "hsd evaluate"):
        pass
    said = str(error.value)
    host = os.uname().nodename
    assert said.startswith(f"{run} is in use: hsd train (process {process.pid} on {host}) since 2")
    assert "heard of 0 s ago" in said or "heard of 1 s ago" in said
    assert f"remove {run / '.lease'}." in said
    assert "\n" not in said
    assert error.value.exit_code == PreflightError.exit_code
    process.communicate()
    assert taken(run).pid == os.getpid()


def test_in_one_process_too_a_folder_is_held_once(tmp_path: Path) -> None:
    with (
        hold_lease(tmp_path, "hsd train"),
        pytest.raises(InUseError),
        hold_lease(tmp_path, "hsd train"),
    ):
        pass


def test_after_a_kill_the_next_start_takes_over_at_once(
    tmp_path: Path, worker: Callable[[Path], Any]
) -> None:
    process = worker(tmp_path / "run")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for it
    assert taken(tmp_path / "run").pid == os.getpid()
    assert not (tmp_path / "run" / ".lease").exists()


def test_a_process_id_that_is_used_again_is_not_the_one_that_began(tmp_path: Path) -> None:
    began = ticks_of(os.getpid())
    assert began is not None
    left_by(tmp_path, ticks=began - 1)
    assert taken(tmp_path).ticks == began


def test_who_lives_on_this_host_is_not_taken_over_however_long_it_is_silent(
    tmp_path: Path, worker: Callable[[Path], Any]
) -> None:
    process = worker(tmp_path)
    process.send_signal(signal.SIGSTOP)
    file = tmp_path / ".lease"
    os.utime(file, (1, 1))
    with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
        pass
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("where", [ELSEWHERE, {"pids": "pid:[1]"}, {"boot": None}])
def test_another_machine_or_container_is_judged_by_its_renewals_alone(
    where: dict[str, Any], tmp_path: Path
) -> None:
    left_by(tmp_path, age_s=lease.STALE_S - 60, **where)
    with (
        pytest.raises(InUseError, match="was heard of 5[34]. s ago"),
        hold_lease(tmp_path, "hsd train"),
    ):
        pass
    left_by(tmp_path, age_s=lease.STALE_S + 60, **where)
    assert taken(tmp_path).pid == os.getpid()


def test_a_process_that_proc_hides_is_judged_by_its_renewals_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_user(pid: int, number: int) -> None:
        raise PermissionError

    left_by(tmp_path, pid=2**22 + 7, age_s=lease.STALE_S - 60)  # nobody's id: as hidepid shows it
    monkeypatch.setattr(os, "kill", of_another_user)
    with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
        pass
    monkeypatch.undo()
    assert taken(tmp_path).pid == os.getpid()


def test_files_in_a_folder_that_is_no_run_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / ".settings.json.original"  # looks as a write of ours that was killed
    theirs.write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    with hold_lease(tmp_path, "hsd prepare"):
        pass
    assert theirs.exists()


def test_a_file_that_is_not_whole_counts_as_a_lease_until_it_is_old(tmp_path: Path) -> None:
    for text in (b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"):
        left_by(tmp_path)
        (tmp_path / ".lease").write_bytes(text)
        with pytest.raises(InUseError, match="another process"), hold_lease(tmp_path, "hsd train"):
            pass
        os.utime(tmp_path / ".lease", (1, 1))
        assert taken(tmp_path)


def test_what_a_lease_says_cannot_steer_a_terminal(tmp_path: Path) -> None:
    left_by(tmp_path, **ELSEWHERE | {"host": "node9\x1b[2J\n\u202e"}, job="1\x07@")
    with (
        pytest.raises(InUseError, match="on node9.2J, SLURM job 1.") as error,
        hold_lease(tmp_path, "x"),
    ):
        pass
    assert str(error.value).isprintable()


def test_a_later_attempt_of_the_same_job_takes_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "WATCH_S", 0.0)
    monkeypatch.setattr(lease, "_is_silent", lambda *_: False)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "north")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    for job, attempt in (("17@north", 2), ("17@south", 1), ("18@north", 1), (None, 0)):
        left_by(tmp_path, **ELSEWHERE, job=job, attempt=attempt)
        with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
            pass
    left_by(tmp_path, **ELSEWHERE, job="17@north", attempt=1)
    assert taken(tmp_path).attempt == 2


def test_a_job_waits_for_a_sign_of_life_and_takes_over_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "WATCH_S", 0.2)
    monkeypatch.setattr(lease, "POLL_S", 0.01)
    left_by(tmp_path, **ELSEWHERE)
    with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert taken(tmp_path).job == "18@"
    left_by(tmp_path, **ELSEWHERE)
    monkeypatch.setattr(lease, "WATCH_S", 1e6)
    monkeypatch.setattr(time, "sleep", lambda _: os.utime(tmp_path / ".lease"))
    with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
        pass


def test_nothing_is_left_after_success_failure_or_refusal(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "run"
    with hold_lease(deep, "hsd train"):
        assert [path.name for path in deep.iterdir()] == [".lease"]
    assert not (tmp_path / "a").exists()
    with pytest.raises(FileNotFoundError), hold_lease(deep, "hsd train"):
        (deep / "work").write_bytes((deep / "nowhere").read_bytes())
    assert not deep.exists()
    deep.mkdir(parents=True)
    (deep / "work").touch()
    with pytest.raises(FileNotFoundError), hold_lease(deep, "hsd train"):
        (deep / "nowhere").read_bytes()
    assert [path.name for path in deep.iterdir()] == ["work"]
    left_by(deep, **ELSEWHERE)
    with pytest.raises(InUseError), hold_lease(deep, "hsd train"):
        pass
    assert sorted(path.name for path in deep.iterdir()) == [".lease", "work"]


def test_a_folder_that_only_holds_a_lease_is_empty(tmp_path: Path) -> None:
    run = tmp_path / "run"
    left_by(run)
    assert is_empty(run)
    require_own(run, {"kind": "train"})
    claim(run, {"kind": "train"})
    assert not is_empty(run)


def test_where_nothing_can_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "is a file"), (tmp_path / "file/run", "cannot be")):
        with pytest.raises(PreflightError, match=why), hold_lease(folder, "hsd train"):
            pass


def test_what_is_no_lease_and_cannot_become_one_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / ".lease").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PreflightError, match="remove what stands there"), hold_lease(tmp_path, "x"):
        pass


def test_a_renewal_changes_the_files_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    file = tmp_path / ".lease"
    with hold_lease(tmp_path, "hsd train"):
        before = file.read_bytes()
        os.utime(file, (1, 1))
        until(lambda: file.stat().st_mtime > 1, "a renewal")
        assert file.read_bytes() == before


def test_who_lost_its_lease_is_told_and_leaves_the_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    told: list[str] = []
    with hold_lease(tmp_path, "hsd train", lost=told.append) as mine:
        other = left_by(tmp_path, **ELSEWHERE)
        until(lambda: told, "the news")
        with pytest.raises(TakenOver, match="hsd train .process 4242 on node9"):
            mine.require()
    assert lease._holder((tmp_path / ".lease").read_bytes()) == other
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path} was taken over: ")


def test_a_lease_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    with hold_lease(tmp_path, "hsd train") as mine:
        (tmp_path / ".lease").unlink()
        mine.require()
        with pytest.raises(InUseError), hold_lease(tmp_path, "hsd train"):
            pass


def test_it_says_what_is_needed_to_find_the_holder_and_no_argument_of_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hsd", "train", "--set", "token=hf_secret"])
    with hold_lease(tmp_path, "hsd train"):
        said = json.loads((tmp_path / ".lease").read_text())
    assert said["host"] == os.uname().nodename
    assert (said["pid"], said["ticks"]) == (os.getpid(), ticks_of(os.getpid()))
    assert said["work"] == "hsd train"
    assert "hf_secret" not in str(said)


ROUNDS, RIVALS = 200, 2


def rival(folder: Path, line: Barrier, won: "Queue[tuple[int, bool]]") -> None:
    for number in range(ROUNDS):
        line.wait(60)
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lease(folder / str(number), "hsd train"))
                won.put((number, True))
            except InUseError:
                won.put((number, False))
            line.wait(60)  # nobody leaves before all have tried


def test_of_two_that_find_a_dead_lease_at_once_one_wins(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        left_by(tmp_path / str(number), age_s=LONG_AGO, **ELSEWHERE)
    spawned = multiprocessing.get_context("spawn")
    line, won = spawned.Barrier(RIVALS), spawned.Queue()
    rivals = [spawned.Process(target=rival, args=(tmp_path, line, won)) for _ in range(RIVALS)]
    for process in rivals:
        process.start()
    ends = [won.get(timeout=120) for _ in range(ROUNDS * RIVALS)]
    for process in rivals:
        process.join(60)
    winners = [number for number, has_it in ends if has_it]
    assert sorted(winners) == list(range(ROUNDS))
    assert not [path for path in tmp_path.glob("*/*") if path.parent.name.isdigit()]
