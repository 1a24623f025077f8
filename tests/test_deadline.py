"""Work that a hostile file could make endless has an end."""

import re
import signal
import threading
from contextlib import suppress

import pytest

from hsd.errors import DataError
from hsd.io.deadline import within

LATE = DataError("too long")


def _for_ever() -> None:
    while True:
        with suppress(Exception):  # as libraries do
            sum(range(100))


def test_a_loop_ends_and_the_signal_is_given_back() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(DataError, match="too long"), within(0.05, LATE):
        _for_ever()
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0


def test_a_pattern_that_explodes_ends() -> None:
    with pytest.raises(DataError, match="too long"), within(0.05, LATE):
        re.fullmatch(r"(([a-z0-9_]+)+\.?)+X", "model.layers.0.self_attn.query_projection_weights")


def test_what_is_soon_done_is_left_alone_and_its_own_error_passes() -> None:
    with within(60, LATE):
        done = 1 + 1
    with pytest.raises(ZeroDivisionError), within(60, LATE):
        done / 0
    assert done == 2


def test_in_another_thread_the_work_is_done_all_the_same() -> None:
    done = []

    def work() -> None:
        with within(60, LATE):
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
