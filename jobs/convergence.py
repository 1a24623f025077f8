"""`hsd convergence`: did a training run converge?"""

import json
from pathlib import Path

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo, echo_text


@click.command(
    cls=Command,
    examples="""
    hsd convergence runs/train
    hsd convergence runs/train/checkpoint-120/trainer_state.json --patience 3 --output-dir curves
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Folder for the curves. Default: RUN.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Number of evaluations without a better validation loss. Default: the run's own early "
    "stopping.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def convergence(run: Path, output_dir: Path | None, patience: int | None, as_json: bool) -> None:
    """Say whether a training RUN converged, and draw its curves (convergence.png and .svg).

    RUN is a folder with metrics.jsonl or trainer_state.json, or one of these files. The answer is
    converged, still improving, overfitting, diverged or too short, with the numbers behind it.
    The command also says whether early stopping would have stopped the training.
    """

    from hsd.training.convergence import Patience, verdict_numbers
    from hsd.training.curves import convergence_report
    from jobs.terminal.number_tables import verdict_table

    rule = Patience(patience) if patience else None
    verdict, files = convergence_report(run, output_dir, rule)
    if as_json:
        numbers = {**verdict_numbers(verdict), "files": list(map(str, files))}
        echo_text(json.dumps(numbers, indent=2))
        return
    Terminal().print(verdict_table(verdict))
    echo(*map(str, files))


if __name__ == "__main__":
    run_command(convergence)
