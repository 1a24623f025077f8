"""`--time`, in the forms that SLURM has for it."""

import click
import pytest

from jobs.terminal.options import TimeLimit


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("1:30:00", 90), ("48:00:00", 2880), ("0:00:01", 1), ("1:00:30", 61),
        ("2-00:00:00", 2880), ("1-12:00", 2160),
    ],
)  # fmt: skip
def test_a_time_limit_is_read_as_slurm_writes_it(text: str, minutes: int) -> None:
    assert TimeLimit().convert(text, None, None) == minutes


@pytest.mark.parametrize("text", ["0", "0:00:00", "0-00:00", "1:30", "-5", "1.5", "²", "x", ""])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected minutes, HH:MM:SS or D-HH:MM:SS"):
        TimeLimit().convert(text, None, None)
