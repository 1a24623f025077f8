"""`hsd config`: show what a preset or file sets, list the presets, print the schema."""

import json

import click
from rich.table import Table

from hsd.config import EvalConfig
from hsd.config.loading import preset_names, resolve_train_config, train_schema
from hsd.config.view import annotated_yaml, differing
from jobs.terminal.console import Terminal, escape, escape_lines
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT, Command, CommandGroup, set_option
from jobs.terminal.output import echo, echo_text


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def config() -> None:
    """Show presets and configs."""


@config.command(
    cls=Command,
    examples="""
    hsd config show high_capacity
    hsd config show my.toml --set lora.rank=8 --set training.epochs=1
    hsd config show default --format json > my.json
    """,
)
@click.argument("source", default="default", metavar="[PRESET|FILE]")
@set_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="yaml says where each field was set; json can be used as a config file.",
)
def show(source: str, overrides: tuple[str, ...], form: str) -> None:
    """Show every field of a config and where the field was set.

    Secrets are shown as ***.
    """
    resolved = resolve_train_config(source, overrides)
    if form == "yaml":
        echo_text(annotated_yaml(resolved), nl=False)
        return
    for note in resolved.notes:
        echo(f"Note: {note}", err=True)
    echo_text(json.dumps(resolved.shown(), indent=2, ensure_ascii=False))


@config.command("list", cls=Command, examples="hsd config list")
def list_presets() -> None:
    """List the presets: what each is for, and what each changes."""
    table = Table(header_style="bold")
    table.add_column("preset", no_wrap=True)
    table.add_column("what for", max_width=24)
    table.add_column("not at its default", overflow="fold")
    for name in preset_names():
        resolved = resolve_train_config(name)
        changes = [f"{key}={json.dumps(value)}" for key, value in differing(resolved).items()]
        table.add_row(name, escape(resolved.config.description), escape_lines(changes))
    Terminal().print(table)


@config.command(
    cls=Command,
    examples="""
    hsd config schema > train.schema.json
    hsd config schema evaluate
    """,
)
@click.argument("kind", type=click.Choice(["train", "evaluate"]), default="train")
def schema(kind: str) -> None:
    """Print the JSON schema of a training config, or of an evaluation."""
    described = train_schema() if kind == "train" else EvalConfig.model_json_schema()
    echo_text(json.dumps(described, indent=2))


if __name__ == "__main__":
    run(config)
