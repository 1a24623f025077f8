"""The true share of hate behind the share that was called hate: its estimate and its interval."""

import numpy as np
import pytest

from hsd.errors import EvaluationError
from hsd.example import Label
from hsd.metrics.true_share import KnownRates, known_rates, true_share
from hsd.prediction import Prediction


def rows(counts: dict[tuple[Label, Label | None], int], cluster: str = "") -> list[Prediction]:
    """Return posts by (true label, label)."""
    return [
        Prediction(
            id=f"{truth}-{label}-{n}",
            strategy="standard",
            text="a post",
            true_label=truth,
            label=label,
            outcome="valid" if label else "invalid",
            cluster=cluster and f"{cluster} {n // 10}",
        )
        for (truth, label), count in counts.items()
        for n in range(count)
    ]


def test_the_estimate_takes_false_alarms_out_and_puts_misses_in() -> None:
    """1,000 posts, 100 of them hate: .8 of those and .1 of the others are called hate."""
    found = true_share(80 + 90, 1000, KnownRates(0.8, 0.9, 500, 500))
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert found.interval.low < 0.1 < found.interval.high


def test_with_perfect_rates_of_endless_posts_the_share_is_the_share_that_was_called() -> None:
    found = true_share(250, 1000, KnownRates(1.0, 1.0, 1e9, 1e9))
    assert found is not None
    assert found.value == pytest.approx(0.25)
    # Agresti and Coull's interval of 250 in 1,000.
    assert found.interval.low == pytest.approx(0.2241, abs=5e-4)
    assert found.interval.high == pytest.approx(0.2778, abs=5e-4)


def test_fewer_labelled_posts_give_a_wider_interval() -> None:
    few, many = (true_share(300, 10_000, KnownRates(0.8, 0.99, n, n)) for n in (50, 5000))
    assert few is not None
    assert many is not None
    assert few.value == many.value
    assert few.interval.high - few.interval.low > 2 * (many.interval.high - many.interval.low)


@pytest.mark.parametrize(("called", "value"), [(0, 0.0), (10, 0.0), (1000, 1.0)])
def test_estimate_and_interval_stay_between_0_and_1(called: int, value: float) -> None:
    found = true_share(called, 1000, KnownRates(0.8, 0.9, 40, 40))
    assert found is not None
    assert found.value == value
    assert 0 <= found.interval.low <= value <= found.interval.high <= 1


def test_calls_that_are_no_better_than_chance_are_refused_in_words() -> None:
    with pytest.raises(EvaluationError, match="sensitivity 0.400 and specificity 0.600 add up to"):
        true_share(10, 100, KnownRates(0.4, 0.6, 50, 50))


def test_no_post_has_no_share() -> None:
    assert true_share(0, 0, KnownRates(0.8, 0.9, 50, 50)) is None


def test_a_reply_that_cannot_be_read_counts_against_both_rates() -> None:
    found = known_rates(
        rows({("hate", "hate"): 6, ("hate", None): 4, ("normal", "normal"): 9, ("normal", None): 1})
    )
    assert found == KnownRates(0.6, 0.9, 10.0, 10.0)


def test_rates_need_posts_of_both_labels() -> None:
    assert known_rates(rows({("hate", "hate"): 6, ("hate", "normal"): 4})) is None


def test_posts_that_share_a_template_tell_less_of_a_rate() -> None:
    counts: dict[tuple[Label, Label | None], int] = {
        ("hate", "hate"): 60, ("hate", "normal"): 40, ("normal", "normal"): 90,
        ("normal", "hate"): 10,
    }  # fmt: skip
    alone, clustered = known_rates(rows(counts)), known_rates(rows(counts, "template"))
    assert alone is not None
    assert clustered is not None
    assert clustered.sensitivity == alone.sensitivity
    assert clustered.n_hate < alone.n_hate == 100


@pytest.mark.parametrize(
    ("share", "sensitivity", "specificity", "labelled", "n"),
    [
        (0.02, 0.8, 0.97, 200, 2000),
        (0.10, 0.6, 0.90, 150, 500),
        (0.30, 0.9, 0.80, 80, 300),
        (0.50, 0.7, 0.70, 400, 20_000),
        (0.05, 0.75, 0.85, 1000, 100_000),
    ],
)
def test_the_interval_holds_the_true_share_in_19_of_20_samples(
    share: float, sensitivity: float, specificity: float, labelled: int, n: int
) -> None:
    """Labelled posts and posts without labels are drawn anew each time."""
    draws, rng = 2000, np.random.default_rng(7)
    hits = rng.binomial(labelled, sensitivity, draws) / labelled
    rejects = rng.binomial(labelled, specificity, draws) / labelled
    hates = rng.binomial(n, share, draws)
    called = rng.binomial(hates, sensitivity) + rng.binomial(n - hates, 1 - specificity)
    held = 0
    for hit, reject, calls in zip(hits, rejects, called, strict=True):
        found = true_share(int(calls), n, KnownRates(float(hit), float(reject), labelled, labelled))
        assert found is not None
        held += found.interval.low <= share <= found.interval.high
    assert 0.94 <= held / draws <= 0.99
