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
    return token_in(Path(path), TOKEN_FILE)


def token_in(file: Path, setting: str) -> str | None:
    """Return the token that a file holds; `setting` names the file to people.

    Raises DataError when the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise DataError(f"{setting}: {file} cannot be read ({error.strerror}).") from None
