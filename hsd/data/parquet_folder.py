"""A folder of Parquet files, as the Hugging Face hub keeps data sets: one table, a split a name.

Files may lie in the folder or up to two folders deeper: `data/train-00000-of-00002.parquet`,
`train/0000.parquet`. `FOLDER/test` names one split, where there is no such folder.
"""

import re
from pathlib import Path

from hsd.data.split_names import SPLIT_NAMES, split_of

_DEPTHS = ("*.parquet", "*/*.parquet", "*/*/*.parquet")
_NUMBERED = re.compile(r"[-_.]?\d+(?:-of-\d+)?\Z")
_OURS = frozenset(SPLIT_NAMES.values())


def parquet_files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each split of a folder, or of the one that a path names; {} without.

    The split is "" where no name says which.
    """
    if path.is_dir():
        return _by_split(path)
    if path.exists() or not _may_be_a_split(path):
        return {}
    return {split: files for split, files in _by_split(path.parent).items() if split == path.name}


def _may_be_a_split(path: Path) -> bool:
    """Return whether to look for files: not for a mistyped file, nor here for each bare name."""
    is_bare = path.parent == Path() and path.name not in _OURS
    return bool(path.name) and not path.suffix and not is_bare and path.parent.is_dir()


def _by_split(folder: Path) -> dict[str, list[Path]]:
    found = sorted(
        file
        for depth in _DEPTHS
        for file in folder.glob(depth)
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )
    splits: dict[str, list[Path]] = {}
    for file in found:
        splits.setdefault(_named(file), []).append(file)
    known = splits.keys() & _OURS
    return splits if known else {"": found} if found else {}


def _named(file: Path) -> str:
    """Return the split in a file's name, or in its folder's where files are only numbered."""
    return split_of(_NUMBERED.sub("", file.stem) or file.parent.name)
