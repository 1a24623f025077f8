"""What all commands share: examples, --config and --set, dashes or underscores in options."""

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from hsd.errors import did_you_mean
from jobs.terminal.output import echo

if TYPE_CHECKING:
    from hsd.config import TrainConfig


def _underscored(name: str) -> str:
    return name.replace("-", "_")


def dashed(option: str) -> str:
    """Return an option as hsd shows it: --data_file -> --data-file."""
    return option.replace("_", "-")


_WITH_MEANINGS = ("--labels", "--data-labels")
CONTEXT: dict[str, Any] = {
    "token_normalize_func": _underscored,  # --data_file and --data-file are one option
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class Command(click.Command):
    """A command whose options may be written with dashes or underscores, with examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = CONTEXT | dict(self.context_settings)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; errors spell options as the help does.

        One --labels may take several meanings: `--labels hate=a,b normal=c`.
        """
        try:
            return super().parse_args(ctx, _each_meaning(args))
        except click.NoSuchOption as error:
            name = dashed(error.option_name)
            raise click.UsageError(f"No such option '{name}'.{self._near(name)}", ctx) from None
        except click.BadOptionUsage as error:
            message = error.message.replace(error.option_name, dashed(error.option_name))
            raise click.UsageError(message, ctx) from None

    def _near(self, name: str) -> str:
        """Return the option that a mistyped one may have meant: `--model` is `--model-name`."""
        options = {dashed(option) for one in self.params for option in one.opts}
        longer = [option for option in options if option.startswith(name)]
        return did_you_mean(name, beside=longer) or did_you_mean(name, beside=options)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are: click would wrap them like prose."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples))


def _each_meaning(args: Sequence[str]) -> list[str]:
    """Write --labels before each of the meanings that follow it; --data-labels too."""
    found: list[str] = []
    inside = ""
    for word in args:
        is_more = inside and re.match(r"(?:hate|normal|drop)=", word) is not None
        found += [inside, word] if is_more and found[-1] != inside else [word]
        option = dashed(word.partition("=")[0])
        inside = option if option in _WITH_MEANINGS else inside if is_more else ""
    return found


class CommandGroup(click.Group):
    """A group whose help shows the first sentence of each command whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; click would cut a line short."""
        names = self.list_commands(ctx)
        commands = [(name, self.get_command(ctx, name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(limit=1000)) for name, one in commands if one]
            )


config_option = click.option(
    "--config",
    "--config-file",
    "source",
    default="default",
    show_default=True,
    metavar="PRESET|FILE",
    help="A preset (see `hsd config list`), or a JSON, YAML or TOML file.",
)


def set_fields(example: str) -> Callable[[Any], Any]:
    """Return the option --set, with an example of a field that the command has."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        help=f"Change one field, for example {example}. Overrides the config. May be repeated.",
    )


set_option = set_fields("lora.rank=8")
ignore_mode_option = click.option(
    "--ignore-mode-mismatch",
    is_flag=True,
    help="Compare runs that differ in mode, max_length or temperature, and say what differs.",
)
groups_option = click.option(
    "--groups",
    metavar="NAME|FILE",
    help="Groups to count posts in: a shipped set (see `hsd groups list`) or a group file.",
)
intersections_option = click.option(
    "--intersection",
    "intersections",
    multiple=True,
    metavar="'A & B'",
    help="Also count posts that are about both groups. May be repeated.",
)
cluster_option = click.option(
    "--cluster",
    metavar="NAME|FILE",
    help="Cluster profile (see `hsd cluster list`). Default: $HSD_CLUSTER, or your own.",
)


def only_option(text: str) -> Callable[[Any], Any]:
    """Return the option --only: names of cells, parted by commas, as a tuple; () for all."""
    return click.option("--only", metavar="CELL,..", callback=_cell_names, help=text)


def _cell_names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if names := tuple(filter(None, (name.strip() for name in value.split(",")))):
        return names
    raise click.UsageError("--only: no cell is named; name some, or leave --only out for all.")


class TimeLimit(click.ParamType[int]):
    """SLURM's forms of a time limit, as minutes: 90, 1:30:00, 2-00:00:00."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the whole minutes, rounded up."""
        if isinstance(value, int):
            return value
        form = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?", value)
        if value.isdecimal() and int(value):
            return int(value)
        if not form or (form[1] is None and form[4] is None) or not re.search("[1-9]", value):
            self.fail(f"'{value}': expected minutes, HH:MM:SS or D-HH:MM:SS.", param, ctx)
        days, hours, minutes, seconds = (int(part or 0) for part in form.groups())
        return (days * 24 + hours) * 60 + minutes + (seconds > 0)


def max_parallel_option(text: str) -> Callable[[Any], Any]:
    """Return the option --max-parallel: how many elements of an array may run at once."""
    return click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help=text)


time_option = click.option(
    "--time", "time_min", type=TimeLimit(), help="A different time limit: 90 (minutes) or 48:00:00."
)


def is_first_process() -> bool:
    """Return whether this process is to speak: a launcher sends all of them through here."""
    return os.environ.get("RANK", "0") == "0"


def train_config(source: str, overrides: Sequence[str]) -> "TrainConfig":
    """Return the config of --config and --set; say on stderr what became of older keys."""
    from hsd.config.loading import resolve_train_config

    resolved = resolve_train_config(source, overrides)
    if is_first_process():
        for note in resolved.notes:
            echo(f"Note: {note}", err=True)
    return resolved.config
