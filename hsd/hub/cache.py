"""Folders that are made once and kept beside the Hugging Face cache, whoever asks first."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache(kind: str, cache_dir: Path | None = None) -> Path:
    """Return where folders of one kind are kept: under `cache_dir`, else Hugging Face's cache."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(cache_dir or home) / f"hsd-{kind}"


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return `target`; where it is not there, `make` fills a folder that then becomes it.

    A folder that is there is whole. Of several processes that make it the first one's is kept.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        make(temporary)
        temporary.chmod(0o755)
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have been first, which is as good
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
