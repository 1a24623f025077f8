"""What a preparation is asked for, and what it made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hsd.data.duplicates import Pair
from hsd.data.hatexplain import Offensive
from hsd.data.loaded_file import Loaded
from hsd.data.read_rows import BadRow
from hsd.data.source_formats import ReadOptions, Source
from hsd.data.table_columns import Columns, columns_of
from hsd.data.toxigen import MIDPOINT
from hsd.errors import ConfigError, did_you_mean
from hsd.example import Example
from hsd.groups.group_set import DEFAULT, load_groups

Balance = Literal["none", "label", "group"]
LeakPolicy = Literal["report", "drop", "fail"]
SplitPolicy = Literal["given", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is prepared from what, and how. Same settings and same files, same output."""

    sources: tuple[Source, ...]
    output_dir: Path
    template: str | None = None
    """Name or path of the prompt template; None takes what `hsd train` asks with by default."""
    strategies: tuple[str, ...] = ()
    """In that template; each post is asked with each of them, and the first is the main one.
    Empty takes the template's first, or the default of `hsd train` with its template."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    splits: SplitPolicy = "given"
    """Keep the splits that rows came with, and split the others; or split all rows anew."""
    balance: Balance = "none"
    """Of the training rows: as many hate as normal posts, overall or within each group."""
    leaks: LeakPolicy = "report"
    """What becomes of a row that came with a split and has a duplicate in a split held out from it.
    Rows that hsd splits itself never have one."""
    max_train_rows: int | None = None
    tolerate: int = 0
    """So many bad rows are left out and reported; one more is an error."""
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse unknown words, a preparation of nothing, and a map that nothing is read with."""
        if not self.sources:
            raise ConfigError(
                "nothing to prepare; pass --unified-dir FOLDER or --source KIND:PATH."
            )
        kinds = sorted({source.kind for source in self.sources})
        if self.reading.columns != Columns() and not {"table", "hub"} & set(kinds):
            raise ConfigError(
                "--labels and columns are named for table and hub sources, but sources are "
                f"{', '.join(kinds)}; name the file as --source table:PATH."
            )
        for name, value, kind in (
            ("balance", self.balance, Balance),
            ("leaks", self.leaks, LeakPolicy),
            ("splits", self.splits, SplitPolicy),
        ):
            if value not in get_args(kind):
                hint = did_you_mean(value, get_args(kind))
                raise ConfigError(f"{name}: unknown value '{value}'.{hint}")


@dataclass(frozen=True, slots=True)
class SourceRead:
    """One source as it was read."""

    source: Source
    loaded: Loaded
    version: dict[str, str]
    """SHA-256 of each file, or the hub's commit."""


@dataclass(frozen=True, slots=True)
class PreparedData:
    """What a preparation made."""

    examples: list[Example]
    sources: list[SourceRead]
    bad: list[BadRow]
    left_out: list[BadRow]
    duplicates: list[Pair]
    compared: list[Example]
    """The rows that the positions of `duplicates` and `leaks` count in."""
    leaks: list[Pair]
    stats: dict[str, Any] = field(default_factory=dict)
    """The content of stats.json."""


def preparation(
    unified_dir: Path | None,
    sources: Sequence[str],
    output_dir: Path,
    label: Sequence[str] = (),
    *,
    offensive: Offensive = "normal",
    toxicity_threshold: float = MIDPOINT,
    groups: str = DEFAULT,
    table: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Preparation:
    """Return the preparation that the options of `hsd prepare` describe.

    The unified folder is the first source, so its rows win over repeats elsewhere. `label` are
    texts such as `mean=hate`; `table` are arguments of `columns_of`.
    """
    first = [Source("unified", str(unified_dir))] if unified_dir else []
    columns = columns_of(label=label, **(table or {})) or Columns()
    return Preparation(
        sources=(*first, *map(Source.parse, sources)),
        output_dir=output_dir,
        reading=ReadOptions(offensive, toxicity_threshold, columns, load_groups(groups)),
        **settings,
    )
