"""Which job, attempt and node this is, and what only the node knows. Standard library alone."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_VARIABLE = re.compile(r"@env:(\w+)@")


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
    """
    number = int("".join(c for c in here.job.split("_")[0] if c.isdigit()) or 0)
    index = int(here.job.partition("_")[2] or 0)
    known = {
        "@job@": here.job,
        "@node_rank@": str(here.node),
        "@first_node@": here.nodes[0],
        # All nodes of a job must meet at one port, and jobs that share a node at several.
        "@port@": str(20000 + (number + 7 * index + here.restart) % 20000),
    }
    words = list(command)
    for name, value in known.items():
        words = [word.replace(name, value) for word in words]
    return [_VARIABLE.sub(lambda found: here.environ.get(found[1], ""), word) for word in words]


def _hostnames(nodelist: str) -> tuple[str, ...]:
    """Return the names in `hsd[1-2],x`; the host asks SLURM, which knows its own syntax."""
    if not set(nodelist) & set("[,"):
        return (nodelist,) if nodelist else ()
    said = subprocess.run(
        ["scontrol", "show", "hostnames", nodelist], capture_output=True, text=True, check=True
    )
    return tuple(said.stdout.split())


def make_scratch(environ: Mapping[str, str]) -> Path | None:
    """Make the job's folders on this node, and return the folder of them all if it is new here.

    On the first node the script has made it, and removes it; so it has where nodes share it.
    """
    if not (name := environ.get("HSD_SCRATCH")):
        return None
    scratch = Path(name)
    is_new = not scratch.exists()
    for folder in environ.values():
        if folder.startswith(f"{scratch}/"):
            Path(folder).mkdir(parents=True, exist_ok=True)
    return scratch if is_new else None
