"""ToxiGen as published (Hartvigsen et al., ACL 2022): generated posts, or the annotated set."""

import ast
from collections.abc import Mapping
from typing import Any

from hsd.data import cell_values
from hsd.data.label_names import parse_label
from hsd.data.loaded_file import Bad, Convert, Converted
from hsd.data.read_rows import Row
from hsd.data.split_names import split_of
from hsd.example import Example, Label
from hsd.groups.group_set import spelled_persona

MIDPOINT = 3.0
"""Of toxicity_human, 1 (benign) to 5 (toxic); the paper calls 3 ambiguous."""


def converter(threshold: float = MIDPOINT) -> Convert:
    """Return the function from a released row to an example.

    Rows of the large set take the prompt's label, which no person checked; annotated rows are
    hate where toxicity_human is above `threshold`.
    """

    def convert(row: Row) -> Converted:
        if "toxicity_human" in row.values:
            return _annotated(row.values, threshold)
        if "generation" in row.values:
            return _generated(row.values)
        return Bad("neither 'generation' nor 'toxicity_human'; are these ToxiGen's columns?")

    return convert


def undo_bytes(text: str) -> str:
    r"""Return the text of a cell that holds a Python bytes literal (`b'caf\xc3\xa9'`), else as is.

    The annotated set was written with such cells.
    """
    if text[:2] not in {"b'", 'b"'} or text[-1:] != text[1]:
        return text
    try:
        value = ast.literal_eval(text)
        return value.decode("utf-8") if isinstance(value, bytes) else text
    except (ValueError, SyntaxError, UnicodeDecodeError):
        return text


def _undone(value: Any) -> Any:
    return undo_bytes(value) if isinstance(value, str) else value


def _generated(values: Mapping[str, Any]) -> Converted:
    label = parse_label(values.get("prompt_label"))
    if label is None:
        said = cell_values.string(values, "prompt_label")
        return Bad(f"'prompt_label' is {said[:40]!r}; expected 1 (toxic) or 0 (benign)")
    multiclass = "toxic_implicit" if label == "hate" else "benign_implicit"
    return _example(values, "generation", "group", label, multiclass)


def _annotated(values: Mapping[str, Any], threshold: float) -> Converted:
    said = cell_values.string(values, "toxicity_human")
    try:
        score = float(said)
    except ValueError:
        return Bad(f"'toxicity_human' is {said[:40]!r}; expected a number from 1 to 5")
    if not 0 <= score <= 5:  # refuses nan too
        return Bad(f"'toxicity_human' is {said}; expected a number from 1 to 5")
    label: Label = "hate" if score > threshold else "normal"
    return _example(values, "text", "target_group", label, f"toxicity_human {score:.2f}")


def _example(
    values: Mapping[str, Any], text_column: str, group_column: str, label: Label, multiclass: str
) -> Converted:
    text = cell_values.post(values, text_column)
    if isinstance(text, Bad):
        return text
    groups = cell_values.names({group_column: _undone(values.get(group_column))}, group_column)
    if isinstance(groups, Bad):
        return groups
    return Example(
        id=cell_values.string(values, "id"),
        text=undo_bytes(text),
        label=label,
        named=cell_values.named(groups),
        persona_tag=spelled_persona(cell_values.named(groups)),
        source_dataset="toxigen",
        label_multiclass=multiclass,
        is_synthetic=True,
        split=split_of(cell_values.string(values, "split")),
    )
