"""Where to cut the score: curves over thresholds, rules to choose one, and what it costs.

A post is called hate when its score is above the threshold. A threshold is chosen on validation
rows and then frozen; one chosen on the rows it is judged by is no result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hsd.counted import counted
from hsd.errors import ConfigError, EvaluationError
from hsd.example import NONE
from hsd.metrics.bootstrap import DRAWS, SEED, Design, bootstrap
from hsd.metrics.classification import calls
from hsd.metrics.groups import ALL, MINIMUM_N, by_group
from hsd.metrics.intervals import Interval
from hsd.metrics.ranking import Bools, Floats
from hsd.prediction import Prediction

GRID = 51  # thresholds of the curves in the report, from 0 to 1
POINTS = 120  # of a drawn curve
PREVALENCES = (0.01, 0.02, 0.05)
"""Share of hate on platforms; tests hold about half."""

RuleName = Literal["max_f1", "max_macro_f1", "max_f1_within_gap", "recall_at_precision"]
RULES: tuple[RuleName, ...] = (
    "max_f1",
    "max_macro_f1",
    "max_f1_within_gap",
    "recall_at_precision",
)


_LIMITED = {"max_f1_within_gap": "0.1", "recall_at_precision": "0.9"}
"""Rules that need a limit, and one that serves."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a threshold is chosen: the highest F1 of hate, or mean of both labels' F1; the first
    among thresholds where neither error rate differs by more than `limit` between groups; or most
    recall at a precision of `limit`.
    """

    name: RuleName
    limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that is missing, needless or no share."""
        such = _LIMITED.get(self.name)
        if such and self.limit is None:
            raise ConfigError(f"rule {self.name}: needs a limit; give one, such as --limit {such}.")
        if self.limit is not None and not such:
            with_one = " and ".join(_LIMITED)
            raise ConfigError(f"rule {self.name}: has no limit; {with_one} have one.")
        if self.limit is not None and not 0 < self.limit < 1:
            raise ConfigError(f"rule {self.name}: the limit {self.limit} is not between 0 and 1.")

    def __str__(self) -> str:
        """Return `max_f1_within_gap 0.1`."""
        return self.name if self.limit is None else f"{self.name} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and what it gave on the rows it was chosen on."""

    threshold: float
    f1: float
    precision: float | None
    recall: float
    largest_gap: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Error rates of some posts at each threshold of a grid, and their ROC and PR curves.

    None where not estimable. `roc` holds (false-positive rate, recall), `pr` (recall, precision).
    """

    n_hate: int
    n_normal: int
    thresholds: tuple[float, ...]
    false_positive_rate: tuple[float, ...] | None
    false_negative_rate: tuple[float, ...] | None
    roc: tuple[tuple[float, float], ...] | None
    pr: tuple[tuple[float, float], ...] | None


@dataclass(frozen=True, slots=True)
class AtPrevalence:
    """What the decisions would mean where `prevalence` of all posts are hateful.

    `flagged` and `missed` are posts in 1,000: the load of reviewers, and the hate they never see.
    """

    prevalence: float
    precision: float | None
    interval: Interval | None
    flagged: float
    missed: float


def apply_threshold(predictions: Sequence[Prediction], threshold: float) -> list[Prediction]:
    """Return the rows as called at a threshold. Raises EvaluationError without scores."""
    scores = _scores(predictions)
    called = ["hate" if score > threshold else "normal" for score in scores]
    return [
        replace(p, label=label, outcome="valid")  # type: ignore[arg-type]
        for p, label in zip(predictions, called, strict=True)
    ]


def choose_threshold(predictions: Sequence[Prediction], rule: Rule) -> Choice:
    """Return the threshold that a rule picks on these rows; of equals the nearest to .5.

    Raises EvaluationError without scores in all rows, without both labels, and when no threshold
    keeps the rule.
    """
    scores = _scores(predictions)
    hate = np.array([p.true_label == "hate" for p in predictions])
    if not hate.any() or hate.all():
        raise EvaluationError("a threshold is chosen on rows of both labels; these hold one.")
    distinct = np.unique(scores)
    below_all = np.nextafter(distinct[0], -1.0)
    cuts = np.concatenate([[below_all], (distinct[1:] + distinct[:-1]) / 2, [1.0]])
    fpr, fnr = rates_at(scores, hate, cuts)
    tp, fp = (1 - fnr) * hate.sum(), fpr * (~hate).sum()
    f1 = 2 * tp / (tp + fp + hate.sum())
    precision = np.divide(tp, tp + fp, out=np.full(len(cuts), np.nan), where=tp + fp > 0)
    gap = _gap_at(predictions, scores, hate, cuts)
    value, allowed = f1, np.ones(len(cuts), dtype=bool)
    if rule.name == "max_macro_f1":
        tn, fn = (1 - fpr) * (~hate).sum(), fnr * hate.sum()
        value = (f1 + 2 * tn / (tn + fn + (~hate).sum())) / 2
    elif rule.name == "max_f1_within_gap":
        if gap is None:
            raise EvaluationError(
                f"rule {rule}: no two groups have {MINIMUM_N} posts of each label; choose max_f1."
            )
        allowed = gap <= (rule.limit or 0.0) + 1e-12
    elif rule.name == "recall_at_precision":
        value = 1 - fnr
        allowed = np.nan_to_num(precision, nan=0.0) >= (rule.limit or 0.0)
    if not allowed.any():
        raise EvaluationError(f"rule {rule}: no threshold keeps it on these rows; ask for less.")
    order = np.lexsort((np.abs(cuts - 0.5), -value, ~allowed))
    best = int(order[0])
    return Choice(
        float(cuts[best]),
        float(f1[best]),
        None if np.isnan(precision[best]) else float(precision[best]),
        float(1 - fnr[best]),
        None if gap is None else float(gap[best]),
    )


def curves(predictions: Sequence[Prediction]) -> dict[str, Curve]:
    """Return error rates over thresholds for all posts and each group; {} without scores."""
    if not predictions or any(p.score is None for p in predictions):
        return {}
    names = [name for name in by_group(predictions) if name != NONE]
    parts = {name: [p for p in predictions if name in p.groups] for name in names}
    return {name: _curve(rows) for name, rows in {ALL: list(predictions), **parts}.items()}


def at_prevalence(
    predictions: Sequence[Prediction], prevalence: float, *, draws: int = DRAWS, seed: int = SEED
) -> AtPrevalence | None:
    """Return precision and load at a prevalence; None unless both labels have MINIMUM_N rows.

    A reply that cannot be read is wrong for its post, as in the headline: it flags a normal post
    and misses a hateful one, so that failing to answer never looks like precision.
    """
    hate = np.array([p.true_label == "hate" for p in predictions], dtype=bool)
    called = np.array([call == "hate" for call in calls(predictions)], dtype=bool)
    if min(hate.sum(), (~hate).sum()) < MINIMUM_N:
        return None

    def statistics(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            tpr = weights @ (hate & called) / (weights @ hate)
            fpr = weights @ (~hate & called) / (weights @ ~hate)
            right, wrong = prevalence * tpr, (1 - prevalence) * fpr
            return np.stack([right / (right + wrong), right + wrong, prevalence - right], axis=1)

    precision, flagged, missed = map(float, statistics(np.ones((1, len(hate))))[0])
    interval = bootstrap(statistics, Design.of(predictions), draws=draws, seed=seed)[0]
    known = None if np.isnan(precision) else precision
    return AtPrevalence(prevalence, known, interval, 1000 * flagged, 1000 * missed)


def rates_at(scores: Floats, hate: Bools, cuts: Floats) -> tuple[Floats, Floats]:
    """Return false-positive and false-negative rate at each cut; NaN without such a row."""
    with np.errstate(invalid="ignore"):
        above = 1 - np.searchsorted(np.sort(scores[~hate]), cuts, "right") / (~hate).sum()
        below = np.searchsorted(np.sort(scores[hate]), cuts, "right") / hate.sum()
    return above, below


def _gap_at(
    predictions: Sequence[Prediction], scores: Floats, hate: Bools, cuts: Floats
) -> Floats | None:
    """Return the larger of both rates' largest differences at each cut; None unless both have two
    groups.
    """
    found: Mapping[bool, list[Floats]] = {True: [], False: []}
    for name in by_group(predictions):
        inside = np.array([name in p.groups for p in predictions])
        fpr, fnr = rates_at(scores[inside], hate[inside], cuts)
        for label, rate in ((False, fpr), (True, fnr)):
            if name != NONE and (inside & (hate == label)).sum() >= MINIMUM_N:
                found[label].append(rate)
    if any(len(rates) < 2 for rates in found.values()):
        return None
    spans = [np.ptp(np.stack(rates), axis=0) for rates in found.values()]
    return np.asarray(np.maximum(*spans), dtype=np.float64)


def _curve(rows: Sequence[Prediction]) -> Curve:
    from sklearn.metrics import precision_recall_curve, roc_curve

    hate, scores = np.array([p.true_label == "hate" for p in rows]), _scores(rows)
    cuts = np.linspace(0, 1, GRID)
    fpr, fnr = rates_at(scores, hate, cuts)
    n_hate, n_normal = int(hate.sum()), int((~hate).sum())
    both = min(n_hate, n_normal) >= MINIMUM_N
    roc, pr = None, None
    if both:
        roc = _points(*roc_curve(hate, scores)[:2])
        precision, recall, _ = precision_recall_curve(hate, scores, drop_intermediate=True)
        pr = _points(recall[::-1], precision[::-1])
    return Curve(
        n_hate,
        n_normal,
        tuple(map(float, cuts)),
        tuple(map(float, fpr)) if n_normal >= MINIMUM_N else None,
        tuple(map(float, fnr)) if n_hate >= MINIMUM_N else None,
        roc,
        pr,
    )


def _points(x: Floats, y: Floats) -> tuple[tuple[float, float], ...]:
    """Return at most POINTS of a curve, both ends among them."""
    at = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int))
    return tuple(
        (round(float(a), 5), round(float(b), 5)) for a, b in zip(x[at], y[at], strict=True)
    )


def _scores(predictions: Sequence[Prediction]) -> Floats:
    found = [p.score for p in predictions if p.score is not None]
    if not found:
        raise EvaluationError(
            "a threshold needs P(hate) of every post; evaluate with --mode score."
        )
    if missing := len(predictions) - len(found):
        verb = "has" if missing == 1 else "have"
        raise EvaluationError(
            f"a threshold needs P(hate) of every post, and {missing:,} of "
            f"{counted(len(predictions), 'post')} {verb} none; choose it on an evaluation whose "
            "posts all have a score."
        )
    return np.array(found)
