"""docs/api.md, from the docstrings of the public API, and its example."""

import inspect
import re
from pathlib import Path

import hsd

EXAMPLE = Path(__file__).with_name("api_example.py")


def api_page() -> str:
    """Return docs/api.md, without the first line that says how it is made."""
    names = [name for name in hsd.__all__ if not name.startswith("_")]
    parts = [
        "# Python API",
        "Everything that the commands do can be called. A name is imported when it is first used: "
        "`import hsd` loads no torch.",
        f"```python\n{EXAMPLE.read_text(encoding='utf-8').strip()}\n```",
        "What goes wrong for a reason that the caller can mend raises an `HsdError` of one line.",
        *(_entry(name) for name in sorted(names, key=str.lower)),
    ]
    return "\n\n".join(parts) + "\n"


def _entry(name: str) -> str:
    value = getattr(hsd, name)
    signature = "" if inspect.isclass(value) else _signature(name, value)
    return f"## {name}\n\n{signature}{inspect.getdoc(value)}"


def _signature(name: str, value: object) -> str:
    """Return a function's signature, one parameter a line."""
    signature = inspect.signature(value)  # type: ignore[arg-type]
    lines = [f"    {_parameter(each)},\n" for each in signature.parameters.values()]
    returned = _annotation(signature.return_annotation)
    return f"```python\n{name}(\n{''.join(lines)}) -> {returned}\n```\n\n"


def _parameter(each: inspect.Parameter) -> str:
    typed = f"{each.name}: {_annotation(each.annotation)}"
    if each.default is each.empty:
        return typed
    return f"{typed} = {getattr(each.default, '__name__', repr(each.default))}"


def _annotation(value: object) -> str:
    """Return an annotation without the modules of its names."""
    return re.sub(r"\b\w+\.(?=\w)", "", inspect.formatannotation(value))
