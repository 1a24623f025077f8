"""What a data file is, by its name and its first bytes, and its text line by line."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal, cast

from hsd.data.encodings import UTF_8, WESTERN, is_western, marked_encoding
from hsd.data.parquet_folder import parquet_files
from hsd.errors import DataError, did_you_mean
from hsd.io.hashes import sha256_file

Format = Literal["lines", "json", "csv", "tsv", "parquet", "arrow"]
FORMATS: dict[str, Format] = {
    ".jsonl": "lines",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ndjson": "lines",
    ".tab": "tsv",
}
"""Ends of names, in any case and with or without `.gz`; in this order a folder is searched."""
READABLE = "JSONL, JSON, CSV, TSV, Parquet or Arrow (.gz too)"

_COLUMNAR: dict[bytes, Format] = {b"PAR1": "parquet", b"ARROW1": "arrow", b"FEA1": "arrow"}
_HEAD = 4096

_AS_CSV = "save it there as `CSV UTF-8`, and pass that"
_UNPACKED = "unpack it, and pass a file that was in it"
_AS_JSONL = (
    "reading it could run code of its writer; where it was made, write "
    "df.to_json('posts.jsonl', orient='records', lines=True)"
)
_WORKBOOK = ("a workbook of a spreadsheet", _AS_CSV)
_PICKLE = ("a Python pickle", _AS_JSONL)
_REFUSED = {
    b"PK\x03\x04": ("a zip archive", _UNPACKED),
    b"\xd0\xcf\x11\xe0": _WORKBOOK,
    b"BZh": ("compressed with bzip2", _UNPACKED),
    b"\xfd7zXZ": ("compressed with xz", _UNPACKED),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", _UNPACKED),
    b"Rar!": ("a rar archive", _UNPACKED),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACKED),
    **{b"\x80" + bytes([protocol]): _PICKLE for protocol in range(2, 6)},
    b"\x93NUMPY": ("an array of numpy", "write the rows as JSONL or Parquet where it was made"),
    b"SQLite format 3": ("a SQLite database", "export the table as CSV"),
    b"version https://git-lfs": ("a Git LFS pointer, not the data", "run `git lfs pull`"),
    b"<!doctype html": ("a web page", "download the file itself (the `raw` link)"),
    b"<html": ("a web page", "download the file itself (the `raw` link)"),
}
"""First bytes, in lower case where they are words, to what the file is and what would work."""
_REFUSED_NAMES = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), _WORKBOOK),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _PICKLE),
    **dict.fromkeys((".tar", ".tgz"), ("an archive", _UNPACKED)),
}


def format_of(path: Path) -> Format:
    """Return how a file is laid out.

    Raises DataError for what hsd does not read, saying what it is and what would work.
    """
    with opened(path) as file:
        head = file.read(_HEAD)
    suffix = _suffix(path)
    columnar = next((name for mark, name in _COLUMNAR.items() if head.startswith(mark)), None)
    if columnar is not None:
        return columnar
    found = FORMATS.get(suffix)
    refused = _refused(head, suffix)
    if refused is not None:
        raise DataError(f"{path}: this is {refused[0]}; {refused[1]}.")
    if found is not None:
        return found
    if not head.strip() or head.lstrip()[:1] in (b"{", b"["):
        return "lines"
    said = f"names that end in '{suffix}' do" if suffix else "a name without an end does"
    raise DataError(
        f"{path}: {said} not say how rows are laid out; rename it to what it holds: "
        f"{', '.join(FORMATS)} (each also with .gz)."
    )


def find_data_file(folder: Path, stems: Iterable[str]) -> Path | None:
    """Return the folder's file with one of the names in a format that is read, JSONL first."""
    wanted = tuple(stems)
    files = {path.name.lower(): path for path in sorted(folder.glob("*")) if path.is_file()}
    names = (
        f"{stem}{suffix}{more}" for more in ("", ".gz") for suffix in FORMATS for stem in wanted
    )
    return next((files[name] for name in names if name in files), None)


def stem(path: Path) -> str:
    """Return a file's name without what tells its format: `train` of train.jsonl.gz."""
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


def is_readable(path: Path) -> bool:
    """Return whether a file's name is one of a format that is read."""
    return path.is_file() and _suffix(path) in FORMATS


def is_saved(path: Path) -> bool:
    """Return whether a folder is what `save_to_disk` of the datasets library writes."""
    return is_saved_splits(path) or (path / "state.json").is_file()


def is_saved_splits(path: Path) -> bool:
    """Return whether a folder was saved with splits: each of them is a saved folder too."""
    return (path / "dataset_dict.json").is_file()


def is_data(path: Path) -> bool:
    """Return whether there is something to read at a path: a file, or a saved folder."""
    return path.is_file() or is_saved(path)


def has_rows(path: Path) -> bool:
    """Return whether there is something to read at a path: as `is_data`, or Parquet in a folder."""
    return is_data(path) or bool(parquet_files(path))


def splits_at(path: Path) -> list[Path]:
    """Return the splits of a folder that has several, each as it is named; [] of anything else."""
    if is_saved_splits(path):
        return sorted(inner for inner in path.iterdir() if is_saved(inner))
    splits = {} if is_data(path) else parquet_files(path)
    return sorted(path / split for split in splits) if len(splits) > 1 else []


def is_one_table(path: Path) -> bool:
    """Return whether there are rows at a path, and not those of several splits."""
    return has_rows(path) and not splits_at(path)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and digests in a folder of rows."""
    if path.is_file():
        return sha256_file(path)
    parquet = [] if is_saved(path) else [f for files in parquet_files(path).values() for f in files]
    files = sorted(parquet or (inner for inner in path.rglob("*") if inner.is_file()))
    above = path if path.is_dir() else path.parent
    named = (f"{file.relative_to(above)}\0{sha256_file(file)}\n" for file in files)
    return sha256("".join(named).encode()).hexdigest()


def require_data(path: Path) -> Path:
    """Return `path`; raise DataError with near names when there is nothing to read."""
    if has_rows(path):
        return path
    if path.is_dir():
        raise DataError(
            f"{path}: a folder without Parquet files, and none that `save_to_disk` of the datasets "
            f"library wrote; name a file: {READABLE}."
        )
    near = [p.name for p in path.absolute().parent.glob("*") if p.is_file()]
    raise DataError(f"{path}: no such file.{did_you_mean(path.name, beside=near)}")


def lines(path: Path) -> Iterator[str]:
    """Yield the lines with their line feeds, and no other line ends: U+2028 may stand in JSON."""
    with opened(path) as file:
        marked = marked_encoding(file.read(4))
        file.seek(0)
        if marked:
            yield from _marked_lines(path, file, marked)
        else:
            yield from decoded(path, file)


def decoded(path: Path, file: Iterable[bytes]) -> Iterator[str]:
    """Yield lines of bytes as text; `path` is what messages call the file."""
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise DataError(
                f"{path}:{number}: not UTF-8 (byte 0x{byte:02x}); save it as UTF-8 (in Excel: "
                "`CSV UTF-8`)."
            ) from None
        yield text


def table_text(path: Path) -> tuple[str, str]:
    """Return the text of a CSV or TSV file and its encoding.

    Raises DataError for text that is none of UTF-8, UTF-16 with its mark, and Windows-1252.
    """
    with opened(path) as file:
        data = file.read()
    if encoding := marked_encoding(data):
        return "".join(lines(path)), encoding
    if is_western(data):
        return data.decode("cp1252"), WESTERN
    return "".join(lines(path)), UTF_8


def _marked_lines(path: Path, file: IO[bytes], encoding: str) -> Iterator[str]:
    try:
        with TextIOWrapper(file, encoding, newline="\n") as text:
            yield from text
    except UnicodeError as error:
        raise DataError(
            f"{path}: the {encoding} text is cut off or damaged ({error}); copy or download it "
            "again, or save it as UTF-8."
        ) from None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Give a file's bytes, unpacked where it is gzip's, whatever its name.

    Raises DataError where a packed file turns out to be damaged.
    """
    with require_data(path).open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not is_packed:
            yield file
            return
        try:
            with gzip.open(file, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{path}: the gzip file is cut off or damaged ({error}); copy or download it again."
            ) from None


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _refused(head: bytes, suffix: str) -> tuple[str, str] | None:
    start = head.lstrip().lower() if head[:1].isspace() or head[:1] == b"<" else head
    found = next((said for mark, said in _REFUSED.items() if start.startswith(mark)), None)
    if found is not None and suffix in _REFUSED_NAMES:
        return _REFUSED_NAMES[suffix]  # a workbook is a zip archive too
    if found is None and suffix not in FORMATS:
        found = _REFUSED_NAMES.get(suffix)
    is_text = FORMATS.get(suffix) not in ("parquet", "arrow") and not marked_encoding(head)
    if found is None and is_text and b"\0" in head:
        return "no text, or UTF-16 (it holds null bytes)", "save it as UTF-8"
    return found
