"""The JSON files of a base or an adapter, before a library reads them: it stumbles over many kinds.

Loads no torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.errors import ModelError, PreflightError
from hsd.io.json_reader import read_object

NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
)
"""Each holds an object."""
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
MAY_BE_ZERO = ("intermediate_size", "num_key_value_heads", "head_dim")
"""Sizes of parts that not every kind of model has."""


def require_readable(folder: Path) -> None:
    """Raise ModelError, naming the file, where one is no JSON object or a size in it is none.

    tokenizer.json may have 30 MB, a third of a second.
    """
    for file in (folder / name for name in NAMES):
        if not file.is_file():
            continue
        try:
            content = read_object(file)
        except PreflightError as error:
            raise ModelError(str(error)) from None
        if file.name == "config.json":
            _require_sizes(file, content)


def _require_sizes(file: Path, config: Mapping[str, Any]) -> None:
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for name in SIZES:
            found = part.get(name)
            each = found if isinstance(found, list) else [found]  # some say it for each layer
            least = 0 if name in MAY_BE_ZERO else 1
            if not all(one is None or (type(one) is int and one >= least) for one in each):
                shown = repr(found)[:40]
                raise ModelError(
                    f"{file}: {name}: expected a whole number of {least} or more, found {shown}."
                )
