"""`hsd threshold`: choose a threshold for P(hate) on validation rows, and freeze it."""

from pathlib import Path

import click

from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd threshold runs/adapter/validation runs/adapter/eval
    hsd threshold runs/adapter/validation runs/adapter/eval --rule max_f1_within_gap --limit 0.1
    hsd threshold runs/adapter/validation runs/adapter/eval --rule recall_at_precision --limit 0.9
    """,
)
@click.argument("validation", type=PATH)
@click.argument("run", type=PATH)
@click.option(
    "--rule",
    type=click.Choice(["max_f1", "max_macro_f1", "max_f1_within_gap", "recall_at_precision"]),
    default="max_f1",
    show_default=True,
    help="max_f1: the highest F1. max_macro_f1: the highest mean of both labels' F1, where a false "
    "alarm is as bad as a miss. max_f1_within_gap: the highest F1 where the groups' error rates "
    "differ by at most --limit. recall_at_precision: the highest recall at a precision of --limit.",
)
@click.option("--limit", type=float, help="Largest difference between groups, or the precision.")
def threshold(validation: Path, run: Path, rule: str, limit: float | None) -> None:
    """Choose a threshold and a temperature on the VALIDATION run, and freeze them in RUN.

    Both runs are evaluations of one model with one prompt, on different posts. Posts that the model
    was trained on are refused. RUN's report then also shows the results at the frozen threshold.
    Nothing is written into VALIDATION.
    """
    from hsd.metrics.thresholds import Rule
    from hsd.report.predictions import load_run

    judged, chosen_on = load_run(run), load_run(validation)

    from hsd.report.noise_sentences import noise_at
    from hsd.report.rewriting import freeze, rewrite
    from hsd.training.training_posts import training_posts_of_run
    from jobs.terminal.progress_bar import spinner

    training, note = training_posts_of_run(judged.manifest)
    chosen_by = Rule(rule, limit)  # type: ignore[arg-type]
    point = freeze(chosen_on, judged, chosen_by, training)
    with spinner("computing intervals"):
        page = rewrite(judged, training, note)
    echo(f"Threshold {point.threshold:.4f}, temperature {point.temperature:.3f} ({point.rule}).")
    if point.own_scale:
        echo(f"In the file's own scale: {point.own_scale}.")
    echo(f"F1 {point.choice.f1:.3f} on the {point.rows} validation rows it was chosen on.")
    for line in noise_at(judged, point.threshold):
        echo(line)
    echo(f"Report: {page}")


if __name__ == "__main__":
    run_command(threshold)
