"""Signals that set a request, or end a block; and what is left of them afterwards."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsd.errors import Stopped
from hsd.io.stopping import LAUNCHERS, STOPPING, StopRequest, ended_by_signal, stop_request


def strike(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_sets_the_request_and_nothing_else(number: int) -> None:
    with stop_request() as request:
        assert request.signal is None
        strike(number)
        assert request.signal == number


def test_a_second_ctrl_c_interrupts_and_other_signals_never_do() -> None:
    with stop_request():
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR2):
            strike(number)
        with pytest.raises(KeyboardInterrupt):
            strike(signal.SIGINT)


def test_under_a_launcher_a_second_ctrl_c_is_the_launchers_echo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with stop_request() as request:
        strike(signal.SIGINT)
        strike(signal.SIGINT)
    assert request.signal == signal.SIGINT


def test_a_block_within_a_block_knows_of_the_signal_that_came_before_it() -> None:
    with stop_request() as outer:
        strike(signal.SIGTERM)
        with stop_request() as inner:
            assert inner is outer
        assert isinstance(signal.getsignal(signal.SIGTERM), StopRequest)


def test_afterwards_the_handlers_are_as_before_but_a_repeated_usr2_kills_nobody() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_request():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    strike(signal.SIGUSR2)  # its default is to kill


def test_what_was_started_with_ctrl_c_ignored_ignores_it_on_and_hears_the_other_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `nohup hsd train &` starts in a script
    with stop_request() as request:
        strike(signal.SIGINT)
        assert request.signal is None
        strike(signal.SIGTERM)
        assert request.signal == signal.SIGTERM
    with ended_by_signal("nothing is left"):
        strike(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_outside_the_main_thread_nothing_is_heard_and_nothing_fails() -> None:
    found = []

    def work() -> None:
        with stop_request() as request, ended_by_signal("ended"):
            found.append(request.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


def test_a_signal_ends_a_block_at_once_and_later_ones_leave_the_cleaning_up_alone() -> None:
    done = []

    @ended_by_signal("nothing is left")
    def work() -> None:
        try:
            strike(signal.SIGTERM)
            done.append("more work")
        except Exception:  # as libraries do
            done.append("swallowed")
        finally:
            for number in STOPPING:
                strike(number)
            done.append("cleaned up")

    with pytest.raises(Stopped, match="nothing is left"):
        work()
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
sys.stdin.read()
"""
CHILD = """
import os, time
from hsd.io.stopping import stop_request
with stop_request() as request:
    parent = os.getppid()
    print(request.asked, flush=True)
    while os.getppid() == parent:
        time.sleep(0.01)
    print(request.asked, flush=True)
"""


@pytest.mark.parametrize(
    ("variable", "asked"),
    [
        ("TORCHELASTIC_RUN_ID", "True"),  # torchrun, and accelerate launch with several processes
        ("ACCELERATE_DYNAMO_MODE", "True"),  # accelerate launch with one
        ("ACCELERATE_MIXED_PRECISION", "False"),  # a shell's own setting
        ("LOCAL_RANK", "False"),  # a script that starts its ranks by itself may end before them
        ("NOTHING", "False"),  # nohup hsd train, and the shell goes
    ],
)
def test_a_process_whose_launcher_is_gone_is_asked_to_stop(variable: str, asked: str) -> None:
    unset = (*LAUNCHERS, "ACCELERATE_MIXED_PRECISION", "LOCAL_RANK")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD],
        cwd=Path(__file__).parent.parent,
        env={k: v for k, v in os.environ.items() if k not in unset} | {variable: "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "False\n"
    parent.kill()
    assert parent.stdout.readline() == f"{asked}\n"
    parent.communicate()
