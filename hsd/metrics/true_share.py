"""The true share of hate behind the share that was called hate, from the known error rates.

A share of calls is no share of hate: false alarms add to it and misses take from it, and where hate
is rare most calls may be false alarms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from hsd.errors import EvaluationError
from hsd.metrics.classification import calls
from hsd.metrics.clusters import design_effect, units
from hsd.metrics.intervals import LEVEL, Interval
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class KnownRates:
    """Sensitivity and specificity as an evaluation found them.

    `n_hate` and `n_normal` are how many independent posts tell of each; clustered posts count as
    fewer, so they may be no whole numbers.
    """

    sensitivity: float
    specificity: float
    n_hate: float
    n_normal: float

    @property
    def problem(self) -> str | None:
        """Why no share can be corrected with these rates, None where one can."""
        if self.sensitivity + self.specificity > 1:
            return None
        return (
            f"sensitivity {self.sensitivity:.3f} and specificity {self.specificity:.3f} add up to "
            "1 or less, so calls say nothing of which posts are hateful"
        )


@dataclass(frozen=True, slots=True)
class TrueShare:
    """The estimated share of hate in posts without labels, in [0, 1]."""

    value: float
    interval: Interval


def known_rates(predictions: Sequence[Prediction]) -> KnownRates | None:
    """Return the error rates of predictions on labelled posts; None unless both labels occur.

    A reply that cannot be read is wrong for its post, as in the headline.
    """
    called = calls(predictions)
    rates = {}
    for label in ("hate", "normal"):
        rows = [(p, c) for p, c in zip(predictions, called, strict=True) if p.true_label == label]
        if not rows:
            return None
        right = [float(call == label) for _, call in rows]
        effect = design_effect(right, units([p for p, _ in rows]))
        rates[label] = (sum(right) / len(rows), len(rows) / effect)
    (sensitivity, n_hate), (specificity, n_normal) = rates["hate"], rates["normal"]
    return KnownRates(sensitivity, specificity, n_hate, n_normal)


def true_share(called_hate: int, n: int, rates: KnownRates) -> TrueShare | None:
    """Return the share of hate in `n` posts of which `called_hate` were called hate.

    The estimate is that of Rogan and Gladen (1978, American Journal of Epidemiology 107, 71-76):
    (p + specificity - 1) / (sensitivity + specificity - 1), where p is the share that was called
    hate. The 95 % interval is that of Lang and Reiczigel (2014, Preventive Veterinary Medicine 113,
    13-22), which knows that all three are estimates: p as by Agresti and Coull, with z^2 posts
    more, and each rate with one hit and one miss more; then a normal interval by the delta method
    whose middle is moved by 2 z^2 (t se (1 - se) / n_se - (1 - t) sp (1 - sp) / n_sp). Estimate and
    interval are cut to [0, 1]. None without a post.

    It takes the rates to hold for these posts. Raises EvaluationError where sensitivity and
    specificity add up to 1 or less.
    """
    if rates.problem:
        raise EvaluationError(f"the share of hate cannot be corrected: {rates.problem}.")
    if n == 0:
        return None
    share = called_hate / n
    power = rates.sensitivity + rates.specificity - 1
    value = (share + rates.specificity - 1) / power
    return TrueShare(_cut(value), _lang_reiczigel(share, n, rates))


def _lang_reiczigel(share: float, n: float, rates: KnownRates) -> Interval:
    from scipy.special import ndtri

    z2 = float(ndtri((1 + LEVEL) / 2)) ** 2
    p, n_p = (n * share + z2 / 2) / (n + z2), n + z2
    se, n_se = _one_more_of_each(rates.sensitivity, rates.n_hate)
    sp, n_sp = _one_more_of_each(rates.specificity, rates.n_normal)
    power = se + sp - 1
    if power <= 0:  # a handful of labelled posts: anything is possible
        return Interval(0.0, 1.0)
    value = (p + sp - 1) / power
    of_se, of_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    middle = value + 2 * z2 * (value * of_se - (1 - value) * of_sp)
    variance = p * (1 - p) / n_p + value**2 * of_se + (1 - value) ** 2 * of_sp
    half = sqrt(z2 * variance) / power
    return Interval(_cut(middle - half), _cut(middle + half))


def _one_more_of_each(rate: float, n: float) -> tuple[float, float]:
    """Return a rate, and of how many posts, with one hit and one miss more."""
    return (n * rate + 1) / (n + 2), n + 2


def _cut(value: float) -> float:
    return min(1.0, max(0.0, value))
