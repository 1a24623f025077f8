"""`hsd gate`: PASS, FAIL or UNDERPOWERED, as words and as an exit code."""

import json
from pathlib import Path

import click

from jobs.terminal.baseline_options import (
    baseline_option,
    encoder_option,
    made_baseline,
    train_file_option,
)
from jobs.terminal.console import Terminal
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command, groups_option, ignore_mode_option
from jobs.terminal.output import echo_text

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd gate runs/adapter/eval --reference runs/base/eval
    hsd gate runs/adapter/eval --reference runs/base/eval --rules gate.toml
    hsd gate runs/adapter/eval --reference runs/base/eval --at-threshold
    hsd gate runs/adapter/eval --baseline encoder
    hsd gate runs/adapter/eval --set worst_group_f1=0.6 --set unreadable=0.01
    """,
)
@click.argument("run", type=PATH)
@click.option("--reference", type=PATH, help="Run to compare with, for example the base model's.")
@baseline_option(
    help="Use a sentence encoder or TF-IDF, trained on the run's training posts, as the reference."
)
@encoder_option
@train_file_option
@groups_option
@ignore_mode_option
@click.option(
    "--rules", type=PATH, help="Rules: a TOML, JSON or YAML file with margins and limits."
)
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Change one rule.")
@click.option(
    "--at-threshold",
    is_flag=True,
    help="Use the labels at the threshold frozen in RUN (and in the reference, if it has one).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def gate(
    run: Path,
    reference: Path | None,
    baseline: str | None,
    encoder: str | None,
    train_file: str | None,
    groups: str | None,
    ignore_mode_mismatch: bool,
    rules: Path | None,
    overrides: tuple[str, ...],
    at_threshold: bool,
    as_json: bool,
) -> int:
    """Decide whether the evaluation RUN may replace a reference: PASS, FAIL or UNDERPOWERED.

    Exit codes: 0 PASS; 20 FAIL, a rule is broken, whatever happened to F1; 21 UNDERPOWERED, there
    are too few posts to tell. 20 and 21 stop a chain of SLURM jobs that wait with `afterok`. The
    verdict is kept in RUN (gate.json) and shown at the top of its report.
    """

    from hsd.config.loading import load_gate_rules
    from hsd.report.predictions import counted_in, find_evaluation, load_run

    if baseline and reference:
        raise click.UsageError("--reference and --baseline both name a reference; give one.")
    found = load_gate_rules(rules, overrides)
    judged = counted_in(load_run(run), groups)
    if reference:
        find_evaluation(reference)

    from hsd.metrics.gate import gate as judge
    from hsd.report.gate_file import write_verdict
    from hsd.report.gate_section import gate_numbers
    from hsd.report.rewriting import at_threshold as called_at_threshold
    from hsd.report.rewriting import named_reference, rewrite
    from hsd.training.training_posts import training_posts_of_run
    from jobs.terminal.number_tables import gate_table
    from jobs.terminal.progress_bar import spinner

    training, note = training_posts_of_run(judged.manifest, train_file)
    if baseline:
        reference = made_baseline(judged, baseline, encoder, training, note)
    name, before = named_reference(judged, reference, ignore_mode_mismatch, at_threshold)
    named, rows = called_at_threshold(judged) if at_threshold else (str(run), judged.predictions)
    with spinner("computing intervals"):
        verdict = judge(found, rows, before, (name, named))
        write_verdict(judged.folder, verdict, len(judged.predictions))
        rewrite(judged, training, note)
    if as_json:
        echo_text(json.dumps(gate_numbers(verdict), indent=2))
    else:
        Terminal().print(gate_table(verdict))
    return verdict.status.exit_code


if __name__ == "__main__":
    run_command(gate)
