"""A lease as another process leaves it, whole at once: a half-written one is nobody's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.io.files import atomic_file
from hsd.io.lease import Holder, _text, myself


def stolen(file: Path, work: str = "hsd train", **changes: Any) -> Holder:
    """Make the lease in `file` that of another holder, and return it."""
    holder = replace(myself(work), **changes)
    with atomic_file(file, "wb") as whole:
        whole.write(_text(holder))
    return holder
