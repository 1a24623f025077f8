"""A home and a user name for containers that were started with `--user N`.

There HOME is `/`, which N cannot write, and N has no name, so that `getpass.getuser` fails deep
inside torch. Both are set before anything heavy is imported.
"""

import os
import pwd
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where getpass.getuser looks, in its order


def provide_home(environ: MutableMapping[str, str], uid: int) -> list[str]:
    """Set HOME and USER where they are missing; return one line for each that was."""
    lines = []
    account = _account(uid)
    home = environ.get("HOME") or (account.pw_dir if account else "")
    if not _is_usable(home):
        environ["HOME"] = str(_own_folder(uid))
        lines.append(
            f"hsd: HOME={home or '(unset)'} is not a folder of yours; using {environ['HOME']}. "
            "Set HOME or HF_HOME to keep downloads."
        )
    if account is None and not any(environ.get(name) for name in _NAMES):
        environ["USER"] = environ["LOGNAME"] = f"user{uid}"
        lines.append(f"hsd: user {uid} has no name here; using {environ['USER']}.")
    return lines


def _account(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _is_usable(home: str) -> bool:
    """A home that is only readable stays: it may hold the models and the token."""
    return bool(home) and Path(home).is_dir() and (home != "/" or os.access(home, os.W_OK))


def _own_folder(uid: int) -> Path:
    """Return a folder that only this user can enter; the same one each time, if it can be."""
    folder = Path(tempfile.gettempdir()) / f"hsd-home-{uid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="hsd-home-"))  # somebody else was here first
    return folder
