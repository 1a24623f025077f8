"""The posts that a model is evaluated on, read before anything is known of the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsd.config.evaluate_config import EvalConfig
from hsd.data.data_sets import load_named, require_own_file, resolve_path
from hsd.data.loaded_file import left_out_said
from hsd.data.sampling import sampled
from hsd.data.table_columns import Columns, columns_in
from hsd.errors import ConfigError
from hsd.example import Example
from hsd.groups.group_set import DEFAULT, GroupSet, load_groups
from hsd.groups.name_lists import unknown_said


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The posts of one set, and what a person should know of how they were read."""

    examples: list[Example]
    groups: GroupSet
    """What error rates are counted for."""
    unread: tuple[str, ...]
    """Columns that a person may believe to be read."""
    read_as: tuple[str, ...]
    """How the rows were read, where that is not plain."""

    def sentences(self) -> Iterator[str]:
        """Yield what a person should know of how the rows were read."""
        yield from self.read_as
        yield from (f"a column is not read: {said}." for said in self.unread)
        yield from unknown_said(example.unknown_groups for example in self.examples)


def read_sets(configs: Sequence[EvalConfig], data_dir: Path | None = None) -> list[EvaluationSet]:
    """Read the sets of one evaluation; `configs` differ in their `data_file` alone.

    Raises ConfigError or DataError, whichever set it is about.
    """
    columns, groups = found_sets(configs, data_dir)
    sets = [load_named(one.data_file, data_dir, groups=groups, columns=columns) for one in configs]
    return [
        EvaluationSet(
            sampled(loaded.examples, one),
            groups,
            tuple(loaded.unread),
            (*loaded.notes, *left_out_said(loaded, one.data_file)),
        )
        for one, loaded in zip(configs, sets, strict=True)
    ]


def found_sets(
    configs: Sequence[EvalConfig], data_dir: Path | None = None
) -> tuple[Columns | None, GroupSet]:
    """Return how the sets are read and counted. Raises as `read_sets`; no file is read."""
    config, names = configs[0], [one.data_file for one in configs]
    columns = columns_in(config)
    require_own_file(names, columns)
    _require_each_once(names, data_dir)
    return columns, load_groups(config.groups or DEFAULT).with_intersections(config.intersections)


def _require_each_once(data_files: Sequence[str], data_dir: Path | None) -> None:
    """Raise ConfigError where two names are of one file: its posts would count twice."""
    known: dict[Path, str] = {}
    for name in data_files:
        file = resolve_path(name, data_dir).resolve()
        if file in known:
            both = f"'{name}' twice" if known[file] == name else f"'{known[file]}' and '{name}'"
            raise ConfigError(f"data_file: {both} is one file ({file}); name each set once.")
        known[file] = name
