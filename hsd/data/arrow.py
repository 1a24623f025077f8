"""Rows of Parquet, Arrow and Feather files and of saved data sets, as JSON would hold them.

They have no lines, so rows are counted from 1. What cannot be a row is a string, the reason.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from hsd.data.class_names import LostCode, features_of, lost_class, named, with_names
from hsd.data.data_files import is_saved_splits, opened
from hsd.data.json_rows import Numbered
from hsd.errors import DataError

_BATCH = 1024
_SPLIT = re.compile(r"([\w.-]+)(?:\[.*\])?")
"""How the datasets library names one split, or a slice of it."""
Values = dict[str, Any] | str


def parquet_rows(path: Path) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file."""
    from pyarrow.parquet import ParquetFile

    with _sound(path, "Parquet"), opened(path) as file:
        table = ParquetFile(file)
        schema = table.schema_arrow
        _require_columns(path, schema.names)
        batches = table.iter_batches(batch_size=_BATCH)
        yield from enumerate(_rows(batches, features_of(schema.metadata)), start=1)


def require_one_table(files: Sequence[Path]) -> None:
    """Raise DataError where Parquet files have other columns than the first: no one table."""
    first, *others = ((file, _columns(file)) for file in files)
    for file, columns in others:
        if more := first[1] ^ columns:
            raise DataError(
                f"{file}: column '{min(more)}' is in this file or in {first[0]}, not in both; name "
                "one file, or a folder of files with the same columns."
            )


def _columns(path: Path) -> set[str]:
    from pyarrow.parquet import read_schema

    with _sound(path, "Parquet"):
        return set(read_schema(path).names)


def arrow_rows(path: Path) -> Iterator[Numbered]:
    """Yield the rows of an Arrow file, an Arrow stream or a Feather file."""
    with _sound(path, "Arrow or Feather"), opened(path) as file:
        table = _table(file)
        _require_columns(path, table.column_names)
        batches = table.to_batches(max_chunksize=_BATCH)
        yield from enumerate(_rows(batches, features_of(table.schema.metadata)), start=1)


def saved_splits(path: Path) -> dict[str, Iterator[Values]]:
    """Return the rows of each split that `save_to_disk` wrote; of "" where there are no splits.

    Those of "" know the split that the data set declares.
    """
    from datasets import DatasetDict, load_from_disk

    with _sound(path, "a data set that this version of the datasets library can load"):
        found = load_from_disk(str(path))
    if isinstance(found, DatasetDict):
        return {str(name): dataset_rows(dataset) for name, dataset in found.items()}
    # A part keeps the split of what it was parted from; how the whole names it is newer.
    declared = path.name if is_saved_splits(path.absolute().parent) else str(found.split or "")
    named = _SPLIT.fullmatch(declared)
    return {"": with_split(dataset_rows(found), named[1] if named else "")}


def with_split(rows: Iterable[Values], split: str) -> Iterator[Values]:
    """Yield rows that know their split, unless `split` is ""; a row's own wins."""
    for row in rows:
        if split and isinstance(row, dict):
            yield {**row, "split": row.get("split") or split}
        else:
            yield row


def dataset_rows(dataset: Any) -> Iterator[Values]:
    """Yield the rows of a data set of the datasets library, its codes as names."""
    tables = dataset.with_format("arrow").iter(batch_size=_BATCH)
    return _rows(tables, dataset.features.to_dict())


def _table(file: IO[bytes]) -> Any:
    from pyarrow import feather, ipc

    mark = file.read(6)
    file.seek(0)
    if mark == b"ARROW1":
        return ipc.open_file(file).read_all()
    return feather.read_table(file) if mark[:4] == b"FEA1" else ipc.open_stream(file).read_all()


@contextmanager
def _sound(path: Path, what: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError, LookupError, RecursionError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: not {what} ({said}); copy or download it again.") from None


def _require_columns(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path}: column '{repeated[0]}' is there twice; write the table with one of them."
        )


def _rows(batches: Iterable[Any], features: Any) -> Iterator[Values]:
    """Yield the rows of Arrow tables or batches."""
    classes = with_names(features)
    for batch in batches:
        nested = [name for name, kind in zip(batch.schema.names, batch.schema.types, strict=True)
                  if not _is_plain(kind)]  # fmt: skip
        lost = lost_class(features, batch.schema.names)
        renamed = [name for name in batch.schema.names if name not in features] if lost else []
        for values in _as_written(batch).to_pylist():
            for name in nested:
                values[name] = plain(values[name])
            for name in renamed:
                values[name] = _doubtful(values[name], *(lost or ()))
            yield _with_classes(values, classes)


def _as_written(batch: Any) -> Any:
    """Return a batch whose short floats are the numbers that they print: 0.7, not 0.699999988.

    A score is held against a cut that a person wrote.
    """
    from pyarrow import float64, string, types

    for at, field in enumerate(batch.schema):
        if types.is_float32(field.type):
            printed = batch.column(at).cast(string()).cast(float64())
            batch = batch.set_column(at, field.name, printed)
    return batch


def _doubtful(value: Any, column: str, names: tuple[str, ...]) -> Any:
    """Return a cell of a column that may be `column` under another name."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return LostCode(value, column, names) if is_number else value


def _with_classes(values: dict[str, Any], classes: dict[str, Any]) -> Values:
    for name, feature in classes.items():
        if name in values:
            try:
                values[name] = named(values[name], feature)
            except ValueError as error:
                return f"'{name}' {error}"
    return values


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
    )


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: no NaN, no tuples of a map, no dates, no bytes of text."""
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):  # how Arrow gives a map
            return {str(key): plain(inner) for key, inner in value}
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
