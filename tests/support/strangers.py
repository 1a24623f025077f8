"""Files of another user, for tests of what must not be trusted. Only root can make them."""

import os
from pathlib import Path

import pytest

STRANGER = 60001


def given_away(*paths: Path) -> None:
    """Let paths belong to somebody else; without root the test is skipped."""
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    for path in paths:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
