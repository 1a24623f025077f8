"""The table that is written, window by window: CSV, JSONL or Parquet."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import IO, Any, Literal

from hsd.errors import ConfigError
from hsd.io.files import atomic_file
from hsd.report.evaluation_files import csv_line

OutputFormat = Literal["csv", "jsonl", "parquet"]
_SUFFIXES: dict[str, OutputFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
Rows = Iterable[Mapping[str, Any]]
WriteRows = Callable[[Rows], None]


def output_format(path: Path) -> OutputFormat:
    """Return what is written, by the file's name. Raises ConfigError for another name."""
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ConfigError(
            f"output '{path}': its name does not say what to write; give one that ends in "
            f"{', '.join(_SUFFIXES)}."
        )
    return found


@contextmanager
def new_table(
    path: Path, layout: OutputFormat, columns: Mapping[str, str | set[str]]
) -> Iterator[WriteRows]:
    """Yield what writes rows; the file appears when the block ends well.

    `columns` are all there are, in their order, each with the kinds of its cells. It holds posts,
    so a new file is for its owner alone.
    """
    with atomic_file(path, "wb" if layout == "parquet" else "w", posts=True) as file:
        if layout == "parquet":
            with _parquet(file, columns) as write:
                yield write
        else:
            yield text_table(file, layout, list(columns))


def text_table(file: IO[str], layout: OutputFormat, columns: Sequence[str]) -> WriteRows:
    """Return what writes rows of CSV, below a header, or of JSONL into an open file."""
    if layout == "csv":
        file.write(csv_line(columns))

    def write(rows: Rows) -> None:
        if layout == "csv":
            file.writelines(csv_line(_cell(row.get(name)) for name in columns) for row in rows)
        else:
            file.writelines(_json(row) + "\n" for row in rows)

    return write


@contextmanager
def _parquet(file: IO[bytes], columns: Mapping[str, str | set[str]]) -> Iterator[WriteRows]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = {name: _arrow_kind(kind) for name, kind in columns.items()}
    schema = pa.schema([(name, _arrow_types()[kind]) for name, kind in kinds.items()])
    with ParquetWriter(file, schema) as writer:

        def write(rows: Rows) -> None:
            table = [
                {name: _as_kind(row.get(name), kind) for name, kind in kinds.items()}
                for row in rows
            ]
            writer.write_table(pa.Table.from_pylist(table, schema=schema))

        yield write


def _arrow_types() -> dict[str, Any]:
    import pyarrow as pa

    return {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


def _arrow_kind(kinds: str | set[str]) -> str:
    """Return the one kind that holds all cells of a column: text, where they differ."""
    found = {kinds} if isinstance(kinds, str) else kinds
    if found == {"int", "float"}:
        return "float"
    if found and found <= {"int", "large"}:
        return "int"
    (only,) = found if len(found) == 1 else ("str",)
    return "str" if only == "other" else only


def _as_kind(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "float":
        return float(value)
    return _text(value) if kind == "str" else value


def _cell(value: Any) -> Any:
    """Return a cell of CSV: lists, objects and truth values as JSON spells them."""
    return _text(value) if isinstance(value, bool | list | dict | bytes) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # JSON knows no infinity
        return json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
