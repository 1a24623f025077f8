"""The patterns of an adapter's config: foreign regular expressions, tried before peft uses them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hsd.errors import ModelError
from hsd.io.deadline import within

SECONDS = 3.0
"""How long one pattern may compute on all layers of a base. It takes milliseconds."""


def require_patterns(config: Mapping[str, Any], names: Iterable[str], file: Path) -> None:
    """Raise ModelError for a pattern that is none, or needs endless time on the names of layers.

    `(x+)+y` needs a time that doubles with each letter.
    """
    layers = list(names)
    for key, pattern in _patterns(config):
        late = ModelError(
            f"{file}: {key} {pattern[:60]!r} has not been matched with the names of the base's "
            f"layers after {SECONDS:g} seconds of computing; name the layers in a list instead."
        )
        try:
            with within(SECONDS, late):
                tried = re.compile(rf"(.*\.)?({pattern})")
                for name in layers:
                    tried.fullmatch(name)
        except (re.error, RecursionError, OverflowError) as error:
            raise ModelError(f"{file}: {key} {pattern[:60]!r} is no pattern ({error}).") from None


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), str):
            yield key, config[key]
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in config.get(key) or ():
            yield key, str(pattern)
