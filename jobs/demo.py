"""`hsd demo`: a real small model learns to detect hate speech on this CPU."""

from pathlib import Path

import click

from jobs.entry import run
from jobs.options import Command, set_option, train_config


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

    Base evaluation, LoRA training, adapter evaluation and their comparison, on embedded synthetic
    posts that were written for this: mild, English, no benchmark. The same command goes on where
    it was stopped.
    """
    config = train_config("demo", (*overrides, f"output_dir={output_dir / 'train'}"))

    from rich.console import Console

    from hsd.config.evaluate import EvalConfig
    from hsd.inference.evaluate import evaluate
    from hsd.report.comparison import compare_runs
    from hsd.training.run import train
    from jobs.progress import progress_bars
    from jobs.tables import comparison_table

    asked = {
        "data_file": "embedded",
        # The base writes prose where JSON is asked for; a fair comparison reads both alike.
        "mode": "score",
        "prompt_template": config.prompt.template,
        "strategy": config.prompt.strategy,
    }
    base = EvalConfig(model=config.model, output_dir=output_dir / "base", **asked)
    adapter = EvalConfig(
        model=config.model, adapter=config.output_dir, output_dir=output_dir / "adapter", **asked
    )
    console = Console()
    console.print("[bold]1 of 3[/]  the base answers the held-out posts")
    console.print("        (once, its weights are unpacked first: half a minute)", highlight=False)
    with progress_bars() as progress:
        before = evaluate(base, progress)
    console.print("[bold]2 of 3[/]  an adapter learns from other posts")
    with progress_bars() as progress:
        trained = train(config, progress)
    console.print("\n".join(trained.sentences()))
    console.print("[bold]3 of 3[/]  base and adapter answer the same held-out posts")
    with progress_bars() as progress:
        after = evaluate(adapter, progress)
    for comparison in compare_runs([before.folder, after.folder]).comparisons:
        console.print(comparison_table(comparison))
    console.print(f"Everything is in {output_dir}.", highlight=False)


if __name__ == "__main__":
    run(demo)
