"""Predictions written as a table: groups, true label, what was called, and a score if any."""

from typing import cast

from hsd.example import Label
from hsd.prediction import Outcome, Prediction

LABELS: dict[str, Label] = {"h": "hate", "n": "normal"}


def predictions(table: str) -> list[Prediction]:
    """Read rows such as `lgbtq+mexican h n .7`; `-` is no group, an outcome's name no label."""
    lines = [line.split() for line in table.splitlines() if line.strip()]
    return [_row(f"p{number:03}", *cells) for number, cells in enumerate(lines)]


def _row(id_: str, groups: str, true: str, called: str, score: str | None = None) -> Prediction:
    return Prediction(
        id=id_,
        strategy="standard",
        text=f"invented post {id_}",
        true_label=LABELS[true],
        label=LABELS.get(called),
        outcome="valid" if called in LABELS else cast("Outcome", called),
        score=None if score is None else float(score),
        groups=() if groups == "-" else tuple(groups.split("+")),
        persona_tag="" if groups == "-" else f"{groups.split('+')[0]}_persona",
        source_dataset="invented",
        label_multiclass="offensive" if true == "h" else "normal",
        response_time=0.25,
        reply="{}",
    )
