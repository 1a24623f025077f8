"""`hsd report`: an evaluation's reports, written again."""

from pathlib import Path

import click

from jobs.terminal.baseline_options import baseline_option, encoder_option, made_baseline
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command, ignore_mode_option
from jobs.terminal.output import echo

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd report runs/adapter/eval
    hsd report runs/adapter/eval --base runs/base/eval
    hsd report runs/adapter/eval --prevalence 0.03
    hsd report runs/adapter/eval --baseline encoder
    hsd report runs/adapter/eval --with_text
    """,
)
@click.argument("run", type=PATH)
@click.option("--base", type=PATH, help="Evaluation of the untouched base on the same posts.")
@click.option("--train_file", help="Posts that the model was trained on, where its folder is gone.")
@click.option(
    "--prevalence",
    "prevalences",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    help="Share of hate on your platform, to say precision and review load at; may be given more "
    "than once. Kept; without it 0.01, 0.02 and 0.05.",
)
@baseline_option(multiple=True, help="Put this beside the run too, once it has learned the run's "
    "training posts: a sentence encoder fine-tuned whole (minutes to an hour on a CPU), or TF-IDF. "
    "Kept in the run's folder.")  # fmt: skip
@encoder_option
@ignore_mode_option
@click.option(
    "--with_text",
    is_flag=True,
    help="Also write report_with_text.html, which quotes posts; not for sharing.",
)
def report(
    run: Path,
    base: Path | None,
    train_file: str | None,
    prevalences: tuple[float, ...],
    baseline: tuple[str, ...],
    encoder: str | None,
    ignore_mode_mismatch: bool,
    with_text: bool,
) -> None:
    """Write the reports of the evaluation RUN again: report.html, report.json, text and CSVs.

    What was decided since is in them: the gate's verdict, a frozen threshold, the base.
    """
    from hsd.data.data_sets import resolve
    from hsd.metrics.baselines import Training
    from hsd.report.predictions import load_run
    from hsd.report.rewriting import rewrite
    from hsd.training.training_posts import training_posts_of_run
    from jobs.terminal.progress_bar import spinner

    judged = load_run(run)
    training, note = training_posts_of_run(judged.manifest)
    if train_file:
        rows = resolve(train_file)
        training = Training(
            [row.text for row in rows], [row.label for row in rows], f"{train_file} (as named)"
        )
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
    echo(f"Report: {page}")


if __name__ == "__main__":
    run_command(report)
