"""What to take instead of a base that was never taught to chat: the name its sibling has."""

import re
from collections.abc import Iterable

UNTAUGHT = re.compile(r"[-_.](?:base|pt|pretrain(?:ed)?)$", re.IGNORECASE)
TAUGHT = re.compile(r"(?:^|[-_.])(?:instruct|it|chat|sft|dpo)(?:$|[-_.])", re.IGNORECASE)


def instead_of(name: str, beside: Iterable[str] = ()) -> str:
    """Return what would have worked for a model without a chat template, as an advice.

    `name` is the model's own, without folders or owner; `beside` are the folders next to it.
    """
    if TAUGHT.search(name):
        return "copy its chat_template.jinja (older ones: tokenizer_config.json) into its folder"
    stem = UNTAUGHT.sub("", name)
    siblings = sorted(
        one for one in beside if one.startswith(stem) and TAUGHT.search(one[len(stem) :])
    )
    if siblings:
        return f"take the instruction-tuned {siblings[0]} beside it"
    names = [f"{stem}-Instruct", f"{stem}-it", *([stem] if stem != name else [])]
    return (
        "take the instruction-tuned version of the model, which its makers mostly name "
        f"{', '.join(names[:-1])} or {names[-1]}"
    )
