"""The fixture `hsd`: one of hsd's commands in this process, as the program ends and prints."""

import sys
from collections.abc import Callable

import click
import pytest

from jobs.terminal.entry import run

Hsd = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hsd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hsd:
    """Give `hsd(command, *arguments)`: exit code, stdout and stderr, as of the program."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(command: click.Command, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(command, "hsd")
        assert isinstance(ended.value.code, int)
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call
