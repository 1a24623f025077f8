"""Which tokens of a vocabulary only the chat template may write, and which are words of posts."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hsd.errors import ModelError

LIKE_CONTROL = re.compile(r"<[|｜].+>|<.+[|｜]>", re.DOTALL)
"""How vocabularies write control tokens, of which some are not marked as special."""
NOT_IN_WORDS = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Control:
    """A token that only the chat template may write."""

    id: int
    takes_space_before: bool = False
    """White space that stands before it in the text is part of it (`lstrip`)."""
    takes_space_behind: bool = False
    """The same of white space behind it (`rstrip`)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer's control tokens by their text, and a tokenizer for everything else."""

    control: Mapping[str, Control]
    plain: Any
    """A `tokenizers.Tokenizer` that knows the added words, but takes control tokens for text."""


def split_vocabulary(tokenizer: Any, written: Iterable[str]) -> Vocabulary:
    """Return a fast tokenizer's control tokens, and the tokenizer of what is left.

    `written` are the texts that the chat template may write. Control is what the tokenizer calls
    special, what looks like `<|this|>`, and what the chat template writes and is no word of
    letters: Qwen's `<think>` and `<tool_call>` are not special. Any other added token is
    vocabulary, such as `<user>`, `<number>` or a run of spaces; posts keep it as the library has
    it. Raises ModelError when plain text can become a special token.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            "the base has no fast tokenizer, so its words and control tokens cannot be told apart; "
            "hsd needs a base with a tokenizer.json."
        )
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {
        token["content"]: Control(int(token["id"]), token["lstrip"], token["rstrip"])
        for token in backend["added_tokens"]
        if not token["content"].isspace()
    }
    named = {token["content"] for token in backend["added_tokens"] if token["special"]}
    named |= set(tokenizer.all_special_tokens)
    encode = partial(tokenizer.encode, add_special_tokens=False)
    in_template = {id for text in written for id in encode(text)}
    control = {
        text: token
        for text, token in added.items()
        if text in named or _is_structure(text, token.id in in_template)
    }
    plain = _plain(tokenizer, backend, control)
    speakable = [text for text, token in control.items() if _can_say(plain, text, token.id)]
    if spoken := [text for text in speakable if text in named]:
        raise ModelError(
            f"the base's tokenizer makes its control token {spoken[0]} from plain text, so posts "
            "could pose as it; hsd cannot use this base."
        )
    if speakable:  # posts can have them, so they can mark nothing: they are words
        control = {text: token for text, token in control.items() if text not in speakable}
        plain = _plain(tokenizer, backend, control)
    return Vocabulary(control, plain)


def _is_structure(token: str, is_written: bool) -> bool:
    if LIKE_CONTROL.fullmatch(token):
        return True
    # A word of letters is in a template as a role or as prose, behind a mark that shows it as such.
    return is_written and bool(NOT_IN_WORDS.search(token))


def _plain(tokenizer: Any, backend: Mapping[str, Any], control: Collection[str]) -> Any:
    """Return a copy to which exactly the control tokens are special, and special ones are text.

    None is taken out: the library numbers added tokens anew by their order.
    """
    added = [{**token, "special": token["content"] in control} for token in backend["added_tokens"]]
    content = {**backend, "added_tokens": added, "truncation": None, "padding": None}
    plain = type(tokenizer.backend_tokenizer).from_str(json.dumps(content))
    plain.encode_special_tokens = True
    return plain


def _can_say(plain: Any, token: str, id: int) -> bool:
    texts = (token, f"a{token}a")
    return any(id in plain.encode(text, add_special_tokens=False).ids for text in texts)
