"""What tells the rows of an evaluation from other rows: their posts, labels and groups."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hsd.example import Example
from hsd.io.hashes import sha256_json

COPIED = (
    "groups",
    "persona_tag",
    "source_dataset",
    "label_multiclass",
    "functionality",
    "reference_id",
    "cluster",
)
"""What a prediction has of its row beside text and label, and its share of votes if any."""


def data_facts(identity: Mapping[str, Any], examples: Sequence[Example]) -> dict[str, Any]:
    """Return what a manifest says of a run's rows; their splits where they say any."""
    splits = Counter(example.split for example in examples if example.split)
    named = {name: identity[name] for name in ("data_file", "data_sha256", "rows")}
    return named | ({"splits": dict(splits)} if splits else {})


def rows_identity(examples: Sequence[Example], data_file: str) -> dict[str, Any]:
    """Return the part of a run's identity that is about its rows."""
    return {
        "rows": len(examples),
        "data_sha256": sha256_json([[e.id, e.text, e.label] for e in examples]),
        # What predictions copy: groups that were corrected give another report.
        "about_sha256": sha256_json([_about(e) for e in examples]),
        "data_file": data_file,
    }


def _about(example: Example) -> list[Any]:
    """Return what a prediction copies; a share only where there is one, as in older identities."""
    copied = [getattr(example, name) for name in COPIED]
    return copied if example.hate_share is None else [*copied, example.hate_share]
