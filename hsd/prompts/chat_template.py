"""A base's chat template, which is foreign code: chosen, dated, and run with care."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from jinja2 import Environment, TemplateError

from hsd.errors import ModelError
from hsd.io.deadline import within

TODAY = re.compile(r"""strftime_now\(\s*(['"])(.+?)\1\s*\)""")
"""How chat templates ask for the date; transformers lets no argument replace that function."""
ANY_DAY = re.compile(r"strftime_now\s*\(")

SECONDS = 3.0
"""How long one chat may be computed. It takes milliseconds."""
LONGEST = 1_000_000
"""Characters of a chat without a post: the longest template in circulation writes some 10,000."""
MENDED = "put a chat template for plain chats into its folder as chat_template.jinja"


def chosen_template(tokenizer: Any) -> str:
    """Return the chat template that a base is asked with. Raises ModelError when none is named."""
    templates = tokenizer.chat_template
    if isinstance(templates, Mapping) and "default" not in templates:
        raise ModelError(
            f"the base has several chat templates ({', '.join(sorted(templates))}), of which none "
            "is the default; save the one to ask with as chat_template.jinja in its folder."
        )
    template: str = tokenizer.get_chat_template()
    return template


def with_date(chat_template: str, day: date) -> str:
    """Return a chat template that writes `day` wherever it would write today's date.

    Raises ModelError when it asks for the date in a way that cannot be replaced.
    """
    dated = TODAY.sub(lambda call: repr(day.strftime(call[2])), chat_template)
    if ANY_DAY.search(dated):
        raise ModelError(
            "the base's chat template writes today's date in a form made while it runs, so "
            "tomorrow's prompt would be another one; hsd cannot use this base."
        )
    return dated


def literals(chat_template: str) -> list[str]:
    """Return all texts that stand in a chat template, between its tags and in quotes within them.

    Raises ModelError when it is no Jinja.
    """
    try:
        tokens = list(Environment().lexer.tokenize(chat_template))
    except TemplateError as error:
        raise _failure(error) from None
    return [str(token.value) for token in tokens if token.type in ("data", "string")]


def render_turns(
    tokenizer: Any,
    chat_template: str,
    turns: Sequence[Mapping[str, str]],
    settings: Mapping[str, Any],
    *,
    answered: bool,
) -> str:
    """Return a chat as text; one that is not answered ends where an answer is to begin.

    Raises ModelError when the template fails, does not end, or writes more than a chat.
    """
    try:
        with within(
            SECONDS, TimeoutError(f"it has not ended after {SECONDS:g} seconds of computing")
        ):
            rendered: str = tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=not answered,
                chat_template=chat_template,
                **settings,
            )
    except Exception as error:  # besides jinja's own it raises whatever its expressions run into
        raise _failure(error) from None
    if len(rendered) > LONGEST:
        raise _failure(ValueError(f"it writes {len(rendered):,} characters around a chat"))
    return rendered


def _failure(error: Exception) -> ModelError:
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    said = " ".join(str(error).split()).rstrip(".")[:200]
    return ModelError(f"the base's chat template fails: {kind}{said}; {MENDED}.")
