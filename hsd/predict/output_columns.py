"""The columns that `hsd predict` adds behind those of the input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsd.metrics.calibration import scaled
from hsd.predict.label_rule import LabelRule
from hsd.predict.post_answers import PostAnswer

PREFIX = "hsd_"
KINDS = {
    "score": "float",
    "calibrated_score": "float",
    "label": "str",
    "outcome": "str",
    "reason": "str",
    "rationale": "str",
}
"""The new columns, and what their cells are."""


@dataclass(frozen=True, slots=True)
class NewColumns:
    """What is written of each answer: P(hate) as the model gives it and calibrated, label, outcome.

    The outcome is that of the reply, empty where a row was not asked; the reason says why then.
    """

    rule: LabelRule
    prefix: str = PREFIX
    rationale: bool = False

    @property
    def kinds(self) -> dict[str, str]:
        """The names of the columns, and what their cells are."""
        kept = {name: kind for name, kind in KINDS.items() if name != "rationale" or self.rationale}
        return {f"{self.prefix}{name}": kind for name, kind in kept.items()}

    @property
    def label_column(self) -> str:
        """The name of the column with the label."""
        return f"{self.prefix}label"

    @property
    def reason_column(self) -> str:
        """The name of the column with the reason."""
        return f"{self.prefix}reason"

    def cells(self, answers: Sequence[PostAnswer]) -> list[dict[str, Any]]:
        """Return the new cells of some rows; what does not exist is None, never 0."""
        scores = np.array([answer.score for answer in answers], dtype=np.float64)
        calibrated = scaled(scores, self.rule.temperature) if self.rule.temperature else None
        return [
            self._row(answer, None if calibrated is None else float(calibrated[at]))
            for at, answer in enumerate(answers)
        ]

    def _row(self, answer: PostAnswer, calibrated: float | None) -> dict[str, Any]:
        label = answer.label if answer.score is None else self.rule.label(answer.score)
        found: Mapping[str, Any] = {
            "score": answer.score,
            "calibrated_score": None if answer.score is None else calibrated,
            "label": label,
            "outcome": answer.outcome,
            "reason": answer.reason or None,
            "rationale": answer.rationale or None,
        }
        return {name: found[name.removeprefix(self.prefix)] for name in self.kinds}
