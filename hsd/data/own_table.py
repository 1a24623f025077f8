"""Any table of posts, whose columns the user names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hsd.data import cell_values
from hsd.data.data_files import stem
from hsd.data.label_names import parse_label, spelled, unknown_label
from hsd.data.loaded_file import Bad, Convert, Converted, Loaded, convert_rows
from hsd.data.read_rows import Row, read_rows
from hsd.errors import ConfigError, DataError, did_you_mean
from hsd.example import LABELS, Example, Label
from hsd.groups.group_set import GroupSet, spelled_persona


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what. `labels` maps the table's own label names to hate and normal:
    all of them, or (empty) none, where they are names that hsd knows."""

    text: str = "text"
    label: str = "label"
    group: str | None = None
    id: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    share: str | None = None
    """The share of annotators who called the post hate."""

    @property
    def read(self) -> set[str]:
        """The columns that are read."""
        named = {self.text, self.label, self.group, self.id, self.share, "split"}
        return {name for name in named if name is not None}


def parse_labels(texts: Iterable[str]) -> dict[str, Label]:
    """Return what `NAME=hate` and `NAME=normal` say.

    Raises ConfigError for anything else, and for a name that is given both labels.
    """
    labels: dict[str, Label] = {}
    said: dict[str, Label] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        label = next((label for label in LABELS if label == value), None)
        if label is None or not name:
            raise ConfigError(f"label '{text}': expected NAME=hate or NAME=normal.")
        if said.setdefault(spelled(name), label) != label:
            raise ConfigError(f"label '{text}': '{name}' is named both hate and normal.")
        labels[name] = label
    return labels


def load_table(path: Path, columns: Columns, groups: GroupSet | None = None) -> Loaded:
    """Return the examples of a table in any format that is read.

    Raises DataError when no row has one of the named columns.
    """
    rows, bad = read_rows(path)
    known = {name for row in rows for name in row.values}
    for kind in ("text", "label", "group", "id", "share"):
        name = getattr(columns, kind)
        if name is not None and name not in known:
            hint = did_you_mean(name, known)
            raise DataError(f"{path}:1: no column '{name}'.{hint} Name it with --{kind}-column.")
    loaded = convert_rows(rows, converter(columns, stem(path)), columns.read, groups)
    return replace(loaded, bad=bad + loaded.bad)


def converter(columns: Columns, source: str) -> Convert:
    """Return the function from a row to an example of the data set `source`."""

    def convert(row: Row) -> Converted:
        values = row.values
        text = cell_values.post(values, columns.text)
        if isinstance(text, Bad):
            return text
        label = parse_label(values.get(columns.label), columns.labels)
        if label is None:
            return Bad(unknown_label(values.get(columns.label), columns.label, columns.labels))
        groups = cell_values.names(values, columns.group) if columns.group else None
        if isinstance(groups, Bad):
            return groups
        share = cell_values.share(values, columns.share) if columns.share else None
        if isinstance(share, Bad):
            return share
        return Example(
            id=cell_values.string(values, columns.id) if columns.id else "",
            text=text,
            label=label,
            hate_share=share,
            named=cell_values.named(groups),
            persona_tag=spelled_persona(cell_values.named(groups)),
            source_dataset=source,
            label_multiclass=cell_values.string(values, columns.label),
            split=cell_values.split(cell_values.string(values, "split")),
        )

    return convert
