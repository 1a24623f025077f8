"""Finds the rows behind a name: `unified`, `canned_50_quick`, `embedded`, or a file's path."""

import os
from collections.abc import Iterable
from pathlib import Path

from hsd.config.evaluate_config import EvalConfig
from hsd.counted import counted
from hsd.data import data_files, unified
from hsd.data.loaded_file import Loaded, require_clean, require_unique_ids
from hsd.data.source_formats import EMBEDDED, load_posts
from hsd.data.table_columns import Columns
from hsd.errors import ConfigError, DataError, did_you_mean
from hsd.example import SPLITS, Example
from hsd.groups.group_set import GroupSet, default_groups

STEMS = {
    "unified": ("test", "unified_test"),
    "canned_50_quick": ("canned_50_quick",),
    "canned_100_stratified": ("canned_100_stratified",),
}
EMBEDDED_NAMES = {f"embedded:{split}": split for split in SPLITS} | {"embedded": "test"}
NAMES = (*STEMS, *EMBEDDED_NAMES)
VARIABLE = "HSD_DATA"


def resolve(
    data_file: str,
    unified_dir: Path | None = None,
    tolerate: int = 0,
    groups: GroupSet | None = None,
) -> list[Example]:
    """Return the examples behind a name or path; ids are unique.

    `unified` is the test split of the unified data. Raises DataError when the name is unknown
    (saying where was looked), when more than `tolerate` rows are bad, or when an id repeats.
    """
    return load_named(data_file, unified_dir, tolerate, groups).examples


def load_named(
    data_file: str,
    unified_dir: Path | None = None,
    tolerate: int = 0,
    groups: GroupSet | None = None,
    columns: Columns | None = None,
) -> Loaded:
    """Return the same with what was not read. Raises what `resolve` raises.

    `columns` are those of a file; a named data set has its own.
    """
    loaded = _load(data_file, unified_dir, groups or default_groups(), columns)
    require_unique_ids(require_clean(loaded, tolerate))
    return loaded


def resolve_path(data_file: str, unified_dir: Path | None = None) -> Path:
    """Return the file behind a name or path."""
    if data_file in EMBEDDED_NAMES:
        return EMBEDDED / f"{EMBEDDED_NAMES[data_file]}.jsonl"
    if data_file in STEMS:
        return _find(data_file, unified_dir)
    path = Path(data_file)
    shown = _as_typed(path)
    if path.is_dir():
        data_files.require_data(path)
    elif not data_files.has_rows(path):
        raise DataError(
            f"data file '{shown}': no such name, and no such file in {Path.cwd()}."
            f"{did_you_mean(str(shown), NAMES, _near(shown))}"
        )
    if splits := [str(split) for split in data_files.splits_at(path)]:
        raise DataError(
            f"data file '{data_file}': holds {counted(len(splits), 'split')}; name one: "
            f"{', '.join(splits)}."
        )
    return path


def folders(unified_dir: Path | None = None) -> list[Path]:
    """Return where named data is looked for: the argument, else $HSD_DATA, else ./data."""
    variable = os.environ.get(VARIABLE)
    if unified_dir is not None:
        roots = [unified_dir]
    elif variable:
        roots = [Path(variable)]
    else:
        roots = [Path("data/unified"), Path("data")]
    # `hsd prepare` writes the splits into unified/ and the canned files beside it.
    return [p for root in roots for p in (root, root / "unified", *_beside(root))]


def require_own_file(names: Iterable[str], columns: Columns | None) -> None:
    """Raise ConfigError where columns are named, and all data sets are named ones."""
    known = [name for name in names if name not in NAMES]
    if columns is not None and not known:
        raise ConfigError(
            f"columns and labels are named, but no file of your own: the data sets "
            f"{', '.join(NAMES)} have columns that hsd knows; name a file, such as posts.csv."
        )


def _load(
    data_file: str, unified_dir: Path | None, groups: GroupSet, columns: Columns | None
) -> Loaded:
    path = resolve_path(data_file, unified_dir)
    if data_file in STEMS or data_file in EMBEDDED_NAMES:
        split = EMBEDDED_NAMES.get(data_file, "test" if data_file == "unified" else "")
        return unified.load_split(path, split, groups)
    return load_posts(path, columns, groups)


def _find(name: str, unified_dir: Path | None) -> Path:
    places = folders(unified_dir)
    for folder in places:
        if (found := data_files.find_data_file(folder, STEMS[name])) is not None:
            return found
    looked = ", ".join(dict.fromkeys(str(place.absolute()) for place in places))
    is_default = name == EvalConfig.model_fields["data_file"].default
    raise DataError(
        f"data '{name}'{', the default of --data-file' if is_default else ''}: no "
        f"{STEMS[name][0]}.jsonl; looked in {looked}. Set {VARIABLE} to the folder of the unified "
        "data, or to one that `hsd prepare` wrote, or take other posts, such as 'embedded'."
    )


def _beside(root: Path) -> list[Path]:
    return [root.parent] if root.name == "unified" else []


def _as_typed(path: Path) -> Path:
    """Return a path below this folder as it is typed here: a sweep makes its paths absolute."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _near(path: Path) -> list[str]:
    """Return the data files in the folder that a mistyped path points into."""
    inside = path.parent.glob("*") if path.parent.is_dir() else ()
    return sorted(str(p) for p in inside if data_files.is_readable(p))
