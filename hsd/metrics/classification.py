"""Counts, rates and headline metrics of a set of predictions. Hate is the positive class.

An unreadable reply has no label. The headline counts it as wrong for its post: an unread hate is
a miss (false negative) and an unread normal a false alarm (false positive), so that failing to
answer can never raise a score. The other policies stand beside it, never in its place.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hsd.example import LABELS, Label
from hsd.prediction import Prediction

Policy = Literal["error", "drop", "majority"]
POLICIES: tuple[Policy, ...] = ("error", "drop", "majority")
"""An unreadable reply is wrong; is left out; or is read as the more frequent true label."""


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """A confusion matrix. Rates without a denominator are None, never 0."""

    tp: int = 0
    tn: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def n(self) -> int:
        """All rows."""
        return self.tp + self.tn + self.fp + self.fn

    @property
    def hates(self) -> int:
        """Rows whose true label is hate."""
        return self.tp + self.fn

    @property
    def normals(self) -> int:
        """Rows whose true label is normal."""
        return self.tn + self.fp

    @property
    def false_positive_rate(self) -> float | None:
        """Share of normal posts not left alone: fp / (fp + tn). None without a normal post."""
        return self.fp / self.normals if self.normals else None

    @property
    def false_negative_rate(self) -> float | None:
        """Share of hateful posts missed: fn / (fn + tp). None without a hateful post."""
        return self.fn / self.hates if self.hates else None

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Return the counts of both sets of rows together."""
        return ConfusionMatrix(
            self.tp + other.tp, self.tn + other.tn, self.fp + other.fp, self.fn + other.fn
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one policy makes of the predictions; None where a metric is not defined."""

    counts: ConfusionMatrix
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    macro_f1: float | None
    auroc: float | None
    auprc: float | None


METRIC_NAMES = ("accuracy", "precision", "recall", "f1", "macro_f1", "auroc", "auprc")


def classify(predictions: Sequence[Prediction], policy: Policy = "error") -> Metrics:
    """Return accuracy, precision, recall, F1, macro-F1 and AUROC under a policy."""
    truth = [p.true_label for p in predictions]
    called = calls(predictions, policy)
    kept = [(t, c) for t, c in zip(truth, called, strict=True) if c is not None]
    return _metrics([t for t, _ in kept], [c for _, c in kept], areas(predictions))


def always(label: Label, truth: Sequence[Label]) -> Metrics:
    """Return what a classifier that only ever says `label` would score on these true labels."""
    return _metrics(list(truth), [label] * len(truth), (None, None))


def calls(predictions: Sequence[Prediction], policy: Policy = "error") -> list[Label | None]:
    """Return what each post is taken to be called; None is a row that `drop` leaves out."""
    majority = _majority([p.true_label for p in predictions])
    return [p.label or _unread(p.true_label, policy, majority) for p in predictions]


def counted(truth: Sequence[Label], called: Sequence[Label]) -> ConfusionMatrix:
    """Return the confusion matrix of two equally long sequences of labels."""
    cells = Counter(zip(truth, called, strict=True))
    return ConfusionMatrix(
        tp=cells["hate", "hate"],
        tn=cells["normal", "normal"],
        fp=cells["normal", "hate"],
        fn=cells["hate", "normal"],
    )


def count(predictions: Sequence[Prediction]) -> ConfusionMatrix:
    """Return the headline's confusion matrix: every unreadable reply is wrong for its post."""
    called = [p.label or _opposite(p.true_label) for p in predictions]
    return counted([p.true_label for p in predictions], called)


def areas(predictions: Sequence[Prediction]) -> tuple[float | None, float | None]:
    """Return the area under the ROC curve of `score`, and the average precision.

    None unless every row has a score and both labels occur.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = [p.score for p in predictions if p.score is not None]
    truth = [p.true_label == "hate" for p in predictions]
    if len(scores) < len(truth) or len(set(truth)) < 2:
        return None, None
    return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))


def _metrics(
    truth: list[Label], called: list[Label], found: tuple[float | None, float | None]
) -> Metrics:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    if not truth:
        return Metrics(ConfusionMatrix(), None, None, None, None, None, *found)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, called, labels=list(LABELS), average=None, zero_division=math.nan
    )
    return Metrics(
        counts=counted(truth, called),
        accuracy=float(accuracy_score(truth, called)),
        precision=_defined(precision[0]),
        recall=_defined(recall[0]),
        f1=_defined(f1[0]),
        # scikit-learn would average over the classes that have an F1; with one class missing
        # that is no macro average, so it is None here.
        macro_f1=_defined(sum(f1) / 2),
        auroc=found[0],
        auprc=found[1],
    )


def _majority(truth: Sequence[Label]) -> Label:
    """Return the more frequent label; normal on a tie."""
    hates = sum(label == "hate" for label in truth)
    return "hate" if 2 * hates > len(truth) else "normal"


def _unread(true_label: Label, policy: Policy, majority: Label) -> Label | None:
    answers: dict[Policy, Label | None] = {
        "error": _opposite(true_label),
        "drop": None,
        "majority": majority,
    }
    return answers[policy]


def _opposite(label: Label) -> Label:
    return "normal" if label == "hate" else "hate"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
