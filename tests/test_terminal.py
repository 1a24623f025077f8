"""What others wrote reaches the terminal as text: no control character acts, none hides."""

import ast
import errno
import io
import json
import logging
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text

from hsd.errors import DataError, ErrorCode, PreflightError
from hsd.visible import visible
from jobs.terminal.console import Terminal, escape
from jobs.terminal.entry import _status
from jobs.terminal.output import VisibleFormatter, brief, echo, echo_text

JOBS = Path(__file__).parent.parent / "jobs"
ATTACK = "\x1b]0;x\x07\x1b[2J\x9b1m\u202eevil\u2066\u200b\ufeff\U000e0041\x00\x7f\u2028\ud800"
"""An escape that clears the screen, C1, bidi, no width, a tag, NUL, DEL, a separator, half."""


def unseen(text: str) -> set[str]:
    return {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize("character", ATTACK)
def test_what_acts_or_hides_is_shown_as_json_spells_it(character: str) -> None:
    shown = visible(f"a{character}b")
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{character}b"


@pytest.mark.parametrize("text", ["plain", "naïve café", "日本語", "سلام", "👍🏽", "a\tb", "±½"])
def test_words_of_every_script_stay(text: str) -> None:
    assert visible(text) == text


def test_a_name_cannot_write_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    echo("row a\nAll checks passed: fine", "second")
    assert capsys.readouterr().out == "row a\\nAll checks passed: fine\nsecond\n"


def test_a_name_of_thousands_of_letters_is_cut_and_a_path_is_not() -> None:
    assert len(brief(f"row {'x' * 3000} is bad")) < 200
    assert brief(f"row {'x' * 3000} is bad").endswith("(3,000 letters) is bad")
    assert brief(path := "/".join(["folder"] * 40)) == path


def test_a_text_of_lines_keeps_them_and_loses_colours(capsys: pytest.CaptureFixture[str]) -> None:
    echo_text("\x1b[31mred\x1b[0m\r\nbar 1\rbar 2\n\x1b[2Jend")
    assert capsys.readouterr().out == "red\nbar 1\nbar 2\n\\u001b[2Jend\n"


def test_printed_json_is_still_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": f"a{ATTACK}"}
    echo_text(json.dumps(value, ensure_ascii=False))
    said = capsys.readouterr().out
    assert not unseen(said)
    assert json.loads(said) == value


def test_nothing_that_is_drawn_acts_whatever_it_was_made_of() -> None:
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=True, width=200)
    table = Table(title=ATTACK, caption=ATTACK)
    table.add_column(ATTACK)
    table.add_row(ATTACK)
    table.add_row(escape(f"[bold]{ATTACK}"))
    for part in (table, Text(ATTACK), f"[bold red]x[/] {escape(ATTACK)}"):
        console.print(part)
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # rich's own colours
    assert not unseen(drawn)
    assert "[bold]" in drawn


def test_an_error_line_does_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def broken() -> None:
        raise DataError(f"id '{ATTACK}' is there twice")

    @click.command()
    def refused() -> None:
        raise click.UsageError(f"No such file {ATTACK}")

    assert (_call(broken), _call(refused)) == (10, 2)
    assert not unseen(capsys.readouterr().err)


def _call(command: click.Command) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["x"])
        return _status(command, "x")


@pytest.mark.parametrize(
    ("variable", "code"), [("HSD_JOB", "Error code: GPU_NOT_FOUND\n"), ("HSD_OTHER", "")]
)
def test_in_a_job_alone_the_code_of_an_error_is_in_the_log(
    variable: str, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def refused() -> None:
        raise PreflightError("torch sees no GPU", code=ErrorCode.GPU_NOT_FOUND)

    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(variable, "1")
    assert _call(refused) == 3
    assert capsys.readouterr().err == f"Error: torch sees no GPU\n{code}"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "DISK_FULL"), (errno.EDQUOT, "DISK_QUOTA_EXCEEDED")]
)
def test_a_full_disk_leaves_its_code_in_the_log_of_a_job(
    number: int, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def full() -> None:
        raise OSError(number, "x", "rows.jsonl")

    monkeypatch.setenv("HSD_JOB", "1")
    assert _call(full) == 3
    assert capsys.readouterr().err.endswith(f"\nError code: {code}\n")


def test_an_id_cannot_hide_what_a_check_found(tmp_path: Path) -> None:
    from jobs.data import data

    file = tmp_path / "rows.jsonl"
    rows = [
        {
            "id": f"a{ATTACK[:-1]}",
            "text": f"day {i}",
            "label": "normal",
            "source_dataset": ATTACK[:-1],
        }
        for i in range(2)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = CliRunner().invoke(data, ["check", str(file)]).output
    assert "id" in said
    assert not unseen(said)


def test_a_warning_on_the_terminal_does_not_act() -> None:
    record = logging.LogRecord("hsd", logging.WARNING, "", 0, "of %s", (ATTACK,), None)
    assert not unseen(VisibleFormatter().format(record))


def test_every_command_prints_through_the_terminal() -> None:
    for file in sorted(JOBS.glob("*.py")):
        if file.name in ("terminal.py", "console.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not _goes_around(node), f"{file.name}:{getattr(node, 'lineno', 0)}"


def _goes_around(node: ast.AST) -> bool:
    """Return whether a piece of code prints, or can print, by other means."""
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        return (node.module == "rich.markup") or (node.module == "click" and "echo" in names)
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    return called in {"print", "Console", "click.echo", "click.secho", "sys.stdout.write",
                      "sys.stderr.write"}  # fmt: skip


def test_a_log_says_the_pace_since_the_start_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that were done before the start took none of its time."""
    from types import SimpleNamespace

    from jobs.terminal import progress_bar

    now = [0.0]
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: now[0]))
    out = io.StringIO()
    report = progress_bar._Lines(Terminal(file=out, width=100))
    for seconds, done in ((0, 100), (10, 150), (60, 400), (180, 1000)):
        now[0] = seconds
        report(done, 1000, "rows")
    assert out.getvalue().splitlines() == [
        "rows: 100 of 1000",
        "rows: 400 of 1000 (5.0/s, 0:02:00 left)",
        "rows: 1000 of 1000 (5.0/s)",
    ]


def test_rows_that_are_gone_through_again_have_a_pace_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import io
    from types import SimpleNamespace

    from jobs.terminal import progress_bar
    from jobs.terminal.console import Terminal

    now = [0.0]
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: now[0]))
    out = io.StringIO()
    report = progress_bar._Lines(Terminal(file=out, width=100))
    for seconds, done in ((0, 10), (10, 110), (1000, 10), (1010, 60), (1035, 110)):
        now[0] = seconds
        report(done, 110, "validation rows")
    assert out.getvalue().splitlines() == [
        "validation rows: 10 of 110",
        "validation rows: 110 of 110 (10.0/s)",
        "validation rows: 10 of 110",
        "validation rows: 110 of 110 (2.9/s)",
    ]


def test_a_bar_that_begins_anew_forgets_the_pace_it_had() -> None:
    from rich.progress import Progress as Bars

    from jobs.terminal.progress_bar import _OnTerminal

    now = [0.0]
    bars = Bars(get_time=lambda: now[0], disable=True)
    report = _OnTerminal(bars)
    for seconds, done in ((0, 0), (10, 100), (1000, 0), (1005, 25), (1010, 50)):
        now[0] = seconds
        report(done, 100, "validation rows")
    (task,) = bars.tasks
    assert (task.completed, task.finished, task.speed) == (50, False, 5.0)


def test_a_bar_says_the_pace_once_there_is_one() -> None:
    from types import SimpleNamespace

    from jobs.terminal.progress_bar import _Pace

    def said(speed: float | None) -> str:
        return _Pace().render(SimpleNamespace(finished_speed=None, speed=speed)).plain  # type: ignore[arg-type]

    assert [said(None), said(1234.56)] == ["", "1,234.6/s"]
