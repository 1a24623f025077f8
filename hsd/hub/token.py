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

    Raises DataError when the file cannot be read, or holds what no header can carry.
    """
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DataError(f"{setting}: {file} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        token = "\ufffd"
    if lines := len(token.splitlines()[1:]):
        raise DataError(f"{setting}: {file} has {lines + 1} lines; write the token alone, in one.")
    if not (token.isascii() and token.isprintable()):
        raise DataError(
            f"{setting}: {file} holds characters that no token has (not ASCII, or invisible); "
            "write the token alone into it, as plain text."
        )
    return token or None
