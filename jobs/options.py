"""What all commands share: two spellings of every option, examples, --config and --set."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hsd.config import TrainConfig


def _underscored(name: str) -> str:
    return name.replace("-", "_")


CONTEXT: dict[str, Any] = {
    "token_normalize_func": _underscored,  # --data-file and --data_file are one option
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class Command(click.Command):
    """A command whose options may be written with dashes or underscores, with examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = CONTEXT | dict(self.context_settings)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are: click would wrap them like prose."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples))


config_option = click.option(
    "--config",
    "--config_file",
    "source",
    default="default",
    show_default=True,
    metavar="PRESET|FILE",
    help="Name of a preset (see `hsd config list`), or a JSON, YAML or TOML file.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one field, such as lora.rank=8. Wins over the config; may be given often.",
)


def is_first_process() -> bool:
    """Return whether this process is to speak: a launcher sends all of them through here."""
    return os.environ.get("RANK", "0") == "0"


def train_config(source: str, overrides: Sequence[str]) -> "TrainConfig":
    """Return the config of --config and --set; say on stderr what became of older keys."""
    from hsd.config.load import resolve_train_config

    resolved = resolve_train_config(source, overrides)
    if is_first_process():
        for note in resolved.notes:
            click.echo(f"Note: {note}", err=True)
    return resolved.config
