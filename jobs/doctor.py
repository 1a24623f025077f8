"""`hsd doctor`: this machine, or a cluster before a submission."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command
from jobs.terminal.output import echo, echo_text

if TYPE_CHECKING:
    from hsd.checks import Check


@click.command(
    cls=Command,
    examples="""
    hsd doctor
    hsd doctor --cluster a100x4
    hsd doctor --cluster ~/.config/hsd/cluster.toml --smoke
    hsd container run --runtime docker --image hsd:cuda -- doctor
    """,
)
@click.option(
    "--cluster",
    metavar="NAME|FILE",
    help="Check this cluster and its profile, from a login node, instead of this machine.",
)
@click.option(
    "--smoke",
    is_flag=True,
    help="Then submit a tiny sweep, stop its training once, and check that the training resumes. "
    "Takes minutes, plus the wait in the queue.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as a JSON list.")
def doctor(cluster: str | None, smoke: bool, as_json: bool) -> int:
    """Check what works on this machine, or on a cluster, and say how to fix what does not.

    The exit code is 3 if something cannot work. What hsd cannot know for certain is a warning.
    """
    from hsd.checks import failures

    checks = _examined(cluster, smoke)
    if not as_json:
        _show(checks)
    if smoke and not failures(checks):
        tried = _tried(cluster)
        checks = [*checks, *tried]
        if not as_json:
            _show(tried)
    elif smoke:
        echo("--smoke was not tried, because the checks above failed.", err=True)
    if as_json:
        echo_text(json.dumps([asdict(check) for check in checks], indent=2))
    return 3 if failures(checks) else 0


def verdict(checks: Sequence["Check"]) -> str:
    """Return how many checks ended which way."""
    from hsd.checks import doubts, failures

    failed, unsure = len(failures(checks)), len(doubts(checks))
    return f"{len(checks) - failed - unsure} ok, {unsure} unsure, {failed} failed."


def _examined(cluster: str | None, smoke: bool) -> list["Check"]:
    if cluster or smoke:
        from slurm.check.cluster_doctor import examine_cluster
        from slurm.cluster.profile import default_profile

        return examine_cluster(cluster or default_profile())
    from hsd.model.doctor_verdicts import examine_machine

    return examine_machine()


def _tried(cluster: str | None) -> list["Check"]:
    from jobs.terminal.progress_bar import say
    from slurm.check.smoke import smoke
    from slurm.cluster.profile import default_profile, load_profile

    return smoke(load_profile(cluster or default_profile()), say)


def _show(checks: Sequence["Check"]) -> None:

    from jobs.terminal.doctor_table import checks_table

    Terminal().print(checks_table(checks))
    echo(verdict(checks))


if __name__ == "__main__":
    run(doctor)
