"""Rows of the unified data: one post, one label, one schema for all sources."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.data import cell_values, data_files
from hsd.data.label_names import parse_label, unknown_label
from hsd.data.loaded_file import Bad, Converted, Loaded, load, merge_loaded
from hsd.data.read_rows import Row
from hsd.data.split_names import split_of
from hsd.errors import DataError, did_you_mean
from hsd.example import Example
from hsd.groups.group_set import GroupSet, default_groups, spelled_persona
from hsd.groups.name_lists import joined

LABEL_COLUMNS = ("label_binary", "label")
GROUP_COLUMNS = ("target_group_norm", "target_group", "persona_tag")
_CONTRADICTION = (
    f"'{LABEL_COLUMNS[0]}' and '{LABEL_COLUMNS[1]}' contradict each other; name the one that is "
    f"right, with --label-column {LABEL_COLUMNS[0]} or --label-column {LABEL_COLUMNS[1]}, and the "
    "group beside it with --group-column (`hsd prepare` needs --source table:FILE too)"
)
SHARE = "hate_share"
NAMED = "group_names"
"""The names of whom a post is about, where the groups beside them are not the default ones."""
READS = frozenset(
    {*LABEL_COLUMNS, NAMED, *GROUP_COLUMNS, "id", "text", "source_dataset", "label_multiclass"}
    | {"is_synthetic", "rationale_text", "rationale", "original_id", "split", "functionality"}
    | {"case_id", "reference_id", "cluster", SHARE}
)
"""The columns that `convert` reads."""
FILES = {"train": ("train",), "validation": ("val", "validation", "dev"), "test": ("test",)}


def convert(row: Row) -> Converted:
    """Return the example of a unified row, in the older keys or ours."""
    values = row.values
    text = cell_values.post(values, "text")
    if isinstance(text, Bad):
        return text
    column = next((name for name in LABEL_COLUMNS if name in values), LABEL_COLUMNS[-1])
    label = parse_label(values.get(column))
    if label is None:
        return Bad(unknown_label(values.get(column), column, columns=_as_table(values, column)))
    if _labels_contradict(values):
        return Bad(_CONTRADICTION)
    groups = cell_values.names(values, NAMED, *GROUP_COLUMNS)
    tags = cell_values.names(values, "persona_tag")
    rationale = cell_values.words(values, "rationale_text", "rationale")
    if isinstance(rationale, Bad):
        return rationale
    share = cell_values.share(values, SHARE)
    if isinstance(share, Bad):
        return share
    wrong = next((cell for cell in (groups, tags) if isinstance(cell, Bad)), None)
    if wrong is not None:
        return wrong
    return Example(
        id=cell_values.string(values, "id"),
        text=text,
        label=label,
        hate_share=share,
        named=cell_values.named(groups),
        persona_tag=spelled_persona(cell_values.named(tags)),
        source_dataset=cell_values.string(values, "source_dataset"),
        label_multiclass=cell_values.string(values, "label_multiclass"),
        is_synthetic=cell_values.flag(values.get("is_synthetic")),
        rationale=rationale,
        original_id=cell_values.string(values, "original_id"),
        split=split_of(cell_values.string(values, "split")),
        functionality=cell_values.string(values, "functionality"),
        case_id=cell_values.string(values, "case_id"),
        reference_id=cell_values.string(values, "reference_id"),
        cluster=cell_values.string(values, "cluster"),
    )


def _labels_contradict(values: Mapping[str, Any]) -> bool:
    """Return whether both columns of labels hold a known label, and not the same."""
    known = {parse_label(values.get(name)) for name in LABEL_COLUMNS} - {None}
    return len(known) > 1


def _as_table(values: Mapping[str, Any], label: str) -> str:
    """Return the options that read a row's other columns where its labels are named."""
    group = next((name for name in GROUP_COLUMNS if name in values), None)
    named = [] if label == "label" else [f"--label-column {label}"]
    named += [f"--group-column {group}"] if group else []
    also = f", with {' '.join(named)}" if named else ""
    return f"{also} (`hsd prepare` needs --source table:FILE too)"


def to_row(example: Example) -> dict[str, Any]:
    """Return an example as a row of the unified JSONL; `convert` gives it back."""
    more = {
        name: getattr(example, name)
        for name in (SHARE, "functionality", "case_id", "reference_id", "cluster")
    }
    more[NAMED] = named_behind(example)
    return {
        "id": example.id,
        "text": example.text,
        "label": example.label,
        "target_group": joined(example.groups),
        "persona_tag": example.persona_tag,
        "source_dataset": example.source_dataset,
        "split": example.split,
        "label_multiclass": example.label_multiclass,
        "is_synthetic": example.is_synthetic,
        "rationale_text": example.rationale,
        "original_id": example.original_id,
        **{key: value for key, value in more.items() if value not in ("", None)},
    }


def named_behind(example: Example) -> str:
    """Return the names of a row whose groups do not say them: of another set than the default."""
    told = default_groups().groups_of(example.named, strict=False)
    return joined(example.named) if example.named and told != example.groups else ""


def find_splits(folder: Path) -> dict[str, Path]:
    """Return the files of train, validation and test in a folder, those that are there.

    Named train, val (validation, dev) and test, with or without `unified_` before, in a format that
    is read. Raises DataError when there is none.
    """
    there = splits_in(folder)
    if not there:
        raise DataError(
            f"{folder}: no unified data; expected train, val and test as {data_files.READABLE}; "
            f"{_instead(folder)}"
        )
    return there


def splits_in(folder: Path) -> dict[str, Path]:
    """Return the same; {} when there is none."""
    named = {s: [f"{p}{stem}" for p in ("", "unified_") for stem in FILES[s]] for s in FILES}
    found = {split: data_files.find_data_file(folder, stems) for split, stems in named.items()}
    return {split: path for split, path in found.items() if path is not None}


def _instead(folder: Path) -> str:
    if folder.is_dir():
        return f"it holds {', '.join(sorted(p.name for p in folder.glob('*'))[:12]) or 'nothing'}."
    near = [p.name for p in folder.absolute().parent.glob("*") if p.is_dir()]
    return f"no such folder.{did_you_mean(folder.name, beside=near)}"


def load_folder(folder: Path, groups: GroupSet | None = None) -> Loaded:
    """Return the rows of a folder's splits; a row's own split wins over the file's name."""
    found = find_splits(folder).items()
    return merge_loaded(load_split(path, split, groups) for split, path in found)


def load_split(path: Path, split: str, groups: GroupSet | None = None) -> Loaded:
    """Return a file's rows; those that name no split are in `split`."""

    def with_split(row: Row) -> Converted:
        own = cell_values.string(row.values, "split")
        return convert(row if own else Row({**row.values, "split": split}, row.place))

    return load(path, with_split, READS, groups)
