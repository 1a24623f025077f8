"""Any table of posts, whose columns the user names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.data import cell_values
from hsd.data.chat_rows import is_chat
from hsd.data.data_files import stem
from hsd.data.how_read import how_read
from hsd.data.loaded_file import Bad, Convert, Converted, Loaded, convert_rows
from hsd.data.own_labels import RowLabel, row_label
from hsd.data.read_rows import Row, read_rows
from hsd.data.split_names import split_of
from hsd.data.table_columns import Columns
from hsd.data.unified import GROUP_COLUMNS
from hsd.errors import DataError, did_you_mean
from hsd.example import Example
from hsd.groups.group_set import GroupSet, spelled_persona


def load_table(path: Path, columns: Columns, groups: GroupSet | None = None) -> Loaded:
    """Return the examples of a table in any format that is read.

    Raises DataError when no row has one of the named columns.
    """
    rows, bad = read_rows(path)
    if rows and is_chat(rows[0].values):
        raise DataError(
            f"{path}: holds chats (`messages`), which name no columns; leave the options for "
            "columns and labels out, or pass the posts."
        )
    loaded = read_table(rows, columns, str(path), stem(path), groups)
    return replace(loaded, bad=bad + loaded.bad, notes=[*how_read(path), *loaded.notes])


def read_table(
    rows: Sequence[Row],
    columns: Columns,
    place: str,
    source: str,
    groups: GroupSet | None = None,
) -> Loaded:
    """Return the examples of a table's rows, of the data set `source`."""
    _require_columns(rows, columns, place)
    loaded = convert_rows(rows, converter(columns, source), columns.read, groups)
    if columns.votes is not None and loaded.examples:
        _require_votes(rows, columns, place)
    said = [*_labels_said(rows, columns, loaded, place), *_references_said(loaded, columns, place)]
    return replace(loaded, notes=said)


def _require_columns(rows: Sequence[Row], columns: Columns, place: str) -> None:
    known = {name for row in rows for name in row.values}
    for name, option in columns.named.items():
        if name in known:
            continue
        hint = did_you_mean(name, known)
        if "," in name and known.issuperset(part.strip() for part in name.split(",")):
            hint = f" Write {option} before each column."
        raise DataError(f"{place}:1: no column '{name}'.{hint} Name it with {option}.")


def _require_votes(rows: Sequence[Row], columns: Columns, place: str) -> None:
    if not _has_votes(rows, columns):
        raise DataError(
            f"{place}: --votes is given, but '{columns.label}' holds one label a row; name one "
            "column for each annotator, such as --label-column first --label-column second, or "
            "leave --votes out."
        )


def _has_votes(rows: Sequence[Row], columns: Columns) -> bool:
    first, *others = columns.label_columns
    cells = (cell_values.contained(row.values, first) for row in rows)
    return bool(others) or any(isinstance(cell, list) for cell in cells)


def _labels_said(rows: Sequence[Row], columns: Columns, loaded: Loaded, place: str) -> list[str]:
    """Return how labels were made of scores or votes, as a sentence with counts."""
    named = "', '".join(columns.label_columns)
    hates = sum(example.label == "hate" for example in loaded.examples)
    counted = f"{hates:,} of {len(loaded.examples):,} posts are hate"
    if columns.cut is not None and hates in (0, len(loaded.examples)):
        counted += " (is the cut in the scores' own range?)"
    if columns.cut is not None:
        return [f"{place}: a post is hate where '{named}' is at least {columns.cut:g}: {counted}."]
    if not _has_votes(rows, columns):
        return []
    rule = (
        "the label is what more than half say"
        if columns.votes is None
        else f"a post is hate where at least {columns.votes:g} of the votes say so"
    )
    return [f"{place}: votes of annotators are in '{named}'; {rule}: {counted}."]


def _references_said(loaded: Loaded, columns: Columns, place: str) -> list[str]:
    """Return that no row can be found by its id where rows refer to others; nothing else."""
    if columns.id is not None or not any(example.reference_id for example in loaded.examples):
        return []
    return [
        f"{place}: 'reference_id' refers to rows by their ids, but no ids are read; name their "
        "column, such as --id-column id."
    ]


def converter(columns: Columns, source: str) -> Convert:
    """Return the function from a row to an example of the data set `source`."""

    def convert(row: Row) -> Converted:
        values = row.values
        text = cell_values.post(values, columns.text)
        if isinstance(text, Bad):
            return text
        label = row_label(values, columns)
        if not isinstance(label, RowLabel):
            return label
        groups = cell_values.names(values, columns.group) if columns.group else None
        if isinstance(groups, Bad):
            return groups
        tags = _names_behind(values, columns.group, groups)
        if isinstance(tags, Bad):
            return tags
        share = cell_values.share(values, columns.share) if columns.share else label.share
        if isinstance(share, Bad):
            return share
        return Example(
            id=cell_values.string(values, columns.id) if columns.id else "",
            text=text,
            label=label.label,
            hate_share=share,
            named=cell_values.named(groups),
            persona_tag=spelled_persona(cell_values.named(tags)),
            source_dataset=cell_values.string(values, "source_dataset") or source,
            label_multiclass=label.name,
            split=split_of(cell_values.string(values, "split")),
            functionality=cell_values.string(values, "functionality"),
            reference_id=cell_values.string(values, "reference_id"),
            cluster=cell_values.string(values, "cluster"),
        )

    return convert


def _names_behind(values: Mapping[str, Any], group: str | None, groups: Any) -> Any:
    """Return the finer names behind a group column as `hsd prepare` writes both, else `groups`."""
    has_both = group in GROUP_COLUMNS and "persona_tag" in values
    return cell_values.names(values, "persona_tag") if has_both else groups
