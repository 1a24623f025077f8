"""A server that answers in the place of a model that hsd loads."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from hsd.config.strict import Folder, Strict, Text


class ServerConfig(Strict):
    """An OpenAI-compatible server: vLLM, llama.cpp, Ollama, a commercial service."""

    base_url: Text | None = None
    """Where the server is, up to `/v1`: `http://localhost:8000/v1`."""
    token_file: Folder | None = None
    """File with the server's token, which hsd writes nowhere; None: the server needs none."""
    concurrency: PositiveInt = 8
    """Requests at the same time."""
    timeout_s: PositiveFloat = 120.0
    """Seconds after which a request counts as lost and is repeated."""
    retries: NonNegativeInt = 6
    """How often a request is repeated that the server refused for now, or that was lost."""
