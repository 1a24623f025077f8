"""`hsd report`: write the reports of an evaluation again."""

from pathlib import Path

import click

from jobs.terminal.baseline_options import (
    baseline_option,
    encoder_option,
    made_baseline,
    train_file_option,
)
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import (
    Command,
    groups_option,
    ignore_mode_option,
    intersections_option,
)
from jobs.terminal.output import echo

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd report runs/adapter/eval
    hsd report runs/adapter/eval --base runs/base/eval
    hsd report runs/adapter/eval --prevalence 0.03
    hsd report runs/adapter/eval --baseline encoder
    hsd report runs/adapter/eval --groups broad
    hsd report runs/adapter/eval --with-text
    """,
)
@click.argument("run", type=PATH)
@click.option("--base", type=PATH, help="Evaluation of the original model on the same posts.")
@train_file_option
@click.option(
    "--prevalence",
    "prevalences",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    help="Share of hate on your platform, to compute precision and review load. May be repeated. "
    "hsd keeps the value. Default: 0.01, 0.02 and 0.05.",
)
@baseline_option(multiple=True, help="Also compare with a baseline that hsd trains on the "
    "run's training posts: a sentence encoder (minutes to an hour on a CPU) or TF-IDF. Kept in the "
    "run's folder. May be repeated.")  # fmt: skip
@encoder_option
@groups_option
@intersections_option
@ignore_mode_option
@click.option(
    "--with-text",
    is_flag=True,
    help="Also write report_with_text.html, which quotes posts. Do not share that file.",
)
def report(
    run: Path,
    base: Path | None,
    train_file: str | None,
    prevalences: tuple[float, ...],
    baseline: tuple[str, ...],
    encoder: str | None,
    groups: str | None,
    intersections: tuple[str, ...],
    ignore_mode_mismatch: bool,
    with_text: bool,
) -> None:
    """Write the reports of the evaluation RUN again: report.html, report.json, text and CSVs.

    The new reports include later decisions: the gate's verdict, a frozen threshold, the base model.
    """
    from hsd.report.predictions import counted_in, load_run

    judged = counted_in(load_run(run), groups, intersections)

    from hsd.report.rewriting import rewrite
    from hsd.training.training_posts import training_posts_of_run
    from jobs.terminal.progress_bar import spinner

    training, note = training_posts_of_run(judged.manifest, train_file)
    for kind in baseline:
        made_baseline(judged, kind, encoder, training, note)
    with spinner("computing intervals"):
        page = rewrite(
            judged,
            training,
            note,
            base,
            quote=with_text,
            ignore_mode_mismatch=ignore_mode_mismatch,
            prevalences=prevalences,
        )
    if groups or intersections:
        named = f"Counted in {judged.groups.name}"
        echo(f"{named}, by later commands too; --groups NAME changes that.")
    echo(f"Report: {page}")


if __name__ == "__main__":
    run_command(report)
