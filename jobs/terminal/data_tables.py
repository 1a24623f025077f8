"""What prepared data looks like on a terminal."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hsd.counted import counted
from hsd.data.duplicates import describe_duplicates
from hsd.data.loaded_file import by_reason
from hsd.data.prepared_data import PreparedData
from hsd.data.read_rows import BadRow
from hsd.example import LABELS, SPLITS
from hsd.metrics.groups import place_of
from jobs.terminal.console import Terminal, escape

SHOWN = 5


def stdout() -> Console:
    """Return the terminal, without colouring the numbers in sentences."""
    return Terminal(highlight=False)


@contextmanager
def stderr_steps(steps: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Show a bar over named steps; yield what to call as each begins."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Terminal(stderr=True), transient=True) as progress:
        task = progress.add_task(steps[0], total=len(steps))
        yield lambda step: progress.update(task, description=step, completed=steps.index(step))


def table(first: str, *numbers: str) -> Table:
    """Return an empty table: a column of names, and right-aligned ones of numbers."""
    made = Table(box=SIMPLE_HEAD, header_style="bold", caption_justify="left")
    made.add_column(escape(first), overflow="fold")
    for name in numbers:
        made.add_column(escape(name), justify="right", no_wrap=True)
    return made


def prepared_table(folder: Path, prepared: PreparedData) -> RenderableType:
    """Return what was made, what was left out and why, bad rows and leaks."""
    return Group(
        _split_table(prepared.stats["splits"]),
        _file_table(folder, prepared.stats["files"]),
        *_empty_splits(prepared),
        *_left_out(prepared),
        *_bad_rows(prepared.bad),
        *_duplicates(prepared),
        *(f"Note: {escape(note)}" for note in prepared.stats["notes"]),
    )


def _split_table(splits: dict[str, Any]) -> Table:
    counted = {name: _by_group(split["by_group_label"]) for name, split in splits.items()}
    present = {group for counts in counted.values() for group, _ in counts}
    made = table("", *splits)
    made.add_row("rows", *(str(split["rows"]) for split in splits.values()))
    for label in LABELS:
        made.add_row(label, *(str(s["by_label"].get(label, 0)) for s in splits.values()))
    for group in sorted(present, key=place_of):
        pairs = (" + ".join(str(c[group, label]) for label in LABELS) for c in counted.values())
        made.add_row(f"{escape(group)}: hate + normal", *pairs)
    if any("|" in cell for split in splits.values() for cell in split["by_group_label"]):
        made.caption = "A post about two groups counts in both."
    return made


def _by_group(cells: Mapping[str, int]) -> Counter[tuple[str, str]]:
    """Return counts by group and label of cells such as `lgbtq|mexican/hate`."""
    counts: Counter[tuple[str, str]] = Counter()
    for cell, count in cells.items():
        groups, _, label = cell.rpartition("/")
        counts.update({(group, label): count for group in groups.split("|")})
    return counts


def _file_table(folder: Path, files: dict[str, Any]) -> Table:
    made = table("file", "rows")
    for name, file in files.items():
        made.add_row(escape(str(folder / name)), str(file["rows"]))
    return made


def _empty_splits(prepared: PreparedData) -> list[str]:
    """Return a warning for splits that nothing can be evaluated on."""
    rows = {name: split["rows"] for name, split in prepared.stats["splits"].items()}
    empty = [name for name in SPLITS if not rows.get(name)]
    if not empty:
        return []
    return [
        f"[bold red]Warning: no row in {', '.join(empty)}[/]; give more rows, or a file for it."
    ]


def _left_out(prepared: PreparedData) -> list[str]:
    reasons = prepared.stats["left_out"]
    lines = [f"  {count:>6}  {escape(reason)}" for reason, count in reasons.items()]
    return [f"Left out: {counted(sum(reasons.values()), 'row')} (left_out.jsonl).", *lines]


def _bad_rows(bad: Sequence[BadRow]) -> list[str]:
    if not bad:
        return ["Bad rows: none."]
    lines = [f"  {escape(reason)}" for reason in by_reason(bad)[:SHOWN]]
    return [f"[bold red]Bad rows: {len(bad)}[/] (bad_rows.jsonl).", *lines]


def _duplicates(prepared: PreparedData) -> list[str]:
    pairs, leaks = prepared.stats["duplicates"], prepared.stats["leaks"]
    head = (
        f"Duplicates (similarity {pairs['threshold']} or more): {pairs['exact_pairs']} exact and "
        f"{pairs['near_pairs']} near pairs, {pairs['pairs_with_conflicting_labels']} of them "
        "with conflicting labels (duplicates.jsonl)."
    )
    if not leaks["rows"]:
        return [head, "Leaks: no row has a duplicate in a held-out split."]
    said = "left out" if leaks["policy"] == "drop" else "kept; --leaks drop leaves them out"
    lines = [
        _leak_line(describe_duplicates(prepared.compared, pair)) for pair in prepared.leaks[:SHOWN]
    ]
    return [head, f"[bold red]Leaks: {leaks['rows']} rows[/] ({said}; stats.json has all).", *lines]


def _leak_line(leak: dict[str, Any]) -> str:
    one, other = (
        f"{split} {id_} ({place})"
        for split, id_, place in zip(leak["splits"], leak["ids"], leak["places"], strict=True)
    )
    return f"  {leak['similarity']:.2f}  {escape(one)} ~ {escape(other)}"
