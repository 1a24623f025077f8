"""`hsd data check` on a terminal: compact, whole, and no name is taken for markup."""

import io
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from hsd.data.data_check import DataFindings, check_data
from hsd.io.files import write_jsonl
from jobs.data import data
from jobs.terminal.check_tables import check_tables

LONG = "a_source_whose_name_is_long"


def checked(
    sources: Sequence[str] = "aaab", max_length: int | None = None, split: str = "test"
) -> DataFindings:
    """One post of each source: hate and normal in turn, the first two about lgbtq."""
    rows = [
        {"id": f"{n}", "text": "xyz"[n % 3] * (n + 1), "label": ("hate", "normal")[n % 2],
         "target_group": "lgbtq" if n < 2 else "none", "source_dataset": source, "split": split}
        for n, source in enumerate(sources)
    ]  # fmt: skip
    write_jsonl(Path("rows.jsonl"), rows)
    return check_data([Path("rows.jsonl")], max_length=max_length)


def lines(found: DataFindings, width: int = 80) -> list[str]:
    """The lines that are not empty, one space between their cells."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(check_tables(found))
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    return [" ".join(line.split()) for line in text.splitlines() if line.strip(" ─")]


def test_posts_are_counted_by_split_group_and_source_and_add_up() -> None:
    said = lines(checked("aaab"))
    assert said[:4] == [
        "posts a b all",
        "test 2+1 0+1 2+2",
        "lgbtq 1+1 0+0 1+1",
        "none 1+0 0+1 1+1",
    ]


def test_small_sources_share_a_column_and_names_are_cut() -> None:
    said = lines(checked([*"aabbccde", LONG, LONG, LONG]))
    assert said[0] == "posts a a_source_wh... b 3 others all"
    assert said[1] == "test 1+1 2+1 1+1 2+2 6+5"


def test_a_source_called_all_is_a_source_like_others() -> None:
    assert lines(checked(["all", "others"]))[:2] == ["posts all others all", "test 1+0 0+1 1+1"]


def test_names_are_no_markup() -> None:
    said = lines(checked(["[red]a", "b[/]"], split="[bold]x"))
    assert said[0] == "posts [red]a b[/] all"
    assert said[1].startswith("[bold]x ")


def test_what_posts_can_show_has_both_labels_of_a_group_in_a_row() -> None:
    said = lines(checked())
    assert "what they can show hate +- gap normal +- gap" in said
    assert "test: lgbtq 1 0.849 - 1 0.849 -" in said


def test_lengths_have_bars_of_plain_characters_and_say_what_is_counted() -> None:
    said = lines(checked("a" * 20))
    assert f"up to 16 16 {'#' * 30}" in said
    assert f"up to 32 4 {'#' * 8}" in said
    assert "over 1024 0" in said
    assert any(line.startswith("Lengths are of the post alone.") for line in said)


def test_rows_that_are_cut_are_counted_by_group_where_there_is_a_limit() -> None:
    assert lines(checked(max_length=1))[-2:] == ["lgbtq 1 2 50.0 %", "none 2 2 100.0 %"]
    assert not [line for line in lines(checked()) if "cut" in line]


def test_nothing_that_can_be_read_has_no_tables() -> None:
    write_jsonl(Path("bad.jsonl"), [{"text": "soup", "label": "maybe"}])
    assert lines(check_data([Path("bad.jsonl")])) == []


def test_the_command_prints_them_below_the_findings() -> None:
    checked()
    said = CliRunner().invoke(data, ["check", "rows.jsonl"], standalone_mode=False).output
    assert said.startswith("4 rows.\n")
    assert "what they can show" in said
