"""How validation rows are judged: token losses, the loss of the label, and P(hate)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hsd.prediction import label_of
from hsd.prompts.render import Encoded
from hsd.training.objective import answer_log_losses, split_said

Score = tuple[str, float]
"""A row's id and its P(hate)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Sums over rows: token losses, answer tokens, label losses, rows, rows with a right label.

    A label is right when it is the likelier one, as in an evaluation, whatever share of votes the
    loss is taken against.
    """

    answer_loss: float
    tokens: float
    label_loss: float
    rows: float
    right: float
    scores: tuple[Score, ...]

    @property
    def sums(self) -> list[float]:
        """All but the scores."""
        return [self.answer_loss, self.tokens, self.label_loss, self.rows, self.right]


def validation_scores(said: torch.Tensor, rows: Sequence[Encoded]) -> Judged:
    """Return the sums of one piece from what its rows said, (spoken tokens of all rows,).

    Every row has a target. A row whose labels have no probability makes the label loss NaN.
    """
    split = split_said(said, rows)
    targets = [row.target for row in rows if row.target is not None]
    shares = [target.hate for target in targets]
    hate, normal = split.labels.double().T
    scores = torch.sigmoid(hate - normal).tolist()
    right = [label_of(s) == target.label for s, target in zip(scores, targets, strict=True)]
    return Judged(
        answer_loss=-float(split.answers.sum()),
        tokens=len(split.answers),
        label_loss=float(answer_log_losses(split.labels, split.labels.new_tensor(shares)).sum()),
        rows=len(rows),
        right=sum(right),
        scores=tuple(zip((row.id for row in rows), scores, strict=True)),
    )


def together(parts: Iterable[Judged]) -> Judged:
    """Return the sums of several pieces."""
    parts = list(parts)
    columns = list(zip(*(part.sums for part in parts), strict=True)) or [()] * 5  # a rank without
    answer, tokens, label, rows, right = map(sum, columns)
    scores = tuple(score for part in parts for score in part.scores)
    return Judged(answer, tokens, label, rows, right, scores)
