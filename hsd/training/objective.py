"""What a training step makes smaller: the answer's token losses, and the loss of the label.

A JSON answer has some ten tokens, and one or two of them carry the label. The mean over tokens
learns the JSON first and the label late. So `label` looks at what evaluation reads: which of the
two answers is likelier, each label taken whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hsd.config.train_config import TrainingConfig
from hsd.prompts.render import Encoded


@dataclass(frozen=True, slots=True)
class LossCounts:
    """What a loss is a mean over: answer tokens, and rows."""

    tokens: int
    rows: int


@dataclass(frozen=True, slots=True)
class Said:
    """What a piece's rows said: the log-probabilities of answer tokens, and of the labels."""

    answers: torch.Tensor
    """(answer tokens of all rows,)"""
    labels: torch.Tensor
    """(rows with a target, 2), hate first; they need not add up to 1."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of a step: a weighted sum of two means, over the whole step and all processes.

    The mean over answer tokens of their cross-entropy, and the mean over rows of the log-loss of
    P(hate), which is the score that evaluation reads, against the row's share of hate.
    """

    answer_weight: float = 1.0
    label_weight: float = 0.0
    label_smoothing: float = 0.0

    def loss(self, said: torch.Tensor, rows: Sequence[Encoded], whole: LossCounts) -> torch.Tensor:
        """Return the part of a step's loss that these rows are; a step's parts add up."""
        split = split_said(said, rows)
        loss = self.answer_weight * -split.answers.sum() / whole.tokens
        if not self.label_weight:
            return loss
        return loss + self.label_weight * self._label_loss(split.labels, rows) / whole.rows

    def of_means(self, answer: float, label: float) -> float:
        """Return the loss of rows whose two means are known."""
        return self.answer_weight * answer + self.label_weight * label

    def _label_loss(self, labels: torch.Tensor, rows: Sequence[Encoded]) -> torch.Tensor:
        targets = [row.target for row in rows if row.target is not None]
        shares = [t.hate + self.label_smoothing * (0.5 - t.hate) for t in targets]
        weights = labels.new_tensor([t.weight for t in targets])
        return (weights * answer_log_losses(labels, labels.new_tensor(shares))).sum()


def objective_of(training: TrainingConfig) -> Objective:
    """Return the objective that a config asks for."""
    if training.objective == "answer":
        return Objective()
    return Objective(training.answer_weight, 1.0, training.label_smoothing)


def answer_log_losses(labels: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return each row's cross-entropy between P(hate) and the share of hate, in nats (rows,)."""
    likelier = labels.log_softmax(-1)
    return -(shares * likelier[:, 0] + (1 - shares) * likelier[:, 1])


def split_said(said: torch.Tensor, rows: Sequence[Encoded]) -> Said:
    """Return log-probabilities (spoken tokens of all rows,) as answers and labels."""
    answers: list[int] = []
    labels: list[range] = []
    at = 0
    for row in rows:
        answer = range(at, at + len(row.answer))
        answers += answer
        at += len(answer)
        if (target := row.target) is None:
            continue
        for tail in target.tails:
            if tail in target.rivals:
                labels.append(range(at, at + len(tail)))
                at += len(tail)
            else:  # the answer itself begins with it
                labels.append(answer[target.opening :][: len(tail)])
    return Said(said[_long(answers, said)], _sums(said, labels).view(-1, 2))


def count_losses(rows: Iterable[Encoded]) -> LossCounts:
    """Return how many answer tokens and rows there are."""
    lengths = [len(row.answer) for row in rows]
    return LossCounts(sum(lengths), len(lengths))


def _sums(said: torch.Tensor, parts: Sequence[range]) -> torch.Tensor:
    """Return the sum over each part's places, (parts,).

    Parts have a few places each. They are padded with the place of a zero, so that additions have
    one order; an indexed sum on a GPU does not promise one.
    """
    longest = max(map(len, parts), default=0)
    padded = [[*places, *[len(said)] * (longest - len(places))] for places in parts]
    taken = torch.cat([said, said.new_zeros(1)])[_long(padded, said).view(len(parts), longest)]
    return taken.sum(1)


def _long(values: Sequence[object], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long, device=like.device)
