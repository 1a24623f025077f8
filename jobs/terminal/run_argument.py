"""RUN on the command line: a name, a path, or `last`; and the name to type it by again."""

import os
import shlex
from collections.abc import Callable
from typing import Any

import click

from hsd.errors import PreflightError
from jobs.terminal.model_asked import fetched_by
from slurm.run.run_folder import LAST, RunFolder, find_run, split_target


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RUN, which may be left out for `last`, to a command; it gets a RunFolder as `run`."""
    return click.argument("run", default="last", callback=lambda _, __, name: find_run(name))(
        command
    )


def runs_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RUN..., each once, without any `last`, to a command; it gets RunFolders as `runs`."""

    def find(_: Any, __: Any, names: tuple[str, ...]) -> list[RunFolder]:
        found = [find_run(name) for name in names or (LAST,)]
        return list({run.path.resolve(): run for run in found}.values())

    return click.argument("runs", nargs=-1, metavar="[RUN]...", callback=find)(command)


def target(text: str, most: int) -> tuple[RunFolder, list[str]]:
    """Return the run and what follows it in RUN/CELL/STAGE, at most `most` parts."""
    run, rest = split_target(text)
    if len(rest) > most:
        form = "/".join(("RUN", "CELL", "STAGE")[: most + 1])
        raise PreflightError(f"{text}: expected {form}, such as {run.name}/{rest[0]}.")
    return run, rest


def typed_name(run: RunFolder) -> str:
    """Return what a person types for this run: its name where that finds it, else its path."""
    try:
        if find_run(run.name).path == run.path:
            return shlex.quote(run.name)
    except PreflightError:
        pass
    here = os.path.relpath(run.path)
    return shlex.quote(min((here, str(run.path)), key=len))


def fetched_name(run: RunFolder) -> str:
    """Return what a person types after `hsd fetch` for this run: its sweep, or its model."""
    facts = run.facts()
    if facts.get("kind", "sweep") != "sweep":
        return fetched_by(facts)
    return shlex.quote(str(facts.get("source") or run.name))
