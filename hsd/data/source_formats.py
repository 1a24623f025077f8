"""The kinds of data that hsd reads, and how each is told from its columns."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files as resources
from pathlib import Path
from shlex import quote
from typing import Any, get_args

from hsd.data import hatecheck, hatexplain, toxigen, unified
from hsd.data.chat_rows import is_chat
from hsd.data.data_files import has_rows, is_data
from hsd.data.hatexplain import Offensive
from hsd.data.how_read import how_read
from hsd.data.loaded_file import Convert, Loaded, convert_rows, load
from hsd.data.own_table import load_table
from hsd.data.read_rows import Row, read_rows
from hsd.data.table_columns import Columns
from hsd.data.unread_columns import look_alike
from hsd.errors import ConfigError, DataError, did_you_mean
from hsd.example import SPLITS
from hsd.groups.group_set import GroupSet, default_groups

EMBEDDED = Path(str(resources("hsd.embedded")))
KINDS = ("unified", "hatexplain", "toxigen", "hatecheck", "table", "embedded", "hub")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What is decided while rows are read."""

    offensive: Offensive = "normal"
    """What HateXplain's majority label `offensive` counts as."""
    toxicity_threshold: float = toxigen.MIDPOINT
    """ToxiGen's annotated rows are hate above this toxicity_human."""
    columns: Columns = field(default_factory=Columns)
    """Of sources of the kind `table`."""
    groups: GroupSet = field(default_factory=default_groups)
    """What the names of whom a post is about are read into."""

    def __post_init__(self) -> None:
        """Refuse an unknown word for `offensive`."""
        if self.offensive not in get_args(Offensive):
            hint = did_you_mean(self.offensive, get_args(Offensive))
            raise ConfigError(f"offensive: unknown value '{self.offensive}'.{hint}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: `KIND:PATH`, `embedded:SPLIT` or `hub:NAME[#CONFIG][@REVISION]`."""

    kind: str
    location: str

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Return the source that `KIND:PATH` names.

        Raises ConfigError for an unknown kind, and for a split that the embedded rows lack.
        """
        kind, colon, location = text.partition(":")
        if not colon or not location:
            example = "posts.csv" if colon or not text else text
            raise ConfigError(f"source '{text}': expected KIND:PATH, such as table:{example}.")
        if kind not in KINDS:
            raise ConfigError(f"source '{text}': unknown kind '{kind}'.{did_you_mean(kind, KINDS)}")
        if kind == "embedded" and location not in SPLITS:
            raise ConfigError(f"source '{text}': expected embedded:{', embedded:'.join(SPLITS)}.")
        return cls(kind, location)

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.kind}:{self.location}"

    @property
    def path(self) -> Path:
        """Return where the rows of a local source are."""
        if self.kind == "embedded":
            return EMBEDDED / f"{self.location}.jsonl"
        return Path(self.location)

    @property
    def files(self) -> list[Path]:
        """Return the files, or the saved folder, it is read from; [] for the hub."""
        if self.kind == "hub":
            return []
        path = self.path
        if self.kind == "unified" and not is_one_source(path):
            return list(unified.find_splits(path).values())
        beside = path.parent / hatexplain.DIVISIONS
        return [path, beside] if self.kind == "hatexplain" and beside.exists() else [path]


def is_one_source(path: Path) -> bool:
    """Return whether rows are read from a path as they are, not from a file for each split."""
    return is_data(path) or (has_rows(path) and not unified.splits_in(path))


def load_source(source: Source, reading: ReadOptions) -> Loaded:
    """Return a local source's rows; hub sources are `hsd.data.hub_rows`'s."""
    path = source.path
    if source.kind == "table":
        return load_table(path, reading.columns, reading.groups)
    if source.kind == "hatexplain":
        return hatexplain.load_hatexplain(path, reading.offensive, reading.groups)
    if source.kind == "unified" and not is_one_source(path):
        return unified.load_folder(path, reading.groups)
    return load(path, _convert(source.kind, reading), _reads(source.kind), reading.groups)


def load_posts(
    path: Path, columns: Columns | None = None, groups: GroupSet | None = None
) -> Loaded:
    """Return a file's rows, read by the columns that a person names, else as `load_any` does."""
    follow = groups or default_groups()
    if columns is None:
        return load_any(path, ReadOptions(groups=follow))
    return load_table(path, columns, follow)


def load_any(path: Path, reading: ReadOptions) -> Loaded:
    """Return a file's rows, read as the kind that its columns tell."""
    rows, bad = read_rows(path)
    divisions = hatexplain.read_divisions(path.parent / hatexplain.DIVISIONS)
    loaded = convert_detected(rows, str(path), reading, divisions)
    return replace(loaded, bad=bad + loaded.bad, notes=how_read(path))


def convert_detected(
    rows: list[Row], name: str, reading: ReadOptions, divisions: Mapping[str, str] | None = None
) -> Loaded:
    """Return examples of rows whose kind the columns of the first row tell.

    Raises DataError for rows that are chats, or of no known kind.
    """
    if not rows:
        return Loaded()
    kind = detect(rows[0].values, name)
    if kind == "hatexplain":
        convert = hatexplain.converter(reading.offensive, divisions)
        return convert_rows(rows, convert, groups=reading.groups)
    return convert_rows(rows, _convert(kind, reading), _reads(kind), reading.groups)


def _reads(kind: str) -> frozenset[str]:
    """Return the columns that a kind reads; of a published form all are known."""
    return unified.READS if kind in ("unified", "embedded") else frozenset()


def _convert(kind: str, reading: ReadOptions) -> Convert:
    if kind == "toxigen":
        return toxigen.converter(reading.toxicity_threshold)
    if kind == "hatecheck":
        return hatecheck.convert
    return unified.convert


def detect(values: Mapping[str, Any], name: str) -> str:
    """Return the kind of data with these columns. Raises DataError when there is none."""
    if is_chat(values):
        raise DataError(
            f"{name}: holds chats (`messages`), which are rendered already and can only be trained "
            "on; pass the posts (text, label) instead, such as unified/val.jsonl."
        )
    if "annotators" in values and "post_tokens" in values:
        return "hatexplain"
    if values.keys() >= hatecheck.COLUMNS:
        return "hatecheck"
    if "prompt_label" in values or "toxicity_human" in values:
        return "toxigen"
    if "text" in values and ("label" in values or "label_binary" in values):
        return "unified"
    _require_small_letters(values, name)
    columns = ", ".join(str(column)[:24] for column in list(values)[:12]) or "none"
    text = quote(look_alike("text", values) or "NAME")
    label = quote(look_alike("label", values) or "NAME")
    source = name if name.startswith("hub:") else quote(f"table:{name}")
    raise DataError(
        f"{name}: columns {columns} are of no known kind (a CSV file needs a header line); "
        "expected text and label, or HateXplain's, ToxiGen's or HateCheck's own. For another table "
        f"add --text-column {text} --label-column {label}, or run `hsd prepare --source {source}` "
        "with them."
    )


def _require_small_letters(values: Mapping[str, Any], name: str) -> None:
    """Say what would have worked for a table that has Text and Label, or TEXT and LABEL."""
    spelled = {str(column).strip().lower(): str(column)[:24] for column in values}
    if {"text", "label"} <= spelled.keys():
        text, label = (shlex.quote(spelled[column]) for column in ("text", "label"))
        raise DataError(
            f"{name}: the columns are named {text} and {label}; hsd expects text and label, in "
            f"small letters. Rename them, or run `hsd prepare --source table:PATH --text-column "
            f"{text} --label-column {label}`."
        )
