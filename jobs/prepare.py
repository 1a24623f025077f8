"""`hsd prepare`: sources become splits without leakage, training chats and canned samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jobs.terminal.entry import run
from jobs.terminal.options import Command


@click.command(
    cls=Command,
    examples="""
    hsd prepare --unified_dir data/unified --output_dir data/prepared
    hsd prepare --source hatexplain:dataset.json --offensive drop --output_dir data/hx
    hsd prepare --source table:posts.csv --text_column body --label_column verdict \\
        --label abusive=hate --label fine=normal --output_dir data/own
    """,
)
@click.option("--unified_dir", type=click.Path(path_type=Path), help="Folder of unified data.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="KIND:PATH",
    help="unified, hatexplain, toxigen, hatecheck or table and a file; or "
    "hub:NAME[#CONFIG][@REVISION].",
)
@click.option("--output_dir", type=click.Path(path_type=Path), required=True, help="Made if new.")
@click.option("--template", help="Prompt template, by name or path; default as in `hsd train`.")
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    help="Strategy in the template; its first if none. Given often, each post is asked with each.",
)
@click.option(
    "--offensive",
    type=click.Choice(["normal", "hate", "drop"]),
    default="normal",
    show_default=True,
    help="What HateXplain's label `offensive` counts as.",
)
@click.option(
    "--toxicity_threshold",
    type=float,
    default=3.0,
    show_default=True,
    help="ToxiGen's annotated rows are hate above it.",
)
@click.option(
    "--splits",
    type=click.Choice(["given", "new"]),
    default="given",
    show_default=True,
    help="Keep the splits that rows came with, or split all rows anew.",
)
@click.option(
    "--leaks",
    type=click.Choice(["report", "drop", "fail"]),
    default="report",
    show_default=True,
    help="What becomes of rows, in splits they came with, that repeat a held-out row.",
)
@click.option(
    "--balance",
    type=click.Choice(["none", "label", "group"]),
    default="none",
    show_default=True,
    help="As many hate as normal training rows: overall, or within each group.",
)
@click.option("--max_rows", type=click.IntRange(min=1), help="At most this many training rows.")
@click.option("--seed", type=click.IntRange(min=0), default=42, show_default=True)
@click.option(
    "--tolerate",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="So many bad rows are left out and reported; one more is an error.",
)
@click.option("--text_column", default="text", show_default=True, help="Of table sources.")
@click.option("--label_column", default="label", show_default=True, help="Of table sources.")
@click.option("--group_column", help="Of table sources: who the post is about.")
@click.option("--id_column", help="Of table sources.")
@click.option(
    "--share_column",
    help="Of table sources: the share of annotators who called the post hate, from 0 to 1.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=hate|normal",
    help="What a label of a table source means. Given for one, it must be given for all in use.",
)
def prepare(
    unified_dir: Path | None,
    sources: Sequence[str],
    output_dir: Path,
    labels: Sequence[str],
    max_rows: int | None,
    **options: Any,
) -> None:
    """Unify sources into train, validation and test files that share no post.

    Writes chats for training, the unified splits, canned samples for evaluation, and reports of
    every row that is bad, left out or a double.
    """
    from hsd.data import prepare as data
    from hsd.data.prepared_data import preparation
    from jobs.terminal.data_tables import prepared_table, stderr_steps, stdout

    job = preparation(unified_dir, sources, output_dir, labels, max_train_rows=max_rows, **options)
    with stderr_steps(data.STEPS) as report:
        prepared = data.prepare(job, report)
    stdout().print(prepared_table(output_dir, prepared))


if __name__ == "__main__":
    run(prepare)
