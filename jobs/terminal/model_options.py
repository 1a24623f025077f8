"""The options of commands that ask a model about posts, alike in all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Command = Callable[..., Any]


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return several options as one decorator, in the order of the help."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


model_options = together(
    click.option("--model-name", help="Hub name, folder of a model, or folder of an adapter."),
    click.option(
        "--adapter", type=click.Path(path_type=Path), help="Adapter to put on --model-name."
    ),
)
prompt_options = together(
    click.option(
        "--cache-dir", type=click.Path(path_type=Path), help="Folder for downloaded models."
    ),
    click.option(
        "--prompt-template", help="Prompt template, by name or path. Default: the adapter's own."
    ),
    click.option("--strategy", help="Strategy in the prompt template."),
    click.option(
        "--ignore-prompt-mismatch",
        is_flag=True,
        default=None,
        help="Ask an adapter with another prompt than its own.",
    ),
)
length_options = together(
    click.option("--max-length", type=int, help="Longest prompt in tokens; longer posts are cut."),
    click.option("--max-new-tokens", type=int, help="Longest generated reply in tokens."),
)
answer_options = together(
    click.option("--batch-size", type=int, help="Rows per batch; halved when memory runs out."),
    click.option(
        "--prefix-sharing",
        type=click.Choice(["auto", "on", "off"]),
        help="Compute the shared start of all prompts only once. auto: if that is faster and a "
        "self-test passes.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["score", "generate"]),
        help="score (default) compares the probabilities of the labels and gives P(hate). generate "
        "reads the model's reply.",
    ),
)


def model_section(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take the model's options out of `options`, and return them as a config's section."""
    named = {"name": options.pop("model_name"), "cache_dir": options.pop("cache_dir")}
    return {name: value for name, value in named.items() if value is not None} or None
