"""What a submission looks like on a terminal, before, meanwhile and after."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich.table import Table

from hsd.counted import counted
from hsd.errors import CellsFailed, InUseError
from jobs.terminal.console import Terminal, escape
from jobs.terminal.output import echo, echo_text
from jobs.terminal.plain_tables import plain_table
from slurm.check.preflight import Check, doubts, failures, preflight, refuse, together
from slurm.cluster.client import programs
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import slurm_of, states
from slurm.run.submissions import Submitted
from slurm.submit.local_run import Ended, run_here
from slurm.submit.parts import Left
from slurm.submit.recovery import settle
from slurm.submit.single_again import SingleAgain
from slurm.submit.single_job import Single, killed_before
from slurm.submit.submission import SubmissionBundle, commands, submit
from slurm.submit.work import NO_CLUSTER, Found, Work, live_in
from slurm.submit.write_run import alone, write_run
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Stage
from slurm.sweep.sweep import Cell, Sweep
from slurm.watch.cancellation import cancel_replaced_comparisons
from slurm.watch.failed_nodes import remember_nodes

STAGE_HEADER = ("stage", "cells", "waits for", "each", "GPU-hours")
SAME_COMMAND = "Run the same command again when jobs have ended: it submits more."


def proceed(found: Found, *, dry_run: bool, as_json: bool) -> int:
    """Do what is left of a sweep, or only show it; return the exit code."""
    if dry_run:
        show_dry_run(found)
        return 0
    if not as_json:
        show_left(found.left, found.work)
    if not found.left.plan.stages:
        remember_nodes(found.work.folder.path, found.work.nodes)
        if as_json:
            echo("[]")
        return 0
    return here(found) if found.work.profile.local else on_cluster(found, as_json)


def proceed_single(again: SingleAgain, *, dry_run: bool, as_json: bool) -> int:
    """Submit what is left of one command's jobs, or only show it; return the exit code."""
    if as_json:
        warn_later(again.parts, more_of(again.folder.name))
    else:
        show_elements(again)
    if not again.left:
        if not dry_run:
            again.write()
        if as_json:
            echo("[]")
    elif dry_run:
        show_script(again.prepared())
    else:
        again = again.after_asking()
        submit_prepared(again.prepared(), again.write, as_json=as_json, seen=again.seen)
    return 0


def show_elements(again: SingleAgain) -> None:
    """Say which elements of one command are left, done and in the queue."""
    console = Terminal(soft_wrap=True)
    console.print(f"[bold]{escape(again.folder.name)}[/] in {escape(str(again.folder.path))}")
    show_parts(console, again.parts, more_of(again.folder.name))
    for node in again.nodes.excluded:
        console.print(escape(node.sentence(shlex.quote(again.folder.name))), highlight=False)


def show_parts(console: Terminal, left: Left, more: str = SAME_COMMAND) -> None:
    """Say which cells or shards are new, done, in the queue, and not submitted yet."""
    counts = (("to do", left.new), ("done, skipped", left.done), ("in the queue", left.active))
    for word, names in counts:
        if names:
            console.print(f"{len(names)} {word}: {escape(', '.join(names))}", highlight=False)
    say_later(left, more)


def settled(folder: RunFolder, *, release: bool = True) -> bool:
    """Release or take back what a killed submission of the run left in the queue, and say so.

    Return whether there was any; `release` as of `settle`.
    """
    said = settle(folder, release=release)
    for sentence in said:
        echo(f"{folder.path}: {sentence}", err=True)
    return bool(said)


def is_queued(single: Single) -> bool:
    """Settle what a killed start of this command left; say whether its job is in the queue now."""
    for run in killed_before(single):
        try:
            settled(run)
        except InUseError:  # it was not killed, but goes on in another terminal
            continue
        active = live_in(states(run.path, slurm_of(run)))
        is_live = any(active(single.kind, task.cell) for task in single.tasks())
        if is_live and single.is_command_of(run.facts()):
            echo(f"This command is in the queue: hsd status {shlex.quote(run.name)} --watch")
            return True
    return False


def show_left(left: Left, work: Work) -> None:
    """Say which cells are new, which are done and which are in the queue."""
    console = Terminal(soft_wrap=True)
    console.print(f"[bold]{escape(work.sweep.name)}[/] in {escape(str(work.folder.path))}")
    show_parts(console, left)
    for node in work.nodes.excluded:
        console.print(escape(node.sentence(name_of(work))), highlight=False)
    if not left.plan.stages:
        console.print(f"{_next(left, work)} {name_of(work)}", highlight=False)


def _next(left: Left, work: Work) -> str:
    """Return why nothing is submitted, and the command to type without the run's name."""
    if left.active:
        return "Wait for what is in the queue: hsd status"
    if {*work.bases, *(cell.name for cell in work.cells)} - set(left.done):
        return "Other cells are not done: hsd resubmit"
    return "Everything is done: hsd status"


def later(left: Left, more: str) -> str:
    """Return the sentence about cells or shards that do not fit into the queue now."""
    return f"{counted(len(left.later), left.word)} not submitted yet: {left.full}. {more}"


def more_of(name: str) -> str:
    """Return how a command's other shards are submitted: the same command would be a new run."""
    return f"When jobs have ended, submit more: hsd resubmit {shlex.quote(name)}"


def say_later(left: Left, more: str = SAME_COMMAND) -> None:
    """Say what is not submitted yet."""
    if left.later:
        echo(later(left, more))


def warn_later(left: Left, more: str = SAME_COMMAND) -> None:
    """Say the same on stderr, where stdout is JSON."""
    if left.later:
        echo(f"Warning: {later(left, more)}", err=True)


def show_dry_run(found: Found) -> None:
    """Print plan, commands and scripts as they would be submitted, byte for byte.

    What would be refused for being missing here is said after them: this may be a laptop.
    """
    if found.is_guess:
        echo(NO_CLUSTER)
    show_left(found.left, found.work)
    if not found.left.plan.stages:
        return
    Terminal().print(plan_table(found.left.plan))
    prepared = found.prepared()
    if prepared.profile.local:
        show_orders(prepared)
    else:
        show_script(prepared)
    show_missing(found, prepared)


def show_orders(prepared: SubmissionBundle) -> None:
    """Print the commands of each cell, as a run on this machine starts them."""
    for name, orders in prepared.orders.items():
        for order in orders:
            lines = "\n".join(f"  {shlex.join(command)}" for command in order.commands)
            echo_text(f"# {name}\n{lines}")


def show_missing(found: Found, prepared: SubmissionBundle) -> None:
    """Print a line for each thing that a submission from here would be refused for.

    SLURM is not asked about a cluster that nobody chose: it would speak of another one.
    """
    ask = not (prepared.profile.local or found.is_guess)
    checks = preflight(
        prepared, programs(prepared.profile) if ask else None, found.work.cells, found.work.sweep
    )
    sentences = [f"{check.sentence}." for check in together(failures(checks))]
    no_cluster = ["no cluster was chosen; give --cluster NAME."] if found.is_guess else []
    if missing := [*no_cluster, *found.missing, *sentences]:
        echo("", "Not submitted. Without --dry-run hsd would refuse this here, because of:")
    for sentence in missing:
        echo(f"- {sentence}")


def show_script(prepared: SubmissionBundle) -> None:
    """Print each sbatch command and the script that it gets."""
    for stage, command in zip(prepared.plan.stages, commands(prepared), strict=True):
        echo_text(f"\n$ {command}\n{prepared.scripts[stage.name]}", nl=False)


def on_cluster(found: Found, as_json: bool = False) -> int:
    """Check, write and submit a sweep."""
    if as_json:
        warn_later(found.left)
    submit_prepared(
        found.prepared(),
        lambda: write_run(found),
        found.work.cells,
        found.work.sweep,
        as_json=as_json,
        seen=found.seen,
    )
    return 0


def submit_prepared(
    prepared: SubmissionBundle,
    write: Callable[[], None],
    cells: Sequence[Cell] = (),
    sweep: Sweep | None = None,
    *,
    as_json: bool = False,
    seen: int | None = None,
) -> None:
    """Check, write what jobs read, submit, and show what was submitted; `seen` as in `alone`."""
    slurm = programs(prepared.profile)
    checks = preflight(prepared, slurm, cells, sweep)
    if as_json:
        for check in doubts(checks):
            echo(f"Warning: {check.sentence}", err=True)
    else:
        show_checks(checks)
    refuse(checks)
    with alone(prepared, "a submission", seen):
        write()
        submitted = submit(prepared, slurm)
        if any(one.kind == "compare" for one in submitted):
            cancel_replaced_comparisons(prepared.plan.folder.path, slurm)
    if as_json:
        echo_text(json.dumps([asdict(one) for one in submitted], indent=2))
        return
    show_submitted(prepared, submitted)
    echo(f"Next: hsd status {shlex.quote(prepared.plan.name)} --watch")


def here(found: Found) -> int:
    """Run the plan on this machine; raises CellsFailed at the end when some cells did."""
    prepared = found.prepared()
    checks = preflight(prepared, None, found.work.cells, found.work.sweep)
    show_checks(checks)
    refuse(checks)
    console = Terminal(soft_wrap=True, highlight=False)
    failed: list[Ended] = []
    with alone(prepared, "hsd run --local", found.seen):
        write_run(found)
        elements = run_here(
            prepared,
            lambda stage, cell, log: console.print(
                f"{stage} {escape(cell)} ...  ({escape(str(log))})"
            ),
        )
        for ended in elements:
            if ended.code != 0:
                failed.append(ended)
            console.print(_ended_line(ended))
    if found.work.folder.comparison_md.exists():
        console.print(f"Comparison: {escape(str(found.work.folder.comparison_md))}")
    if failed:
        first = failed[0]
        raise CellsFailed(
            f"{len({one.cell for one in failed})} of {counted(len(found.left.new), 'cell')} failed"
            f"; first: {first.stage} of {first.cell}. "
            f"Why: hsd logs {name_of(found.work)}/{first.cell}/{first.stage} --first-error"
        )
    return 0


def _ended_line(ended: Ended) -> str:
    if ended.code is None:
        return f"{ended.stage} {escape(ended.cell)}: not run, a job before it failed"
    word = "done" if ended.code == 0 else f"[red]failed with code {ended.code}[/]"
    return f"{ended.stage} {escape(ended.cell)}: {word}"


def show_checks(checks: Sequence[Check]) -> None:
    """Say what was checked; what is in doubt in a line of its own."""
    good = [check.name for check in checks if check.ok]
    console = Terminal(soft_wrap=True, highlight=False)
    if good:
        console.print(f"Checked: {escape(', '.join(good))}.")
    for check in doubts(checks):
        console.print(f"[yellow]Warning[/]: {escape(check.sentence)}")


def show_submitted(prepared: SubmissionBundle, submitted: Sequence[Submitted]) -> None:
    """Print one line for each array: its job, its cells, what it waits for, what it may cost."""
    jobs = {one.stage: one.job_id for one in submitted}
    table = plain_table("", ("job", *STAGE_HEADER))
    for stage in prepared.plan.stages:
        table.add_row(jobs[stage.name], *map(escape, _stage_row(stage)))
    console = Terminal()
    console.print(table)
    console.print(f"At most {prepared.plan.gpu_hours:,.1f} GPU-hours, without requeues.")


def plan_table(plan: Plan) -> Table:
    """Return a plan's stages, before anything is submitted."""
    table = plain_table("", STAGE_HEADER)
    for stage in plan.stages:
        table.add_row(*map(escape, _stage_row(stage)))
    return table


def name_of(work: Work) -> str:
    """Return what a person types to name the run."""
    return shlex.quote(work.sweep.name)


def _stage_row(stage: Stage) -> tuple[str, ...]:
    one = stage.resources
    nodes = f"{one.nodes} x " if one.nodes > 1 else ""
    what = counted(one.gpus, "GPU") if one.gpus else counted(one.cpus, "core")
    return (
        stage.name,
        str(len(stage.tasks)),
        ", ".join(f"{edge.kind} {edge.stage}" for edge in stage.after),
        f"{nodes}{what}, {one.time_min} min",
        f"{stage.gpu_hours:,.1f}" if one.gpus else "",
    )
