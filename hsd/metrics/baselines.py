"""What needs no language model: always "hate", the majority, and TF-IDF with logistic regression.

A model that does not beat these has learned nothing that counting words would not give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hsd.example import LABELS, Label
from hsd.metrics.classification import Metrics, classify
from hsd.metrics.groups import Group, by_group
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import Interval
from hsd.prediction import Prediction

SEED = 42


@dataclass(frozen=True, slots=True)
class Training:
    """Posts and labels that a run was trained on, and where they come from."""

    texts: Sequence[str]
    labels: Sequence[Label]
    origin: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a classifier without a language model scores on the same posts."""

    name: str
    metrics: Metrics
    intervals: dict[str, Interval | None]
    groups: dict[str, Group]


def baselines(
    predictions: Sequence[Prediction],
    training: Training | None,
    made: Mapping[str, Sequence[Prediction]] | None = None,
) -> list[Baseline]:
    """Return always-hate, majority and, where training rows are known, TF-IDF; then those `made`.

    The majority is the training rows' where they are known and the judged posts' own otherwise,
    which favours the baseline; normal on a tie. `made` are baselines that answered before.
    """
    labels = training.labels if training else [p.true_label for p in predictions]
    majority: Label = "hate" if 2 * labels.count("hate") > len(labels) else "normal"
    where = "training rows" if training else "these posts"
    found = [
        _baseline("always hate", [_called(p, "hate") for p in predictions]),
        _baseline(f"majority of {where} ({majority})", [_called(p, majority) for p in predictions]),
    ]
    made = dict(made or {})
    if training and set(training.labels) == set(LABELS):
        name = f"TF-IDF + logistic regression ({len(training.texts)} training rows)"
        made.pop(name, None)  # it may have learned another file of as many rows
        found.append(_baseline(name, tfidf(predictions, training)))
    return found + [_baseline(name, list(rows)) for name, rows in made.items()]


def tfidf(predictions: Sequence[Prediction], training: Training) -> list[Prediction]:
    """Return what logistic regression on TF-IDF of words and word pairs says of the same posts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+"),
        LogisticRegression(max_iter=1000, random_state=SEED),
    )
    model.fit(list(training.texts), [label == "hate" for label in training.labels])
    scores = model.predict_proba([p.text for p in predictions])[:, 1]
    return called_by_score(predictions, scores.tolist())


def called_by_score(predictions: Sequence[Prediction], scores: Sequence[float]) -> list[Prediction]:
    """Return the same posts as a classifier without replies calls them, by P(hate)."""
    return [
        replace(_called(p, "hate" if score > 0.5 else "normal"), score=score)
        for p, score in zip(predictions, scores, strict=True)
    ]


def _called(prediction: Prediction, label: Label) -> Prediction:
    return replace(prediction, label=label, outcome="valid", score=None, reply="", rationale="")


def _baseline(name: str, rows: list[Prediction]) -> Baseline:
    return Baseline(name, classify(rows), headline_intervals(rows), by_group(rows))
