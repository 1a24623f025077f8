"""The options of a model that a server answers for."""

from pathlib import Path
from typing import Any

import click

from jobs.terminal.model_options import together

server_options = together(
    click.option(
        "--engine",
        type=click.Choice(["hsd", "vllm", "openai"]),
        help="hsd (the default) loads the model. vllm answers with vLLM, after a check of a few "
        "rows against hsd. openai asks an OpenAI-compatible server for the model --model-name, and "
        "reads what it writes.",
    ),
    click.option("--base-url", metavar="URL", help="The server: http://localhost:8000/v1."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help="File with the server's token. The token is read from there and written nowhere.",
    ),
    click.option("--concurrency", type=int, help="Requests to the server at the same time."),
    click.option(
        "--max-cost",
        type=float,
        help="Stop with exit code 75 before the run costs more than this, over all restarts. It "
        "needs server.prompt_price and server.reply_price. Shards that run at the same time do not "
        "see each other's cost.",
    ),
)


def server_section(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take the server's options out of `options`, and return them as a config's section."""
    from hsd.config.server_config import OPTIONS

    found = {name: value for name in OPTIONS if (value := options.pop(name)) is not None}
    return found or None
