"""`hsd card`: the model card of an adapter."""

from pathlib import Path

import click

from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo

PATH = click.Path(path_type=Path)


@click.command(cls=Command, examples="hsd card runs/adapter runs/adapter/eval")
@click.argument("adapter", type=PATH)
@click.argument("evaluation", type=PATH)
def card(adapter: Path, evaluation: Path) -> None:
    """Write the model card README.md into ADAPTER.

    The card names the base model, data, prompt and limits, and shows metrics by group with
    intervals. The numbers are those of EVALUATION. It must be an evaluation of exactly these
    weights, on posts that were not used for training. A README.md that a person wrote or edited is
    left as it is.
    """
    from hsd.report.model_card import write_card

    echo(f"Card: {write_card(adapter, evaluation)}")


if __name__ == "__main__":
    run_command(card)
