"""The files that hold a base's weights, and a digest of their bytes that tells it from another.

Loads no torch. The bytes are those on the disk, which no number format changes that a base is
loaded in. Of a GGUF file they are its own, not those of the folder that is made of it: torch rounds
alike everywhere (element by element, as IEEE 754 says), but another version of its writer, or of
gguf's reader, may put the same tensors into other bytes.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from hsd.errors import ModelError, PreflightError
from hsd.io.json_reader import read_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BLOCK = 128 * 1024
BLOCKS = 1024
"""How much is read: 128 MiB in all, so weights up to that size whole; of larger ones blocks that
lie evenly. 40 GB take about a second. Blocks 40 MB apart meet about half of 24 matrices of 20 MB,
and a merged adapter changes one or more in each layer. One flipped bit of a large base is not
found."""


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint's weights that are there, in the order of their names.

    The shards that an index names, model.safetensors, or a GGUF file. Raises ModelError as
    `shards_of`.
    """
    if (folder / SINGLE).is_file():
        found = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        found = [folder / name for name in shards_of(folder / INDEX)]
    else:
        found = sorted(folder.rglob("*.gguf"))
    return [file for file in found if file.is_file()]


def shards_of(index: Path) -> list[str]:
    """Return the names of the files that an index of shards names, sorted.

    Raises ModelError when it is no such index, and for a name that is not one of a safetensors file
    beside it: that would be a file of somebody else's, and no part of what the base is known by.
    """
    try:
        names = read_object(index).get("weight_map")
    except PreflightError as error:
        raise ModelError(str(error)) from None
    if not isinstance(names, dict) or not all(isinstance(one, str) for one in names.values()):
        raise ModelError(f"{index}: weight_map: expected the name of a file for each weight.")
    for name in names.values():
        if not name.endswith(".safetensors") or {"/", "\\", "\0"} & set(name):
            raise ModelError(
                f"{index}: names the file {name!r}; expected one beside it, such as "
                "model-00001-of-00002.safetensors."
            )
    return sorted(set(names.values()))


def bytes_digest(files: Sequence[Path]) -> str | None:
    """Return a digest of files' sizes and of bytes all over them; None without a file."""
    if not files:
        return None
    step = max(BLOCK, sum(file.stat().st_size for file in files) // BLOCKS)
    digest = hashlib.sha256()
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            digest.update(f"{size}\n".encode())
            for start in range(0, size, step):
                digest.update(os.pread(handle, BLOCK, start))
        finally:
            os.close(handle)
    return digest.hexdigest()
