"""`hsd evaluate`: evaluate a base model, an adapter or a merged model on held-out posts."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hsd.counted import counted
from hsd.io.shard import shard_of
from hsd.io.stopping import stop_request
from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.log_head import say_host
from jobs.terminal.model_options import (
    answer_options,
    length_options,
    model_options,
    model_section,
    prompt_options,
)
from jobs.terminal.options import (
    Command,
    groups_option,
    intersections_option,
    is_first_process,
    set_fields,
)
from jobs.terminal.output import VisibleFormatter, echo, echo_text
from jobs.terminal.server_lines import server_lines
from jobs.terminal.server_options import server_options, server_section
from jobs.terminal.table_options import table_fields, table_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluation_run import Evaluated
    from hsd.io.shard import Shard

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd evaluate --model-name runs/default --data-file unified --output-dir runs/default/eval
    hsd evaluate --model-name runs/default --with-base --output-dir runs/default/eval
    hsd evaluate --model-name openai/gpt-oss-20b --data-file canned_50_quick
    hsd evaluate --model-name runs/merged --data-file posts.csv --text-column body \\
        --label-column score --cut 0.5 --max-samples 200
    hsd evaluate --model-name runs/default --data-file unified --data-file hatecheck.csv
    hsd evaluate --engine vllm --model-name runs/default --data-file unified
    hsd evaluate --engine openai --base-url http://localhost:8000/v1 --model-name served-model
    accelerate launch --num_processes 4 -m jobs.evaluate --model-name runs/default --use-accelerate
    hsd evaluate --model-name runs/default --data-file unified --output-dir eval --shard array
    """,
)
@model_options
@click.option(
    "--data-file",
    "data_files",
    multiple=True,
    help="unified, canned_50_quick, canned_100_stratified, embedded, or a file. May be repeated: "
    "hsd loads the model once, and each data set gets its own folder.",
)
@click.option(
    "--data-dir", type=PATH, help="Folder of named data sets. Default: $HSD_DATA or ./data."
)
@click.option(
    "--output-dir",
    type=PATH,
    help="hsd makes a folder run_YYYYMMDD_HHMMSS in here; with several data sets, one in each "
    "data set's folder.",
)
@prompt_options
@groups_option
@intersections_option
@table_options
@click.option("--max-samples", type=int, help="Use a seeded, stratified sample of this many rows.")
@length_options
@click.option(
    "--temperature",
    type=float,
    help="Sampling temperature for generated replies; 0 is greedy. A value above 0 implies --mode "
    "generate. Sampling is seeded.",
)
@answer_options
@server_options
@click.option(
    "--shard",
    metavar="I/N|array",
    help="Answer one of N parts of the rows; I is 0 to N-1. All N jobs get the same --output-dir, "
    "and the last one to finish writes the reports. array: I and N are those of the SLURM job "
    "array.",
)
@click.option("--with-base", is_flag=True, help="Also evaluate the original model, and compare.")
@click.option("--use-accelerate", is_flag=True, help="Fail unless there are several processes.")
@click.option(
    "--test-connection",
    is_flag=True,
    help="Answer one post and stop: say what was loaded, or what the server of --base-url said.",
)
@click.option("--debug", is_flag=True, help="Also log to the terminal.")
@set_fields("seed=7")
def evaluate(
    test_connection: bool,
    debug: bool,
    use_accelerate: bool,
    with_base: bool,
    data_files: tuple[str, ...],
    data_dir: Path | None,
    shard: str | None,
    **options: Any,
) -> int:
    """Evaluate a model on one data set or several.

    The same command resumes an unfinished run and answers only the rows that are left. Ctrl-C,
    SIGTERM and SIGUSR2 stop the evaluation after the current batch, with exit code 75.
    """
    if options["temperature"] and options["mode"] is None:
        options["mode"] = "generate"  # scripts from before there were scores sample replies
    part, configs = shard_of(shard), _configs(data_files, options)
    if debug:
        shown = logging.StreamHandler()
        shown.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[shown])
    from hsd.evaluation.early_checks import require_sets

    if test_connection:
        return _test_connection(configs[0])
    say_host()
    require_sets(configs, data_dir)
    if configs[0].engine == "openai":
        _require_one_client(with_base, part)
    with stop_request():
        from hsd.evaluation.evaluate import evaluate_sets, evaluate_sets_with_base
        from hsd.model.placement import require_several
        from jobs.terminal.progress_bar import progress_bars, say

        if use_accelerate:
            require_several()
        with progress_bars() as progress:
            runs: Sequence[tuple[Evaluated, ...]]
            if with_base:
                runs = evaluate_sets_with_base(configs, progress, data_dir, say, part)
            else:
                runs = [(one,) for one in evaluate_sets(configs, progress, data_dir, say, part)]
    if is_first_process():
        _show({config.data_file: one for config, one in zip(configs, runs, strict=True)})
    return 0


def _require_one_client(with_base: bool, shard: "Shard") -> None:
    if with_base:
        raise click.UsageError("--with-base: a server has no adapter to switch off; leave it out.")
    if not shard.is_whole:
        raise click.UsageError("--shard: one server answers all rows; leave it out.")


def _show(sets: "Mapping[str, tuple[Evaluated, ...]]") -> None:
    """Print the tables of one evaluation, or one of all sets; then notes and folders."""
    if unfinished := [one for runs in sets.values() for one in runs if one.missing]:
        for one in unfinished:
            echo(
                f"This shard is done. {counted(one.missing, 'other shard')} of {one.folder} "
                f"{'has' if one.missing == 1 else 'have'} rows left to answer; the last one writes "
                "the reports."
            )
        return
    from hsd.io.manifest import manifest_of
    from hsd.report.report_file import OtherReportError
    from hsd.report.unread_replies import unread_in

    try:
        Terminal().print(_one(next(iter(sets.values()))) if len(sets) == 1 else _several(sets))
    except OtherReportError as error:  # of an older hsd, whose rows are all there
        if not all(one.skipped for runs in sets.values() for one in runs):
            raise
        echo(f"Warning: {error}", err=True)
    for name, runs in sets.items():
        on = f"{name}: " if len(sets) > 1 else ""
        manifest = manifest_of(runs[-1].folder)
        for note in manifest.get("notes") or []:
            echo(f"Note: {on}{note}")
        for line in server_lines(manifest.get("answering") or {}):
            echo(f"{on}{line}")
        if unread := unread_in(runs[-1].predictions):
            echo(f"Warning: {on}{unread}", err=True)
    for one in (one for runs in sets.values() for one in runs):
        echo(f"{'Was finished before' if one.skipped else 'Written'}: {one.folder}")


def _one(runs: "tuple[Evaluated, ...]") -> "RenderableType":
    """Return one evaluation from its report, or the comparison of two."""
    from hsd.report.comparison_report import compare_runs
    from hsd.report.report_file import read_report
    from jobs.terminal.number_tables import comparison_table, metrics_table

    if len(runs) == 1:
        return metrics_table(read_report(runs[0].folder))
    (comparison,) = compare_runs([one.folder for one in runs]).comparisons
    return comparison_table(comparison)


def _several(sets: "Mapping[str, tuple[Evaluated, ...]]") -> "RenderableType":
    """Return a row for each set; with the base also what changed from it on each."""
    from rich.console import Group

    from hsd.metrics.seen_in_training import overlaps
    from hsd.report.report_file import read_report
    from jobs.terminal.set_tables import BySetTables, sets_table

    judged = {name: runs[-1] for name, runs in sets.items()}
    reports = {name: read_report(run.folder) for name, run in judged.items()}
    shared = overlaps({name: run.predictions for name, run in judged.items()})
    own = sets_table(reports, shared)
    if len(next(iter(sets.values()))) == 1:
        return own
    from hsd.report.compare_sets import compare_sets

    ordered = [one.folder for place in (0, 1) for one in (runs[place] for runs in sets.values())]
    return Group(own, BySetTables(compare_sets(ordered).by_set))


def _configs(data_files: "Sequence[str]", options: dict[str, Any]) -> "list[EvalConfig]":
    """Return a config for each set, which differ in nothing else."""
    from hsd.config.loading import load_eval_config

    overrides, fields = options.pop("overrides"), _fields(options)
    names = data_files or (None,)
    return [load_eval_config(overrides, **fields, data_file=name) for name in names]


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as fields of the config; the model's have a section of their own."""
    model = model_section(options)
    options["server"] = server_section(options)
    options["intersections"] = list(options["intersections"]) or None
    return {**options, **table_fields(options), "model": model}


def _test_connection(config: Any) -> int:
    from hsd.errors import HsdError
    from hsd.evaluation.early_checks import require_names

    try:
        require_names(config)
        facts, reply = _tried(config)
    except HsdError as error:
        echo(f"Not connected: {error}", err=True)
        return 1
    echo_text(json.dumps(facts, indent=2, default=str))
    echo(f"Reply to a probe: {reply}")
    return 0


def _tried(config: Any) -> tuple[dict[str, Any], str]:
    from hsd.errors import ConfigError

    if config.engine == "openai":
        from hsd.evaluation.served_check import try_server
        from jobs.terminal.progress_bar import say

        return try_server(config, say)
    if config.engine == "vllm":
        raise ConfigError(
            "--test-connection tries the model in hsd itself; leave --engine vllm out, or evaluate "
            "a few rows: --max-samples 8."
        )
    from hsd.evaluation.evaluate import try_connection

    return try_connection(config)


if __name__ == "__main__":
    run(evaluate)
