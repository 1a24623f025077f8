"""`hsd demo`: a real small model learns to detect hate speech on this CPU."""

from pathlib import Path

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command, set_option, train_config


@click.command(
    cls=Command,
    examples="""
    hsd demo
    hsd demo --output_dir runs/demo2 --set training.max_steps=10
    """,
)
@set_option
@click.option(
    "--output_dir", type=click.Path(path_type=Path), default="runs/demo", show_default=True
)
def demo(overrides: tuple[str, ...], output_dir: Path) -> None:
    """Train and judge a small real model, without a hub, a GPU or root.

    LoRA training, then base and adapter judged and compared, on embedded synthetic posts that were
    written for this: mild, English, no benchmark. The same command goes on where it was stopped.
    """
    config = train_config("demo", (*overrides, f"output_dir={output_dir / 'train'}"))

    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate_with_base
    from hsd.report.comparison_report import compare_runs
    from hsd.training.training_run import train
    from jobs.terminal.number_tables import comparison_table
    from jobs.terminal.progress_bar import progress_bars, say

    judged = EvalConfig(
        model=config.model,
        adapter=config.output_dir,
        data_file="embedded",
        # The base writes prose where JSON is asked for; scores read both models alike.
        mode="score",
        output_dir=output_dir / "judged",
    )
    console = Terminal()
    console.print("[bold]1 of 2[/]  an adapter learns from embedded posts")
    console.print("        (once, its base is unpacked first: half a minute)", highlight=False)
    with progress_bars() as progress:
        trained = train(config, progress, say)
    console.print("\n".join(trained.sentences()))
    console.print("[bold]2 of 2[/]  its base, then the adapter, answer the same held-out posts")
    with progress_bars() as progress:
        runs = evaluate_with_base(judged, progress, say=say)
    for comparison in compare_runs([one.folder for one in runs]).comparisons:
        console.print(comparison_table(comparison))
    console.print(f"Everything is in {output_dir}.", highlight=False)


if __name__ == "__main__":
    run(demo)
