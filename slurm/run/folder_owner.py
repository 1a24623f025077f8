"""Whether a run's folder is this user's alone to write: the pickles and the code in it are run."""

import os
import shlex
import stat
from pathlib import Path

from hsd.errors import PreflightError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_INSTEAD = "choose another folder, or remove it and run this again"


def refuse_open(folder: Path) -> None:
    """Raise PreflightError for a folder that is not ours, or that group or others can write.

    The link to it, and the folders right in it, must be ours too: whoever made one may still be in
    it. Owner and mode are looked at, access control lists are not.
    """
    for path in (folder, *sorted(folder.iterdir())):
        if path.lstat().st_uid != os.geteuid() and (path == folder or path.is_dir()):
            raise PreflightError(
                f"{path}: belongs to another user ({_name(path)}), who could put code of theirs "
                f"into its jobs; {_INSTEAD}."
            )
    there = folder.stat()
    if there.st_uid != os.geteuid() or there.st_mode & _OTHERS_WRITE:
        raise PreflightError(_open(folder))


def guard(folder: Path) -> str:
    """Return the line of a script that refuses the same of a folder on the node.

    Right before a pickle is loaded: what was looked at when the job was submitted may be another
    folder by now.
    """
    itself, inside = shlex.quote(str(folder)), shlex.quote(f"{folder}/.")
    foreign = '\\( ! -user "$UID" -o ! -type l -perm /022 \\)'
    said = shlex.quote(f"Error: {_open(folder)}")
    return (
        f'foreign="$(find {itself} {inside} -maxdepth 0 {foreign})" && [ -z "$foreign" ] || '
        f"{{ echo {said} >&2; exit 3; }}"
    )


def _open(folder: Path) -> str:
    return (
        f"{folder}: is not yours, or others can write to it, and so put code of theirs into its "
        f"jobs; where it is yours and nobody else has: chmod go-w {shlex.quote(str(folder))} "
        "(on a disk without modes, such as a Windows one, take another folder)"
    )


def _name(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a number without a name
        return str(path.lstat().st_uid)
