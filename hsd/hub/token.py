"""The token of the Hugging Face hub: by a path, or from the environment; never in argv."""

import os
from pathlib import Path

from hsd.errors import DataError

TOKEN_FILE = "HF_TOKEN_PATH"


def read_token() -> str | None:
    """Return the token of HF_TOKEN, or of the file that HF_TOKEN_PATH names; None without both.

    Raises DataError when the file cannot be read: a private data set would look absent.
    """
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    path = os.environ.get(TOKEN_FILE)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise DataError(f"{TOKEN_FILE}: {path} cannot be read ({error.strerror}).") from None
