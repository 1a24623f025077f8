"""`hsd evaluate`: how a base, an adapter or a merged model does on held-out posts."""

import json
import logging
from pathlib import Path
from typing import Any

import click

from jobs.entry import run
from jobs.options import Command, is_first_process, set_option

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd evaluate --model_name runs/default --data_file unified --output_dir runs/default/eval
    hsd evaluate --model_name openai/gpt-oss-20b --data_file canned_50_quick
    hsd evaluate --model_name runs/merged --data_file posts.csv --max_samples 200
    accelerate launch --num_processes 4 -m jobs.evaluate --model_name runs/default --use_accelerate
    """,
)
@click.option("--model_name", help="Hub name, folder of a model, or folder of an adapter.")
@click.option("--adapter", type=PATH, help="Adapter to put on --model_name.")
@click.option(
    "--data_file", help="unified, canned_50_quick, canned_100_stratified, embedded or a file."
)
@click.option("--data_dir", type=PATH, help="Where named data is; default $HSD_DATA, then ./data.")
@click.option("--output_dir", type=PATH, help="A folder run_YYYYMMDD_HHMMSS is made in it.")
@click.option("--cache_dir", type=PATH, help="Where downloaded models are kept.")
@click.option(
    "--prompt_template", help="Template by name or path; default: the adapter's own prompt."
)
@click.option("--strategy", help="Strategy in the template.")
@click.option(
    "--ignore_prompt_mismatch",
    is_flag=True,
    default=None,
    help="Ask an adapter otherwise than it was trained.",
)
@click.option("--max_samples", type=int, help="Take a seeded, stratified sample of this many rows.")
@click.option("--max_length", type=int, help="Longest prompt in tokens; a longer post is cut.")
@click.option("--max_new_tokens", type=int, help="Longest reply in tokens.")
@click.option("--temperature", type=float, help="0 is greedy; more samples, seeded.")
@click.option("--batch_size", type=int, help="Rows answered at once.")
@click.option(
    "--mode",
    type=click.Choice(["generate", "score"]),
    help="generate reads the reply; score compares the labels' probabilities and gives P(hate).",
)
@click.option("--use_accelerate", is_flag=True, help="Refuse to run without several processes.")
@click.option(
    "--test_connection", is_flag=True, help="Load, answer one probe, say what was loaded."
)
@click.option("--debug", is_flag=True, help="Log to the terminal too.")
@set_option
def evaluate(
    test_connection: bool, debug: bool, use_accelerate: bool, data_dir: Path | None, **options: Any
) -> int:
    """Evaluate one model on one set of posts.

    The same command finds its own unfinished run again and answers only what is left.
    """
    from hsd.config.load import load_eval_config

    config = load_eval_config(options.pop("overrides"), **_fields(options))
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if test_connection:
        return _test_connection(config)

    from hsd.inference.evaluate import evaluate as evaluate_model
    from hsd.metrics.evaluation import summarize
    from hsd.model.placement import require_several
    from jobs.progress import progress_bars

    if use_accelerate:
        require_several()
    with progress_bars() as progress:
        evaluated = evaluate_model(config, progress, data_dir)
    if is_first_process():
        from rich.console import Console

        from jobs.tables import metrics_table

        Console().print(metrics_table(summarize(evaluated.predictions)))
        click.echo(
            f"{'Was finished before' if evaluated.skipped else 'Written'}: {evaluated.folder}"
        )
    return 0


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as fields of the config; the model's have a section of their own."""
    named = {"name": options.pop("model_name"), "cache_dir": options.pop("cache_dir")}
    model = {key: value for key, value in named.items() if value is not None}
    return {**options, "model": model or None}


def _test_connection(config: Any) -> int:
    from hsd.errors import HsdError
    from hsd.inference.evaluate import probe

    try:
        facts, reply = probe(config)
    except HsdError as error:
        click.echo(f"Not connected: {error}", err=True)
        return 1
    click.echo(json.dumps(facts, indent=2, default=str))
    click.echo(f"Reply to a probe: {reply}")
    return 0


if __name__ == "__main__":
    run(evaluate)
