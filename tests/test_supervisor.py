"""The host's side of a job, with real processes: exit codes, stops, requeues, markers."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from strangers import given_away

from slurm.node import supervisor
from slurm.node.events import attempts
from slurm.node.job_context import Here, filled, verbatim, whereabouts
from slurm.node.supervisor import Orders, is_done, supervise

PYTHON = (sys.executable, "-S", "-c")
STOP_ME = "import os, signal, sys, time; os.kill({supervisor}, signal.{signal});"
"""A command that has its supervisor told to stop, as SLURM does."""
RUNNING = "JobId=7 JobState=RUNNING Restarts=0 RunTime=00:01:00 TimeLimit=00:30:00"
ENDING = RUNNING.replace("RUNNING", "COMPLETING")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "POLL_S", 0.01)
    monkeypatch.setattr(supervisor, "TELL_EVERY_S", 0.05)
    monkeypatch.setattr(supervisor, "WAIT_FOR_END_S", 0.02)


@pytest.fixture(autouse=True)
def _scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for scontrol on PATH; `says` writes what it shows."""
    says(tmp_path, RUNNING)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def says(tmp_path: Path, shown: str, requeue: str = "true") -> None:
    """Let scontrol show this of every job, and do that when it is to requeue one."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/asked
case "$1 $2" in
    "show hostnames") echo n1; echo n2 ;;
    "show job") echo "{shown}" ;;
    *) {requeue} ;;
esac
"""
    )
    program.chmod(0o755)


def asked(tmp_path: Path) -> list[str]:
    """Return what scontrol was called with."""
    file = tmp_path / "asked"
    return file.read_text().splitlines() if file.exists() else []


def orders(tmp_path: Path, *commands: tuple[str, ...] | str, **parts: Any) -> Orders:
    """Return orders; a command that is a text is one of the shell."""
    made = Orders(
        commands=tuple(("sh", "-c", c) if isinstance(c, str) else c for c in commands),
        cwd=str(tmp_path),
        attempts=str(tmp_path / "attempts" / "train.jsonl"),
        done=str(tmp_path / "done.json"),
        identity="this",
        requeue="scontrol",
        max_requeues=3,
    )
    return replace(made, **parts)


def here(restart: int = 0, node: int = 0) -> Here:
    return Here(job="7_0", restart=restart, node=node, nodes=("n1", "n2"))


def stopping(rest: str = "sys.exit(75)", by: str = "SIGUSR2") -> tuple[str, ...]:
    """Return a command that is asked to stop, and then does the rest."""
    return (*PYTHON, STOP_ME.format(supervisor=os.getpid(), signal=by) + rest)


def events(tmp_path: Path) -> list[str]:
    return [event["event"] for event in attempts(tmp_path / "attempts" / "train.jsonl")]


def last(tmp_path: Path) -> dict[str, Any]:
    return attempts(tmp_path / "attempts" / "train.jsonl")[-1]


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 75", 75)]
)
def test_a_job_ends_as_its_command_does(tmp_path: Path, command: str, code: int) -> None:
    assert supervise(orders(tmp_path, command), here()) == code
    assert events(tmp_path) == ["started", "ended"]
    assert is_done(tmp_path / "done.json", "this") == (code == 0)


def test_commands_run_one_after_another_until_one_fails(tmp_path: Path) -> None:
    made = orders(tmp_path, "echo 1 >> ran", "echo 2 >> ran; exit 3", "echo 3 >> ran")
    assert supervise(made, here()) == 3
    assert (tmp_path / "ran").read_text() == "1\n2\n"
    assert last(tmp_path)["code"] == 3


def test_the_marker_is_there_when_all_is_done_and_not_before(tmp_path: Path) -> None:
    unmarked = "test ! -e done.json"
    assert supervise(orders(tmp_path, unmarked, unmarked), here()) == 0
    marker = json.loads((tmp_path / "done.json").read_text())
    assert marker["identity"] == "this"
    assert marker["at"].endswith("+00:00")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_follow_up_that_finds_its_work_done_does_nothing(tmp_path: Path) -> None:
    made = orders(tmp_path, "echo >> ran")
    assert supervise(made, here()) == 0
    assert supervise(made, here()) == 0
    assert (tmp_path / "ran").read_text() == "\n"
    assert events(tmp_path) == ["started", "ended"]


def test_a_marker_of_other_content_is_no_reason_to_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text('{"identity": "another"}')
    assert supervise(orders(tmp_path, "echo >> ran"), here()) == 0
    assert (tmp_path / "ran").exists()
    assert is_done(tmp_path / "done.json", "this")


@pytest.mark.parametrize("text", ["", "{", "[]", '"this"', "\xff"])
def test_a_marker_that_is_no_marker_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "done.json").write_text(text, encoding="latin-1")
    assert not is_done(tmp_path / "done.json", "this")


HANDLES = (
    "signal.signal(signal.SIGUSR2, lambda *_: (open('told', 'w').close(), sys.exit(75)));"
    "{then} exec('while True: time.sleep(0.01)')"
)


def test_a_stop_reaches_the_ranks_below_a_launcher_that_ignores_it(tmp_path: Path) -> None:
    rank = "import signal, sys, time, os; " + HANDLES.format(
        then=f"os.kill({os.getpid()}, signal.SIGUSR2);"
    )
    launcher = f"trap '' USR2 TERM; {sys.executable} -S -c \"{rank}\" & wait $!"
    assert supervise(orders(tmp_path, launcher), here()) == 75
    assert (tmp_path / "told").exists()
    assert events(tmp_path) == ["started", "signalled", "requeued"]


def test_a_process_without_a_handler_is_left_alone(tmp_path: Path) -> None:
    # A compiler that a rank has started: told, it would die, and nothing would be written.
    compiler = (
        "import os, signal, time; signal.signal(signal.SIGUSR2, signal.SIG_DFL);"
        "open('ready', 'w').close();"
        "exec('while not os.path.exists(\\'told\\'): time.sleep(0.01)');"
        "open('survived', 'w').close()"
    )
    rank = (
        "import os, signal, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {compiler!r}]);"
        "exec('while not os.path.exists(\"ready\"): time.sleep(0.01)');"
        "signal.signal(signal.SIGUSR2, lambda *_: (open('told', 'w').close(), child.wait(),"
        " sys.exit(75)));"
        f"os.kill({os.getpid()}, signal.SIGUSR2);"
        "exec('while True: time.sleep(0.01)')"
    )
    assert supervise(orders(tmp_path, (*PYTHON, rank)), here()) == 75
    assert (tmp_path / "survived").exists()


def test_a_rank_that_is_still_loading_is_told_again(tmp_path: Path) -> None:
    first_told = 'exec(\'while "signalled" not in open("attempts/train.jsonl").read(): pass\');'
    late = stopping(first_told + HANDLES.format(then=""))
    assert supervise(orders(tmp_path, late), here()) == 75
    assert (tmp_path / "told").exists()


def test_no_further_command_begins_after_a_stop(tmp_path: Path) -> None:
    made = orders(tmp_path, stopping("sys.exit(0)"), "echo >> ran")
    assert supervise(made, here()) == 75
    assert not (tmp_path / "ran").exists()
    assert last(tmp_path)["event"] == "requeued"


def test_work_that_ends_well_in_spite_of_a_stop_is_done(tmp_path: Path) -> None:
    assert supervise(orders(tmp_path, stopping("sys.exit(0)")), here()) == 0
    assert last(tmp_path)["event"] == "ended"
    assert not asked(tmp_path)


@pytest.mark.parametrize("by", ["SIGUSR2", "SIGTERM"])
def test_a_stopped_job_goes_back_into_the_queue(tmp_path: Path, by: str) -> None:
    assert supervise(orders(tmp_path, stopping(by=by)), here()) == 75
    assert attempts(tmp_path / "attempts/train.jsonl")[1]["signal"] == by
    assert events(tmp_path) == ["started", "signalled", "requeued"]
    assert asked(tmp_path)[-1] == "requeue 7_0"


@pytest.mark.parametrize(
    ("parts", "restart", "why"),
    [
        ({"requeue": "none"}, 0, "requeue is 'none'"),
        ({"requeue": "chain"}, 0, "requeue is 'chain'"),
        ({"requeue": ""}, 0, "there is no queue here"),
        ({"max_requeues": 2}, 2, "it was requeued 2 times, the most that the profile allows"),
    ],
)
def test_a_job_that_may_not_go_on_says_why(
    tmp_path: Path, parts: dict[str, Any], restart: int, why: str
) -> None:
    assert supervise(orders(tmp_path, stopping(), **parts), here(restart)) == 75
    assert last(tmp_path).items() >= {"event": "stopped", "code": 75, "why": why}.items()
    assert "requeue 7_0" not in asked(tmp_path)


def test_the_last_requeue_that_is_allowed_is_made(tmp_path: Path) -> None:
    supervise(orders(tmp_path, stopping(), max_requeues=2), here(restart=1))
    assert last(tmp_path)["event"] == "requeued"


@pytest.mark.parametrize("shown", [ENDING, RUNNING.replace("RUNNING", "CANCELLED")])
def test_a_cancelled_job_stays_cancelled(tmp_path: Path, shown: str) -> None:
    says(tmp_path, shown)
    assert supervise(orders(tmp_path, stopping(by="SIGTERM")), here()) == 75
    assert last(tmp_path)["why"] == "it was cancelled"
    assert events(tmp_path) == ["started", "signalled", "stopped"]
    assert "requeue 7_0" not in asked(tmp_path)


@pytest.mark.parametrize(
    "shown",
    [
        ENDING.replace("RunTime=00:01:00", "RunTime=00:30:02"),
        ENDING.replace("00:01:00", "1-00:00:10").replace("00:30:00", "1-00:00:00"),
        f"{ENDING} PreemptTime=2026-01-01T00:00:00",
    ],
    ids=["out of time", "out of a day", "preempted"],
)
def test_a_job_that_slurm_itself_ends_goes_on(tmp_path: Path, shown: str) -> None:
    says(tmp_path, shown)
    supervise(orders(tmp_path, stopping(by="SIGTERM")), here())
    assert events(tmp_path)[-1] == "requeued"


def test_a_preempted_job_that_slurm_has_put_back_is_not_put_back_twice(tmp_path: Path) -> None:
    says(tmp_path, ENDING.replace("Restarts=0", "Restarts=1"))
    assert supervise(orders(tmp_path, stopping(by="SIGTERM")), here()) == 75
    assert last(tmp_path)["event"] == "requeued"
    assert "requeue 7_0" not in asked(tmp_path)


def test_a_requeue_that_slurm_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    says(tmp_path, RUNNING, requeue="echo 'Requested operation is disabled' >&2; exit 1")
    supervise(orders(tmp_path, stopping()), here())
    assert events(tmp_path)[-2:] == ["requeued", "stopped"]
    assert last(tmp_path)["why"] == "scontrol requeue failed (Requested operation is disabled)"


def test_a_failure_of_its_own_is_no_reason_to_requeue(tmp_path: Path) -> None:
    assert supervise(orders(tmp_path, "exit 12"), here()) == 12
    assert not asked(tmp_path)


def test_the_second_node_writes_nothing_and_waits_to_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WAIT_FOR_END_S", 0.3)
    began = time.monotonic()
    assert supervise(orders(tmp_path, stopping()), here(node=1)) == 75
    assert time.monotonic() - began > 0.3
    assert not events(tmp_path)
    assert not asked(tmp_path)
    assert supervise(orders(tmp_path, "true"), here(node=1)) == 0
    assert not (tmp_path / "done.json").exists()


@pytest.mark.parametrize(
    ("parts", "named"),
    [({"commands": (("no_such_program",),)}, "no_such_program"), ({"cwd": "/no/folder"}, "/no/f")],
)
def test_what_a_node_lacks_is_said_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], parts: dict[str, Any], named: str
) -> None:
    assert supervise(orders(tmp_path, "true", **parts), here()) == 127
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("Error: it cannot be started: No such file or directory: '")
    assert named in line
    assert last(tmp_path)["code"] == 127


def test_events_that_cannot_be_written_do_not_cost_the_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "attempts").write_text("a file")
    assert supervise(orders(tmp_path, stopping("sys.exit(0)")), here()) == 0
    assert is_done(tmp_path / "done.json", "this")
    assert "'started' was not written" in capfd.readouterr().err


@pytest.mark.parametrize("tell", [("no_such_program",), ("false",)])
def test_a_container_that_cannot_be_told_does_not_end_the_supervisor(
    tmp_path: Path, tell: tuple[str, ...]
) -> None:
    assert supervise(orders(tmp_path, stopping(), tell=tell), here()) == 75


def test_a_container_is_told_by_its_own_command(tmp_path: Path) -> None:
    waits = stopping("exec('while not os.path.exists(\"told-7_0\"): time.sleep(0.01)')")
    assert supervise(orders(tmp_path, waits, tell=("touch", f"{tmp_path}/told-@job@")), here()) == 0


def test_the_handlers_of_before_are_there_again(tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in supervisor.STOPPING}
    supervise(orders(tmp_path, stopping()), here())
    assert {number: signal.getsignal(number) for number in supervisor.STOPPING} == before


def test_output_goes_where_it_is_sent(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as error:
        sent = replace(here(), streams=(out, error))
        supervise(orders(tmp_path, "echo one; echo two >&2"), sent)
    assert (tmp_path / "out").read_text() == "one\n"
    assert (tmp_path / "err").read_text() == "two\n"


@pytest.mark.parametrize("is_there", [False, True])
def test_the_job_s_own_caches_are_made_on_every_node_and_removed_where_they_were(
    is_there: bool, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    if is_there:  # the script's, on the first node, or one that nodes share
        scratch.mkdir()
    there = {"HSD_SCRATCH": str(scratch), "TMPDIR": f"{scratch}/tmp", "PATH": os.environ["PATH"]}
    made = Here("7_0", 0, 1, ("n1", "n2"), there)
    assert supervise(orders(tmp_path, 'test -d "$TMPDIR"'), made) == 0
    assert scratch.exists() == is_there


def test_a_further_node_refuses_scratch_that_is_not_the_job_s(tmp_path: Path) -> None:
    scratch, elsewhere = tmp_path / "scratch", tmp_path / "elsewhere"
    elsewhere.mkdir()
    scratch.symlink_to(elsewhere)
    there = {"HSD_SCRATCH": str(scratch), "TMPDIR": f"{scratch}/tmp", "PATH": os.environ["PATH"]}
    with (tmp_path / "err").open("wb") as error:
        made = Here("7_0", 0, 1, ("n1", "n2"), there, (None, error))
        assert supervise(orders(tmp_path, f"touch {tmp_path}/went_on"), made) == 3
    assert (tmp_path / "err").read_text().startswith(f"Error: {scratch}: cannot be made on ")
    assert not (tmp_path / "went_on").exists()
    assert not list(elsewhere.iterdir())
    scratch.unlink()
    scratch.mkdir(mode=0o777)
    given_away(scratch)
    assert supervise(orders(tmp_path, "true"), replace(made, streams=(None, None))) == 3


def test_where_this_is_stands_in_slurm_s_variables() -> None:
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "9"}
    found = whereabouts(array | {"SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "n[1-2]"})
    assert (found.job, found.node, found.nodes, found.first) == ("7_3", 1, ("n1", "n2"), False)
    assert whereabouts({"SLURM_JOB_ID": "9", "SLURM_RESTART_COUNT": ""}).job == "9"
    assert whereabouts({}).nodes == (os.uname().nodename,)


USER_S = ("@env:SET@", "a@job@b", "@job@env:SET@", "@at@", "@@port@@", "@at@job@", "me@x", "@job")


@pytest.mark.parametrize("text", USER_S)
def test_a_user_s_own_text_is_not_filled_in(text: str) -> None:
    there = Here("7_1", 0, 1, ("n1",), {"SET": "@job@"})
    assert filled((verbatim(text),), there) == [text]
    assert filled(("@env:SET@",), there) == ["@job@"]  # nor is what was filled in


def test_a_command_is_told_what_only_the_node_knows() -> None:
    there = Here("7_1", 0, 1, ("n1", "n2"), {"SET": "value"})
    words = ("x-@job@", "@node_rank@", "@first_node@", "A=@env:SET@", "B=@env:UNSET@", "me@x")
    assert filled(words, there) == ["x-7_1", "1", "n1", "A=value", "B=", "me@x"]
