"""hsd's log lines in a run's own file, and what other threads may print beside them."""

import logging
import threading
from typing import Any

import pytest

from hsd.io.log_file import threads_in_a_line


def fail_in_a_thread(error: Exception) -> None:
    def work() -> None:
        raise error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_thread_that_finds_the_disk_full_is_a_line_and_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with threads_in_a_line(), caplog.at_level(logging.WARNING, logger="hsd"):
        fail_in_a_thread(OSError(28, "No space left on device"))
    assert capfd.readouterr().err == ""
    assert "No space left on device" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_thread_is_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with threads_in_a_line():
        fail_in_a_thread(ValueError("a bug"))
    assert [failed.exc_value.args for failed in shown] == [("a bug",)]
    assert threading.excepthook == shown.append
