"""Whether other machines see a folder, guessed from the file system that it is on."""

import re
from dataclasses import dataclass
from pathlib import Path

_OF_ONE_MACHINE = {
    "tmpfs", "ramfs", "devtmpfs", "overlay", "aufs", "squashfs", "ext2", "ext3", "ext4", "xfs",
    "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "hfs", "apfs",
}  # fmt: skip
_PRIVATE = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_ESCAPE = re.compile(r"\\(\d{3})")
_TABLE = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    point: str
    kind: str


def mounts(table: str) -> list[Mount]:
    """Return the mounts in the text of /proc/self/mountinfo; a later one hides an earlier."""
    found = []
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if len(fields := before.split()) > 4 and (kind := after.split()):
            point = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4])
            found.append(Mount(point, kind[0]))
    return found


def why_unseen(path: Path, table: str | None = None) -> str | None:
    """Return why nodes may not see `path`; None where nothing speaks against it.

    A guess: a login node may export its own disk, so this is never a reason to refuse.
    """
    real = existing(path).resolve()
    for folder in _PRIVATE:
        if real.is_relative_to(folder):
            return f"{folder} is each machine's own"
    on = _mount_of(real, mounts(_read() if table is None else table))
    if on is not None and on.kind in _OF_ONE_MACHINE:
        return f"{on.point} is {on.kind}, a disk of this machine"
    return None


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _mount_of(path: Path, known: list[Mount]) -> Mount | None:
    around = [mount for mount in known if path.is_relative_to(mount.point)]
    return max(reversed(around), key=lambda mount: len(mount.point), default=None)


def _read() -> str:
    try:
        return _TABLE.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""
