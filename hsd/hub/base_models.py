"""Bases of the Hugging Face hub: whether one is whole in a cache, and fetching it ahead of jobs.

Loads no torch: a login node looks at this before every submission.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hsd.config.model_config import PACKAGE, ModelConfig
from hsd.counted import counted
from hsd.errors import ErrorCode, ModelError, did_you_mean
from hsd.hub.cache import hub_cache
from hsd.hub.package import package_folder
from hsd.hub.token import TOKEN_FILE, read_token
from hsd.hub.weight_files import INDEX, SINGLE, shards_of
from hsd.io.files import require_space

MAIN = "main"
WANTED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
UNWANTED = ("*/*", "consolidated*")
"""Copies of the same weights in other forms: gpt-oss carries two of them in folders."""
_WORDS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
_COMMIT = re.compile(r"[0-9a-f]{40}")

Kind = Literal["folder", "package", "hub", "nothing"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A base that is whole on this machine."""

    name: str
    folder: Path
    commit: str
    files: int
    """Fetched now; 0 when all was there."""
    size_gb: float
    """Of what was fetched now."""
    offline: bool = False
    """The hub was not reached, so there may be a newer commit."""

    @property
    def sentences(self) -> list[str]:
        """Return what was done."""
        if self.offline:
            done = "complete in the cache already; the hub cannot be reached, so it may be older"
        elif not self.files:
            done = "complete in the cache already"
        else:
            done = f"{counted(self.files, 'file')} ({self.size_gb:.2f} GB) fetched"
        return [f"{self.name}: {done}.", f"  {self.folder}"]


def kind_of(name: str) -> Kind:
    """Return where a base of this name comes from; `nothing` for a path that is not there."""
    if name.startswith(PACKAGE):
        return "package"
    if Path(name).expanduser().is_dir():
        return "folder"
    is_hub = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return "hub" if is_hub else "nothing"


def require_base_named(name: str) -> None:
    """Raise ModelError for a name that cannot be a base's, or of a package that is not here."""
    kind = kind_of(name)
    if kind == "package":
        package_folder(name)
    if kind != "nothing":
        return
    folder = Path(name).expanduser()
    beside = folders_beside(folder)
    raise ModelError(
        f"model '{name}': no such folder, and not a hub name (owner/name) or pypi:PACKAGE."
        + did_you_mean(folder.name, beside=beside)
    )


def folders_beside(folder: Path) -> list[str]:
    """Return the names of the folders beside a model's, its own among them."""
    return [path.name for path in folder.absolute().parent.glob("*") if path.is_dir()]


def fetch_words(config: ModelConfig) -> str:
    """Return what a person types after `hsd fetch` for this base."""
    own = {"revision": config.revision, "cache_dir": config.cache_dir}
    changes = [f"model.{key}={value}" for key, value in own.items() if value is not None]
    return shlex.join([config.name, *(word for one in changes for word in ("--set", one))])


def cache_of(config: ModelConfig, environ: Mapping[str, str]) -> Path:
    """Return the folder of downloaded models that a config's base is looked for in."""
    return hub_cache(environ) if config.cache_dir is None else config.cache_dir.absolute()


def cached(config: ModelConfig, environ: Mapping[str, str]) -> Path | None:
    """Return the cached folder of the revision that a job would take; it may lack files."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(
            config.name,
            "config.json",
            cache_dir=cache_of(config, environ),
            revision=config.revision or MAIN,
        )
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def names_in(cache: Path) -> list[str]:
    """Return the models that a cache has something of."""
    folders = sorted(cache.glob("models--*--*"))
    return [folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders]


def lacking(folder: Path) -> list[str]:
    """Return the files that a model's folder lacks, to be loaded with its tokenizer."""
    found = [] if (folder / "config.json").is_file() else ["config.json"]
    single, index = (folder / name for name in (SINGLE, INDEX))
    if not single.is_file():
        found += _absent_shards(index) if index.is_file() else [single.name]
    if not any((folder / name).is_file() for name in _WORDS):
        found.append(_WORDS[0])
    return found


def weights_gb(folder: Path) -> float:
    """Return the size of a folder's weights in GB."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9


def fetch(config: ModelConfig, environ: Mapping[str, str] | None = None) -> Fetched:
    """Return a base of the hub, model and tokenizer, whole in the cache; what is there is kept.

    The branch or tag is noted in the cache, so that an offline job finds it under that name.
    Raises ModelError when the hub cannot be reached or refuses, PreflightError without room.
    """
    environ = os.environ if environ is None else environ
    cache = cache_of(config, environ)
    try:
        with _reached(config):
            planned = _snapshot(config, cache, dry_run=True)
    except ModelError:
        there = cached(config, environ)
        if there is None or lacking(there):
            raise
        return Fetched(config.name, there, there.name, 0, 0.0, offline=True)
    missing = [file for file in planned if file.will_download]
    size_gb = sum(file.file_size or 0 for file in missing) / 1e9
    require_space(cache, size_gb, f"fetching {config.name}")
    with _reached(config):
        folder = Path(_snapshot(config, cache))
    if gaps := lacking(folder):
        raise ModelError(
            f"model '{config.name}': the hub has no {gaps[0]} at {folder.name[:12]}; take a model "
            "with safetensors weights and a tokenizer in its top folder."
        )
    return Fetched(config.name, folder, folder.name, len(missing), size_gb)


def is_commit(revision: str | None) -> bool:
    """Return whether a revision names one commit for ever."""
    return bool(revision and _COMMIT.fullmatch(revision))


def _snapshot(config: ModelConfig, cache: Path, *, dry_run: bool = False) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download(
        config.name,
        revision=config.revision or MAIN,
        cache_dir=cache,
        allow_patterns=list(WANTED),
        ignore_patterns=list(UNWANTED),
        token=read_token(),
        dry_run=dry_run,
    )


@contextmanager
def _reached(config: ModelConfig) -> Iterator[None]:
    """Turn what the hub's client raises into one line."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        DryRunError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise ModelError(f"model '{config.name}': {_first_line(error)}.") from None
    except (DryRunError, LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError | DryRunError) else error
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            raise _refused(config, str(cause.response.status_code)) from None
        raise unreachable(config, "what was fetched is kept.") from None


def unreachable(config: ModelConfig, besides: str) -> ModelError:
    """Return the error of a base that is not here, where there is no internet."""
    name = config.name
    return ModelError(
        f"model '{name}': the Hugging Face hub cannot be reached from here (offline). Where it "
        f"can, run `hf download {name}{_at(config)} --local-dir FOLDER`, copy the folder here, and "
        f"pass --set model.name=FOLDER; {besides}",
        code=ErrorCode.MODEL_NOT_IN_CACHE,
    )


def _refused(config: ModelConfig, why: str) -> ModelError:
    return ModelError(
        f"model '{config.name}': the hub refused or does not know it{_at(config, ' at ')} ({why}); "
        "check the name and revision, and for a private or gated model accept its terms and set "
        f"HF_TOKEN or {TOKEN_FILE}."
    )


def _at(config: ModelConfig, word: str = " --revision ") -> str:
    return f"{word}{config.revision}" if config.revision else ""


def _absent_shards(index: Path) -> list[str]:
    try:
        shards = shards_of(index)
    except ModelError:
        return [index.name]
    return [shard for shard in shards if not (index.parent / shard).is_file()]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
