"""`hsd import`: make an evaluation run of predictions that another program made."""

from pathlib import Path
from typing import Any

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command, groups_option, intersections_option
from jobs.terminal.output import echo
from jobs.terminal.table_options import data_options, data_section, label_fields

PATH = click.Path(path_type=Path)


def _only_one(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str:
    """Return the value of an option; a second one is not dropped in silence."""
    if len(values) > 1:
        raise click.BadParameter(
            f"given {len(values)} times; one import is of one file of posts: import each one, and "
            "`hsd compare` shows them side by side.",
            param=param,
        )
    return values[0] if values else ""  # none while a shell completes the command


@click.command(
    "import",
    cls=Command,
    examples="""
    hsd import scores.csv --data-file hatecheck.csv --output-dir runs/perspective \\
        --score-column IDENTITY_ATTACK --name perspective
    hsd import answers.jsonl --data-file posts.csv --output-dir runs/moderation --name moderation
    hsd import labels.csv --data-file unified --output-dir runs/other --id-column post \\
        --label-column said --labels hate=toxic normal=ok --missing unreadable
    hsd import samples_hate_2026-01-02.jsonl --data-file hatecheck.csv --output-dir runs/lm_eval
    hsd compare runs/perspective runs/default/eval
    """,
)
@click.argument("predictions")
@click.option(
    "--data-file",
    required=True,
    multiple=True,
    callback=_only_one,
    metavar="TEXT",
    help="The posts with their true labels: unified, canned_50_quick, canned_100_stratified, "
    "embedded, or a file.",
)
@click.option(
    "--data-dir", type=PATH, help="Folder of named data sets. Default: $HSD_DATA or ./data."
)
@click.option("--output-dir", type=PATH, help="hsd makes a folder run_YYYYMMDD_HHMMSS in here.")
@click.option("--name", help="Name of the detector. Default: the name of the file PREDICTIONS.")
@click.option("--id-column", metavar="NAME", help="PREDICTIONS: column of the post's id.")
@click.option(
    "--text-column", metavar="NAME", help="PREDICTIONS: column of the post, where there are no ids."
)
@click.option(
    "--label-column",
    metavar="NAME",
    multiple=True,
    help="PREDICTIONS: column of the predicted label. May be repeated: the columns vote.",
)
@click.option("--score-column", metavar="NAME", help="PREDICTIONS: column of the score.")
@click.option(
    "--labels",
    multiple=True,
    metavar="hate=A,B normal=C",
    help="PREDICTIONS: what each label means; drop=D is no prediction. If you name one label, name "
    "every label in use.",
)
@click.option(
    "--cut",
    type=float,
    metavar="SCORE",
    help="Take labels from the scores: a post is called hate from this score on. Default: where "
    "P(hate) is above 0.5.",
)
@click.option(
    "--scores",
    type=click.Choice(["probability", "percent", "logit", "rank"]),
    help="What the scores are: P(hate) from 0 to 1 (the default), the same from 0 to 100, its "
    "log-odds, or any number that is higher for more hateful posts (rank), of which hsd reports no "
    "calibration.",
)
@click.option(
    "--score-of",
    type=click.Choice(["hate", "normal", "label"]),
    help="What the scores are of: hate (the default), normal, or the predicted label.",
)
@click.option(
    "--missing",
    type=click.Choice(["fail", "unreadable"]),
    help="Posts without a prediction: an error (the default), or unreadable replies, which count "
    "as wrong.",
)
@click.option(
    "--unknown",
    type=click.Choice(["fail", "ignore"]),
    help="Predictions for no post of the data: an error (the default), or ignored and counted.",
)
@groups_option
@intersections_option
@click.option(
    "--only-source",
    "only_sources",
    metavar="NAME",
    multiple=True,
    help="Take only the posts of this source. May be repeated.",
)
@click.option(
    "--max-samples", type=int, help="Use the sample of this many posts that hsd evaluate takes."
)
@click.option("--seed", type=int, help="Seed of that sample.")
@data_options
def import_predictions(predictions: str, data_dir: Path | None, **options: Any) -> None:
    """Make an evaluation run of PREDICTIONS, which another program made.

    PREDICTIONS has the id (or the text) of each post, with a label, a score, or both. hsd knows
    Perspective's answers, OpenAI's moderation answers, lm-eval's logged samples, tables with a case
    id and pred_ columns, and plain tables. report, compare, gate and threshold take the run as any
    other. Options that start with --data are about the columns of the posts.
    """
    from hsd.config.loading import load_import_config
    from hsd.evaluation.imported_run import import_predictions as make_run
    from hsd.report.report_file import read_report
    from jobs.terminal.number_tables import metrics_table
    from jobs.terminal.progress_bar import spinner

    config = load_import_config(predictions=predictions, **_fields(options))
    with spinner("computing intervals"):
        made = make_run(config, data_dir)
    Terminal().print(metrics_table(read_report(made.folder)))
    for note in made.notes:
        echo(f"Note: {note}")
    echo(f"{'Was finished before' if made.skipped else 'Written'}: {made.folder}")


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as fields of the config; those of the posts have their own section."""
    data = data_section(options)
    for name in ("intersections", "only_sources"):
        options[name] = list(options[name]) or None
    return {**label_fields(options), "data": data}


if __name__ == "__main__":
    run(import_predictions)
