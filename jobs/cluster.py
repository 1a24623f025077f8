"""`hsd cluster`: write a cluster's profile by asking it, and show what is known of clusters."""

import getpass
import json
import os
from pathlib import Path

import click
from rich.table import Table

from hsd.counted import counted
from hsd.errors import PreflightError
from jobs.terminal.console import Terminal, escape
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT, Command, CommandGroup
from jobs.terminal.output import echo, echo_text
from slurm.cluster.client import Slurm
from slurm.cluster.discovery import asked, discover
from slurm.cluster.profile import (
    Profile,
    default_profile,
    load_profile,
    own_file,
    profile_file,
    profile_names,
    profile_schema,
)

_TERMINAL = "-"


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def cluster() -> None:
    """Write, show and list cluster profiles."""


@cluster.command(
    cls=Command,
    examples="""
    hsd cluster init
    hsd cluster init --name big --shared-root /scratch/me/runs
    hsd cluster init --output - | less
    """,
)
@click.option("--name", help="Write ~/.config/hsd/clusters/NAME.toml, for --cluster NAME.")
@click.option(
    "--output",
    help="Write this file; - prints to the terminal. Default: ~/.config/hsd/cluster.toml, which "
    "every command uses without --cluster.",
)
@click.option(
    "--shared-root",
    default="runs",
    show_default=True,
    help="Folder for runs that all nodes see.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(name: str | None, output: str | None, shared_root: str, force: bool) -> None:
    """Ask SLURM about this cluster and write a profile.

    The comments in the profile say what sinfo, scontrol and sacctmgr answered.
    """
    if name and output:
        raise click.UsageError("--name and --output both say where to write; give only one.")
    file = Path(output) if output else own_file(name)
    if output != _TERMINAL and file.exists() and not force:
        raise PreflightError(f"{file} exists already; give --force to overwrite it, or --name.")
    wanted = os.environ.get("SLURM_CLUSTERS", "")
    if "," in wanted:
        raise PreflightError(f"SLURM_CLUSTERS={wanted}: a profile is of one cluster; name one.")
    slurm = Slurm(cluster=wanted)
    text = discover(asked(slurm.text, getpass.getuser()), shared_root, wanted)
    if output == _TERMINAL:
        echo_text(text, nl=False)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    chosen = f" --cluster {name or output}" if name or output else ""
    echo(f"Written: {file}. Read it, then: hsd doctor{chosen}")


@cluster.command(
    cls=Command,
    examples="""
    hsd cluster show
    hsd cluster show a100x4 > ~/.config/hsd/clusters/mine.toml
    hsd cluster show a100x4 --format json
    """,
)
@click.argument("source", required=False, metavar="[NAME|FILE]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json"]),
    default="toml",
    show_default=True,
    help="Print the file, or every resolved field as JSON.",
)
def show(source: str | None, form: str) -> None:
    """Show a profile: the file with its comments, or every resolved field (--format json)."""
    source = source or default_profile()
    profile = load_profile(source)
    if form == "toml":
        echo_text(profile_file(source).read_text(encoding="utf-8"), nl=False)
    else:
        echo_text(json.dumps(profile.model_dump(mode="json"), indent=2, ensure_ascii=False))


@cluster.command("list", cls=Command, examples="hsd cluster list")
def list_profiles() -> None:
    """List your own profiles and those that come with hsd."""
    table = Table(header_style="bold")
    for column in ("profile", "what for", "train on", "file"):
        table.add_column(column, overflow="fold", no_wrap=column == "profile")
    for name in profile_names():
        table.add_row(name, *map(escape, _about(name)), escape(_place(name)))
    Terminal().print(table)


@cluster.command(cls=Command, examples="hsd cluster schema > profile.schema.json")
def schema() -> None:
    """Print the JSON schema of profiles."""
    echo_text(json.dumps(profile_schema(), indent=2))


def _about(name: str) -> tuple[str, str]:
    """Return what for and on what; one broken profile does not hide the others."""
    try:
        profile = load_profile(name)
    except PreflightError as error:
        return f"refused: {error}", ""
    return profile.description, _trains_on(profile)


def _trains_on(profile: Profile) -> str:
    train = profile.stages.train
    gpus = counted(train.gpus, "GPU")
    nodes = f"{train.nodes} x " if train.nodes > 1 else ""
    return "this machine" if profile.local else f"{nodes}{gpus if train.gpus else 'CPUs'}"


def _place(name: str) -> str:
    file, home = profile_file(name), Path.home()
    return f"~/{file.relative_to(home)}" if file.is_relative_to(home) else "shipped"


if __name__ == "__main__":
    run(cluster)
