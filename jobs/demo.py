"""`hsd demo`: train and evaluate a small real model on this CPU."""

from pathlib import Path

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command, set_option, train_config


@click.command(
    cls=Command,
    examples="""
    hsd demo
    hsd demo --output-dir runs/demo2 --set training.max_steps=10
    """,
)
@set_option
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default="runs/demo",
    show_default=True,
    help="Folder for everything that the demo writes.",
)
def demo(overrides: tuple[str, ...], output_dir: Path) -> None:
    """Train and evaluate a small real model on this CPU, in 8 to 12 minutes on 2 cores.

    The demo trains a LoRA adapter, then evaluates and compares the base model and the adapter. It
    needs no GPU, no root and no internet. The posts come with hsd: synthetic, mild, English, and
    no benchmark. The same command resumes where it was stopped.
    """
    config = train_config("demo", (*overrides, f"output_dir={output_dir / 'train'}"))

    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate_with_base
    from hsd.report.comparison_report import compare_runs
    from hsd.training.training_run import train
    from jobs.terminal.number_tables import comparison_table
    from jobs.terminal.progress_bar import progress_bars, say

    settings = EvalConfig(
        model=config.model,
        adapter=config.output_dir,
        data_file="embedded",
        # The base writes prose where JSON is asked for; scores read both models alike.
        mode="score",
        output_dir=output_dir / "judged",
    )
    console = Terminal()
    console.print("[bold]1 of 2[/]  training an adapter on embedded posts")
    console.print(
        "        (the first time, unpacking the model takes half a minute)", highlight=False
    )
    with progress_bars() as progress:
        trained = train(config, progress, say)
    console.print("\n".join(trained.sentences()))
    console.print("[bold]2 of 2[/]  evaluating base model and adapter on the same held-out posts")
    with progress_bars() as progress:
        runs = evaluate_with_base(settings, progress, say=say)
    for comparison in compare_runs([one.folder for one in runs]).comparisons:
        console.print(comparison_table(comparison))
    console.print(f"Everything is in {output_dir}.", highlight=False)


if __name__ == "__main__":
    run(demo)
