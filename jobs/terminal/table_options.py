"""The options that say how a table of a person's own is read, alike in all commands."""

from collections.abc import Callable
from typing import Any

import click

NAMES = (
    "text_column",
    "label_column",
    "group_column",
    "id_column",
    "share_column",
    "labels",
    "cut",
    "votes",
)
"""The parameters that `table_options` adds."""


class VoteRule(click.ParamType[Any]):
    """`majority`, or a share of the votes above 0 and up to 1."""

    name = "votes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Return the word or the number."""
        if value == "majority":
            return "majority"
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"'{value}': expected majority, or a share such as 0.3.", param, ctx)
        return share


_OPTIONS: dict[str, dict[str, Any]] = {
    "text-column": {"metavar": "NAME", "help": "Tables: column of the post [text]."},
    "label-column": {
        "metavar": "NAME",
        "multiple": True,
        "help": "Tables: column of the label [label]. May be repeated: one column for each "
        "annotator. A list in one column is read as votes too.",
    },
    "group-column": {
        "metavar": "NAME",
        "help": "Tables: column that says who the post is about.",
    },
    "id-column": {"metavar": "NAME", "help": "Tables: column of the row's id."},
    "share-column": {
        "metavar": "NAME",
        "help": "Tables: column with the share of annotators who said hate, from 0 to 1.",
    },
    "labels": {
        "multiple": True,
        "metavar": "hate=A,B normal=C",
        "help": "Tables: what each label means; drop=D leaves rows out. If you name one label, "
        "name every label in use.",
    },
    "cut": {
        "type": float,
        "metavar": "SCORE",
        "help": "Tables: labels are scores; a post is hate from this score on, such as 0.5.",
    },
    "votes": {
        "type": VoteRule(),
        "metavar": "majority|SHARE",
        "help": "Tables with several annotators: the label is what more than half say, and other "
        "rows are left out (majority, the default); or hate from this share of the votes on.",
    },
}


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for name, settings in reversed(_OPTIONS.items()):
        command = click.option(f"--{name}", **settings)(command)
    return command


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same options with `--data-` before each, to a command that reads a second table."""
    for name, settings in reversed(_OPTIONS.items()):
        told = settings["help"].replace("Tables", "Posts in a table", 1)
        command = click.option(f"--data-{name}", **{**settings, "help": told})(command)
    return command


def data_section(options: dict[str, Any]) -> dict[str, Any]:
    """Take these out of a command's options and return them as the section `data` of a config."""
    return table_fields({name: options.pop(f"data_{name}") for name in NAMES})


def table_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of a command's and return them as fields of a config."""
    return label_fields({name: options.pop(name) for name in NAMES})


def label_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with --label-column and --labels, which may be repeated, as fields."""
    columns, labels = list(options["label_column"]), " ".join(options["labels"])
    column = columns[0] if len(columns) == 1 else columns or None
    return {**options, "label_column": column, "labels": labels or None}
