"""A server that answers in the place of a model that hsd loads."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from hsd.config.fields import ADDRESS
from hsd.config.strict import Folder, Strict
from hsd.errors import ConfigError


def _with_host(text: str) -> str:
    parts = urlsplit(text)  # ValueError for half a bracket
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise ValueError("no address of a server")
    return text


Address = Annotated[str, AfterValidator(_with_host), Field(json_schema_extra={"format": ADDRESS})]
"""Where a server is."""


class ServerConfig(Strict):
    """An OpenAI-compatible server: vLLM, llama.cpp, Ollama, a commercial service."""

    base_url: Address | None = None
    """Where the server is, up to `/v1`: `http://localhost:8000/v1`."""
    token_file: Folder | None = None
    """File with the server's token, which hsd writes nowhere; None: the server needs none."""
    concurrency: PositiveInt = 8
    """Requests at the same time."""
    timeout_s: PositiveFloat = 120.0
    """Seconds after which a request counts as lost and is repeated."""
    retries: NonNegativeInt = 6
    """How often a request is repeated that the server refused for now, or that was lost."""
    top_logprobs: PositiveInt = 20
    """With `mode=score`: of how many likely tokens the server sends the log-probability. More than
    the server allows is refused; OpenAI and vLLM allow 20."""
    prompt_price: NonNegativeFloat | None = None
    """Price of a million prompt tokens, in any currency. With `reply_price`, hsd says the cost."""
    reply_price: NonNegativeFloat | None = None
    """Price of a million reply tokens, in the same currency."""
    cached_price: NonNegativeFloat | None = None
    """Price of a million prompt tokens from the server's cache; None: as `prompt_price`."""
    max_cost: PositiveFloat | None = None
    """Ask no further post once the next one could make the run cost more than this."""


OPTIONS = ("base_url", "token_file", "concurrency", "max_cost")
"""Settings of a server that are options of a command too."""


def require_server_engine(server: ServerConfig, engine: str) -> None:
    """Refuse settings of a server that would not be asked. Raises ConfigError.

    A config that was written out whole holds the defaults too, so only other values count.
    """
    if engine == "openai":
        return
    for name in sorted(server.model_dump(exclude_defaults=True)):
        said = f"--{name.replace('_', '-')}" if name in OPTIONS else f"server.{name}"
        raise ConfigError(f"{said} needs --engine openai.")
