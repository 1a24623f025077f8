"""`hsd predict`: label posts that have no labels."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hsd.io.stopping import stop_request
from jobs.terminal.entry import run
from jobs.terminal.log_head import say_host
from jobs.terminal.model_options import (
    answer_options,
    length_options,
    model_options,
    model_section,
    prompt_options,
)
from jobs.terminal.options import Command, is_first_process, set_fields
from jobs.terminal.output import data_stream
from jobs.terminal.server_options import server_options, server_section

if TYPE_CHECKING:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.predict.predict_file import Predicted
    from hsd.predict.predict_job import PredictJob

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd predict posts.csv --model-name runs/default --output scores.csv
    hsd predict posts.jsonl --model-name runs/default --output scores.parquet --by source
    hsd predict posts.csv --model-name runs/default --output why.jsonl --mode generate --rationale
    zcat posts.jsonl.gz | hsd predict - --model-name runs/default --output - > scores.jsonl
    torchrun --nproc_per_node 4 -m jobs.predict posts.jsonl --model-name runs/default --output s.csv
    hsd predict posts.jsonl --model-name runs/default --output scores.csv --shard array
    hsd predict posts.csv --engine openai --base-url http://localhost:8000/v1 --model-name served \\
        --output labels.csv
    """,
)
@click.argument("file")
@model_options
@click.option(
    "--output",
    required=True,
    help="Table to write: .csv, .jsonl or .parquet. - writes JSONL to standard output.",
)
@click.option(
    "--text-column", default="text", show_default=True, help="Column of FILE with the post."
)
@click.option(
    "--prefix",
    default="hsd_",
    show_default=True,
    help="What the names of the new columns begin with.",
)
@click.option("--rationale", is_flag=True, help="Also write the rationales of generated replies.")
@click.option(
    "--threshold", type=float, help="Call a post hate when its P(hate) is above this number."
)
@click.option(
    "--threshold-from",
    type=PATH,
    help="Evaluation with a threshold that `hsd threshold` froze. Default: the one in the "
    "evaluations of --model-name; 0.5 without any.",
)
@click.option("--by", metavar="COLUMN", help="Also count the labels for each value of this column.")
@click.option(
    "--shard",
    metavar="I/N|array",
    help="Label one of N parts of the rows; I is 0 to N-1. All N jobs get the same --output, and "
    "the last one to finish writes it. array: I and N are those of the SLURM job array.",
)
@prompt_options
@length_options
@answer_options
@server_options
@set_fields("model.device=cpu")
def predict(file: str, output: str, **options: Any) -> int:
    """Label the posts in FILE: P(hate), the label and the outcome of each row.

    FILE needs no labels. It is JSONL, JSON, CSV, TSV, Parquet or Arrow, also packed with gzip; -
    reads JSONL or CSV from standard input. All columns are kept, and the new ones follow. A row
    without a post gets the reason instead of a label. The same command resumes an unfinished run;
    Ctrl-C, SIGTERM and SIGUSR2 stop it with exit code 75.
    """
    job = _job(file, output, options)
    predicted = _piped(job) if job.is_piped else _restartable(job)
    if is_first_process():
        from jobs.terminal.share_tables import show_predicted

        show_predicted(predicted, err=output == "-")  # standard output gets data alone
    return 0


def _restartable(job: "PredictJob") -> "Predicted":
    with stop_request():
        say_host()
        from hsd.predict.predict_file import predict_file
        from jobs.terminal.progress_bar import progress_bars, say

        with progress_bars() as progress:
            return predict_file(job, progress, say)


def _piped(job: "PredictJob") -> "Predicted":
    from hsd.predict.predict_pipe import predict_pipe
    from jobs.terminal.progress_bar import progress_bars, say

    with progress_bars() as progress:
        return predict_pipe(job, sys.stdin.buffer, data_stream(), progress, say)


def _job(file: str, output: str, options: dict[str, Any]) -> "PredictJob":
    """Return what is asked for; the model's fields have a section of their own."""
    from hsd.config.loading import load_eval_config
    from hsd.io.shard import shard_of

    own = ("text_column", "prefix", "rationale", "threshold", "threshold_from", "by")
    given = {name: options.pop(name) for name in own}
    shard = shard_of(options.pop("shard"))
    model = model_section(options)
    overrides = options.pop("overrides")
    server = server_section(options)
    config = load_eval_config(overrides, **options, model=model, server=server, data_file=file)
    _require_found(config, output)
    from hsd.predict.predict_job import PredictJob  # which imports torch

    return PredictJob(config=config, output=output, shard=shard, **given)


def _require_found(config: "EvalConfig", output: str) -> None:
    """Raise where a name is of nothing; told before torch is imported, which takes seconds."""
    from hsd.data.data_sets import resolve_path
    from hsd.evaluation.early_checks import require_names
    from hsd.predict.output_tables import output_format

    if output != "-":
        output_format(Path(output))
    if config.data_file != "-":
        resolve_path(config.data_file)
    require_names(config)


if __name__ == "__main__":
    run(predict)
