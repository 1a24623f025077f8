"""Where the Hugging Face cache is, and folders that are made once and kept beside it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


def hf_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of Hugging Face's files, as huggingface_hub finds it in an environment.

    Its own constants know this process's environment alone; a job has another one.
    """
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expandvars(home)).expanduser().absolute()


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of downloaded models, as huggingface_hub finds it in an environment."""
    told = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if not told:
        return hf_home(environ) / "hub"
    return Path(os.path.expandvars(told)).expanduser().absolute()


def cache(kind: str, cache_dir: Path | None = None) -> Path:
    """Return where folders of one kind are kept: under `cache_dir`, else Hugging Face's cache."""
    return Path(cache_dir or hf_home()) / f"hsd-{kind}"


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
