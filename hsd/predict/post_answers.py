"""What a model, or a server, said of a post."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hsd.example import Label
from hsd.prediction import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PostAnswer:
    """What a model said of the post in row `row`; no outcome where it was not asked.

    `label` is the reply's, or the likelier one, before any threshold. `reason` says why it was not
    asked, or that the post was cut.
    """

    row: int
    outcome: Outcome | None = None
    label: Label | None = None
    score: float | None = None
    rationale: str = ""
    reason: str = ""


def as_stored(answer: PostAnswer) -> Mapping[str, Any]:
    """Return an answer as a row of JSON, without what is absent."""
    return {name: value for name, value in asdict(answer).items() if value not in (None, "")}
