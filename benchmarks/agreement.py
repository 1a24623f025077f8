"""`python -m benchmarks.agreement RUN BASE_RUN`: hsd's numbers of a run beside the libraries'.

Each quantity is computed again from the run's predictions by scikit-learn, fairlearn, statsmodels
or scipy, as their documentation has it and without hsd's code; printed is how far both lie apart.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hsd.example import NONE
from hsd.metrics.calibration import calibration
from hsd.metrics.comparison import Comparison, compare
from hsd.metrics.evaluation import Evaluation, summarize
from hsd.metrics.intervals import Interval
from hsd.prediction import Prediction
from hsd.report.predictions import load_run

Pairs = Iterator[tuple[str, float | None, float]]


def differences(run: Sequence[Prediction], base: Sequence[Prediction]) -> dict[str, float]:
    """Return how far each quantity of ours is from theirs, by the library's name and its own.

    Both runs need a score and a readable reply in every row: the libraries know no others.
    """
    evaluation, compared = summarize(run), compare(base, run)
    pairs = [
        *_headline(run, evaluation),
        *_groups(run, evaluation),
        *_areas(run, evaluation),
        *_changes(run, base, compared),
    ]
    return {n: math.inf if ours is None else abs(ours - theirs) for n, ours, theirs in pairs}


def _called(rows: Sequence[Prediction]) -> tuple[list[bool], list[bool], list[float]]:
    truth = [p.true_label == "hate" for p in rows]
    return truth, [p.label == "hate" for p in rows], [p.score or 0.0 for p in rows]


def _headline(run: Sequence[Prediction], evaluation: Evaluation) -> Pairs:
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    truth, called, scores = _called(run)
    theirs = {
        "accuracy": metrics.accuracy_score(truth, called),
        "precision": metrics.precision_score(truth, called),
        "recall": metrics.recall_score(truth, called),
        "f1": metrics.f1_score(truth, called),
        "macro_f1": metrics.f1_score(truth, called, average="macro"),
        "auroc": metrics.roc_auc_score(truth, scores),
        "auprc": metrics.average_precision_score(truth, scores),
    }
    for name, value in theirs.items():
        yield f"scikit-learn {name}", getattr(evaluation.headline, name), value
    found = calibration(run)
    if found:
        yield "scikit-learn Brier", found.brier, metrics.brier_score_loss(truth, scores)
        shares, means = calibration_curve(truth, scores, n_bins=10)
        for bin_, share, mean in zip(found.bins, shares, means, strict=True):
            yield f"scikit-learn reliability at {bin_.low:.1f}", bin_.share_hate, share
            yield f"scikit-learn mean score at {bin_.low:.1f}", bin_.mean_score, mean
    yield from _interval("accuracy", evaluation.intervals["accuracy"], called, truth)


def _interval(
    name: str, ours: Interval | None, called: Sequence[bool], truth: Sequence[bool]
) -> Pairs:
    from scipy.stats import binomtest

    hits = sum(c == t for c, t in zip(called, truth, strict=True))
    theirs = binomtest(hits, len(truth)).proportion_ci(method="wilson")
    if ours:
        yield f"scipy Wilson of {name}, low", ours.low, float(theirs.low)
        yield f"scipy Wilson of {name}, high", ours.high, float(theirs.high)


def _groups(run: Sequence[Prediction], evaluation: Evaluation) -> Pairs:
    """Compare rates and gaps; a post about two groups is two rows to fairlearn."""
    from fairlearn import metrics as fair
    from scipy.stats import binomtest
    from sklearn.metrics import precision_score

    rows = [(p, group) for p in run for group in p.groups]
    groups = [group for _, group in rows]
    truth, called, _ = _called([p for p, _ in rows])
    functions = {
        "false_positive_rate": fair.false_positive_rate,
        "false_negative_rate": fair.false_negative_rate,
        "selection_rate": fair.selection_rate,
        "precision": precision_score,
    }
    frame = fair.MetricFrame(
        metrics=functions, y_true=truth, y_pred=called, sensitive_features=groups
    )
    for group in sorted(set(groups)):
        for name in functions:
            share = evaluation.groups[group].share(name)  # type: ignore[arg-type]
            yield f"fairlearn {name} of {group}", share.value, float(frame.by_group[name][group])
            wilson = binomtest(share.hits, share.n).proportion_ci(method="wilson")
            if share.interval:
                yield f"scipy Wilson {name} of {group}", share.interval.high, float(wilson.high)
    by = {"sensitive_features": groups}
    theirs = {
        "equalised_odds": fair.equalized_odds_difference(truth, called, **by),
        "equal_opportunity": fair.equal_opportunity_difference(truth, called, **by),
    }
    for name, value in theirs.items():
        gap = evaluation.gaps.raw.gaps[name]  # type: ignore[index]
        yield f"fairlearn {name} difference", gap.value, value


def _areas(run: Sequence[Prediction], evaluation: Evaluation) -> Pairs:
    """Compare the AUCs of Borkan et al. (2019), from their definitions by roc_auc_score."""
    from sklearn.metrics import roc_auc_score

    def area(kept: Sequence[Prediction]) -> float:
        truth, _, scores = _called(kept)
        return float(roc_auc_score(truth, scores))

    found = evaluation.bias.groups if evaluation.bias else {}
    for group in [name for name in evaluation.groups if name != NONE]:
        inside = [p for p in run if group in p.groups]
        others = [p for p in run if group not in p.groups]
        kept: Mapping[str, list[Prediction]] = {
            "subgroup": inside,
            "bpsn": [*_of(inside, "normal"), *_of(others, "hate")],
            "bnsp": [*_of(inside, "hate"), *_of(others, "normal")],
        }
        for kind, rows in kept.items():
            ours: Any = found[group][kind]  # type: ignore[index]
            yield f"scikit-learn {kind} AUC of {group}", ours.value, area(rows)


def _of(rows: Sequence[Prediction], label: str) -> list[Prediction]:
    return [p for p in rows if p.true_label == label]


def _changes(run: Sequence[Prediction], base: Sequence[Prediction], compared: Comparison) -> Pairs:
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

    before = {p.id: p.label == p.true_label for p in base}

    def p_value(rows: Sequence[Prediction]) -> float:
        broken = sum(before[p.id] and p.label != p.true_label for p in rows)
        fixed = sum(not before[p.id] and p.label == p.true_label for p in rows)
        return float(mcnemar([[0, broken], [fixed, 0]], exact=True).pvalue)

    yield "statsmodels exact McNemar of all", compared.p_value, p_value(run)
    each = [c for c in compared.rates if c.holm_p is not None]
    alone = []
    for change in each:
        label = "normal" if change.rate == "false_positive_rate" else "hate"
        rows = [p for p in _of(run, label) if change.group in (p.groups or (NONE,))]
        alone.append(p_value(rows))
        yield (
            f"statsmodels exact McNemar of {change.group} {change.rate}",
            change.p_value,
            alone[-1],
        )
    for change, adjusted in zip(each, multipletests(alone, method="holm")[1], strict=True):
        yield f"statsmodels Holm of {change.group} {change.rate}", change.holm_p, float(adjusted)


def main() -> int:
    """Print every difference, the largest last."""
    if len(sys.argv) != 3:
        print("usage: python -m benchmarks.agreement RUN BASE_RUN", file=sys.stderr)
        return 2
    run, base = (load_run(Path(folder)).predictions for folder in sys.argv[1:])
    found = differences(run, base)
    for name, apart in sorted(found.items(), key=lambda one: one[1]):
        print(f"{apart:.1e}  {name}")
    largest = max(found.values())
    print(f"{len(found)} quantities on {len(run)} rows; largest difference {largest:.1e}")
    return 0 if largest < 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main())
