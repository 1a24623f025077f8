"""The tokenizer and chat template that were saved beside an adapter: what it was trained to read.

Training programs save both into each checkpoint. Where they differ from the base's, the base's
would make another prompt than the adapter learned.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hsd.errors import ModelError
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import read_object
from hsd.model.adapter_weights import RESIZED
from hsd.model.base import BaseFiles
from hsd.model.json_files import require_readable

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
"""Files that hold a tokenizer's words; without one, the words are the base's."""

Templates = str | dict[str, str]
"""One chat template, or several by name."""


def tokenizer_of(folder: Path, base: BaseFiles) -> PreTrainedTokenizerBase:
    """Return the tokenizer that an adapter was trained with: the base's own where none differs.

    Raises ModelError when it cannot be read, numbers words otherwise than the base's, or has
    tokens that the base has no embedding for.
    """
    if not _has_words(folder) and template_beside(folder) is None:
        return base.tokenizer
    own = _read(folder, base.tokenizer)
    if sha256_of(own) == sha256_of(base.tokenizer):
        return base.tokenizer
    _require_same_numbers(folder, own, base)
    return own


@contextmanager
def blaming(folder: Path | None) -> Iterator[None]:
    """Say of whatever fails to render that it was found beside an adapter; None: it was not."""
    try:
        yield
    except ModelError as error:
        if folder is None:
            raise
        # What would help with a base is no help here.
        reason = str(error).partition(";")[0].rstrip(".").replace("the base's", "its")
        raise ModelError(
            f"{folder}: the tokenizer and chat template beside the adapter cannot be used: "
            f"{reason}. Where it was trained with the base's own, take their files out of the "
            "folder."
        ) from None


def sha256_of(tokenizer: Any) -> str:
    """Return a digest of what decides a prompt's tokens: words, chat template, end of text.

    And the named tokens that the template writes, such as `bos_token`.
    """
    words = json.loads(tokenizer.backend_tokenizer.to_str())
    words = words | {"truncation": None, "padding": None}
    template = str(tokenizer.chat_template)
    named = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if k in template}
    return sha256_json([words, tokenizer.chat_template, tokenizer.eos_token, named])


def template_beside(folder: Path) -> Templates | None:
    """Return the chat template that lies in a folder, None without one."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        content = read_object(folder / name) if (folder / name).is_file() else {}
        if found := content.get("chat_template"):
            return _templates(found, folder / name)
    return None


def _templates(found: Any, file: Path) -> Templates:
    if isinstance(found, str):
        return found
    try:
        several = {one["name"]: one["template"] for one in found}
    except (TypeError, KeyError):
        several = {}
    if not several or not all(isinstance(part, str) for pair in several.items() for part in pair):
        raise ModelError(
            f"{file}: chat_template: expected a text, or a list of names with a template each."
        )
    return several


def _has_words(folder: Path) -> bool:
    return any((folder / name).is_file() for name in VOCABULARIES)


def _read(folder: Path, base: Any) -> Any:
    if _has_words(folder):
        require_readable(folder)
        try:
            own = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"{folder}: the tokenizer beside the adapter cannot be read ({reason}); where it "
                "was trained with its base's own, take the tokenizer's files out of the folder."
            ) from error
    else:
        own = copy.deepcopy(base)
    own.chat_template = template_beside(folder) or own.chat_template or base.chat_template
    return own


def _require_same_numbers(folder: Path, own: Any, base: BaseFiles) -> None:
    words, known = own.get_vocab(), base.tokenizer.get_vocab()
    rows = base.config.get_text_config().vocab_size
    moved = sorted(word for word in words.keys() & known.keys() if words[word] != known[word])
    if moved:
        raise ModelError(
            f"{folder}: its tokenizer numbers {len(moved)} of the words otherwise than "
            f"{base.name} does, so it was trained on another base. Give that one."
        )
    if (last := max(words.values())) >= rows:
        raise ModelError(
            f"{folder}: its tokenizer has a token {last}, and {base.name} has {rows}: tokens were "
            f"added. {RESIZED}"
        )
