"""`hsd prepare`: build splits without leaks, training chats and small samples from posts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jobs.terminal.entry import run
from jobs.terminal.options import Command
from jobs.terminal.table_options import table_fields, table_options


@click.command(
    cls=Command,
    examples="""
    hsd prepare --unified-dir data/unified --output-dir data/prepared
    hsd prepare --unified-dir data/unified --source embedded:train --output-dir data/more
    hsd prepare --source hatexplain:dataset.json --offensive drop --output-dir data/hx
    hsd prepare --source table:posts.csv --text-column body --label-column verdict \\
        --labels hate=abusive,hateful normal=fine --output-dir data/own
    """,
)
@click.option("--unified-dir", type=click.Path(path_type=Path), help="Folder of unified data.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="KIND:PATH",
    help="A file to read. KIND is unified, hatexplain, toxigen, hatecheck or table. Or "
    "embedded:train, or hub:NAME[#CONFIG][@REVISION]. May be repeated.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the files.",
)
@click.option("--template", help="Prompt template, by name or path. Default: that of `hsd train`.")
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    help="Strategy in the template. Default: the first one. May be repeated: then each post is "
    "asked with each strategy.",
)
@click.option(
    "--offensive",
    type=click.Choice(["normal", "hate", "drop"]),
    default="normal",
    show_default=True,
    help="Label for HateXplain's `offensive` posts.",
)
@click.option(
    "--toxicity-threshold",
    type=float,
    default=3.0,
    show_default=True,
    help="ToxiGen: annotated rows above this rating count as hate.",
)
@click.option(
    "--splits",
    type=click.Choice(["given", "new"]),
    default="given",
    show_default=True,
    help="given keeps the splits of the files; new splits all rows again.",
)
@click.option(
    "--leaks",
    type=click.Choice(["report", "drop", "fail"]),
    default="report",
    show_default=True,
    help="What to do with rows that repeat a held-out row, if the splits are given.",
)
@click.option(
    "--balance",
    type=click.Choice(["none", "label", "group"]),
    default="none",
    show_default=True,
    help="Keep as many hate as normal training rows: overall (label) or in each group (group).",
)
@click.option("--max-rows", type=click.IntRange(min=1), help="Largest number of training rows.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=42,
    show_default=True,
    help="Seed for splits and samples.",
)
@click.option(
    "--tolerate",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Skip and report up to N bad rows; fail on the next.",
)
@table_options
@click.option(
    "--groups",
    metavar="NAME|FILE",
    default="three",
    show_default=True,
    help="Groups to count posts in: a shipped set (see `hsd groups list`) or a group file.",
)
@click.option(
    "--label",
    multiple=True,
    hidden=True,
    metavar="NAME=hate|normal",
    help="What one label means; --labels says it for all.",
)
def prepare(
    unified_dir: Path | None,
    sources: Sequence[str],
    output_dir: Path,
    label: Sequence[str],
    max_rows: int | None,
    **options: Any,
) -> None:
    """Build train, validation and test files that share no post.

    Writes chats for training, the unified splits, small samples for quick evaluations, and reports
    of every bad row, every row that was left out, and every duplicate.
    """
    from hsd.data import prepare as data
    from hsd.data.prepared_data import preparation
    from jobs.terminal.data_tables import prepared_table, stderr_steps, stdout

    table = table_fields(options)
    job = preparation(
        unified_dir, sources, output_dir, label, table=table, max_train_rows=max_rows, **options
    )
    with stderr_steps(data.STEPS) as report:
        prepared = data.prepare(job, report)
    stdout().print(prepared_table(output_dir, prepared))


if __name__ == "__main__":
    run(prepare)
