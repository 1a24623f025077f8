"""Which job, attempt and node this is, and what only the node knows. Standard library alone."""

import errno
import os
import re
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_PLACE = re.compile(r"@(job|node_rank|first_node|port|at|env:(\w+))@")
"""What is filled in on the node; @at@ is a plain @ of a text that is not to be filled in."""


@dataclass
class Here:
    """Where this is: the job, its attempt, this node."""

    job: str
    restart: int
    node: int
    nodes: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """What the commands see."""
    streams: tuple[IO[bytes] | None, IO[bytes] | None] = (None, None)
    """Where their stdout and stderr go; None is where this process's own go."""
    asked: list[int] = field(default_factory=list)
    """Signals that came in."""
    used: dict[str, float] = field(default_factory=dict)
    """What the commands used, once they have ended."""
    worked: dict[str, Any] | None = None
    """From where to where they came, once they have ended."""

    @property
    def first(self) -> bool:
        """Return whether this node speaks for the job."""
        return self.node == 0


def whereabouts(environ: Mapping[str, str]) -> Here:
    """Return the job and the node from SLURM's variables."""
    array = environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{environ.get('SLURM_ARRAY_TASK_ID', '0')}" if array else None
    return Here(
        job=job or environ.get("SLURM_JOB_ID", "local"),
        restart=int(environ.get("SLURM_RESTART_COUNT") or 0),
        node=int(environ.get("SLURM_NODEID") or 0),
        nodes=_hostnames(environ.get("SLURM_JOB_NODELIST", "")) or (os.uname().nodename,),
    )


def filled(command: Sequence[str], here: Here) -> list[str]:
    """Return a command with what only the node knows.

    @job@, @node_rank@, @first_node@, @port@, and @env:NAME@ for a variable (empty when unset).
    What is filled in is not read again.
    """
    number = int("".join(c for c in here.job.split("_")[0] if c.isdigit()) or 0)
    index = int(here.job.partition("_")[2] or 0)
    known = {
        "at": "@",
        "job": here.job,
        "node_rank": str(here.node),
        "first_node": here.nodes[0],
        # All nodes of a job must meet at one port, and jobs that share a node at several.
        "port": str(20000 + (number + 7 * index + here.restart) % 20000),
    }

    def value(found: re.Match[str]) -> str:
        return here.environ.get(found[2], "") if found[2] else known[found[1]]

    return [_PLACE.sub(value, word) for word in command]


def verbatim(text: str) -> str:
    """Return a user's text so that `filled` gives it as it is, whatever it looks like."""
    return re.sub(rf"@(?={_PLACE.pattern[1:]})", "@at@", text)


def _hostnames(nodelist: str) -> tuple[str, ...]:
    """Return the names in `hsd[1-2],x`; the host asks SLURM, which knows its own syntax."""
    if not set(nodelist) & set("[,"):
        return (nodelist,) if nodelist else ()
    said = subprocess.run(
        ["scontrol", "show", "hostnames", nodelist], capture_output=True, text=True, check=True
    )
    return tuple(said.stdout.split())


class ScratchRefused(Exception):  # noqa: N818 - what happened
    """This node has no folder for the job's caches that is the job's alone."""


def make_scratch(environ: Mapping[str, str]) -> Path | None:
    """Make the job's folders on this node, and return the folder of them all if it is new here.

    On the first node the script has made it, and removes it; so it has where nodes share it.
    Raises ScratchRefused when it cannot be made, or is there and somebody else's: it holds code.
    """
    if not (name := environ.get("HSD_SCRATCH")):
        return None
    scratch = Path(name)
    try:
        is_new = _made_alone(scratch)
        for folder in environ.values():
            if folder.startswith(f"{scratch}/"):
                Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScratchRefused(
            f"{scratch}: cannot be made on {os.uname().nodename} ({error.strerror}); set "
            "node_local in the profile to a folder that every node has, best one of yours."
        ) from None
    return scratch if is_new else None


def _made_alone(folder: Path) -> bool:
    """Make a folder for this user alone; False when there is one of ours."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)  # follows no link, and makes no use of what is there
    except FileExistsError:
        there = folder.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is somebody else's, or a link") from None
        folder.chmod(0o700)
        return False
    return True
