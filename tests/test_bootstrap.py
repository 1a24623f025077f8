from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from present import present
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from hsd.metrics import bootstrap
from hsd.metrics.bootstrap import (
    Design,
    PredictionArrays,
    bca,
    bca_ends,
    drawn,
    metric_intervals,
    percentiles,
)
from hsd.metrics.classification import METRIC_NAMES, calls, classify
from hsd.prediction import Prediction

ROWS = st.lists(
    st.tuples(st.sampled_from("hn"), st.sampled_from(["h", "n", "refusal"]), st.integers(0, 8)),
    min_size=4,
    max_size=40,
)


def made(rows: list[tuple[str, str, int]]) -> list[Prediction]:
    return predictions("\n".join(f"- {t} {c} {s / 8}" for t, c, s in rows))


def many(n: int = 200) -> list[Prediction]:
    """Half hateful; three in four called right; every score a little informative."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n):
        true = "hn"[index % 2]
        called = true if rng.random() < 0.75 else "nh"[index % 2]
        rows.append(f"- {true} {called} {0.5 + (0.2 if true == 'h' else -0.2) * rng.random():.3f}")
    return predictions("\n".join(rows))


def design(strata: list[int]) -> Design:
    return Design(np.arange(len(strata)), np.array(strata))


def weights_of(one: Design, draws: int, seed: int) -> np.ndarray:
    return drawn(lambda weights: weights, one, draws, seed)


def test_every_draw_keeps_the_size_of_each_stratum() -> None:
    weights = weights_of(design([1] * 7 + [0] * 3), draws=50, seed=1)
    assert weights.shape == (50, 10)
    assert (weights[:, :7].sum(axis=1) == 7).all()
    assert (weights[:, 7:].sum(axis=1) == 3).all()
    assert weights.std() > 0


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    one = design([0] * 30)
    first, again, other = (weights_of(one, 5, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_draws_come_in_parts_of_any_size_and_on_any_number_of_threads_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = weights_of(design([0] * 10), draws=40, seed=1)
    sizes: list[int] = []

    def seen(weights: np.ndarray) -> np.ndarray:
        sizes.append(len(weights))
        return weights

    monkeypatch.setattr(bootstrap, "HOT_CELLS", 30)
    assert (drawn(seen, design([0] * 10), 40, 1) == whole).all()
    assert sorted(sizes) == [1, *[3] * 13]
    monkeypatch.setattr(bootstrap, "MOST_THREADS", 1)
    assert (weights_of(design([0] * 10), draws=40, seed=1) == whole).all()


def test_a_unit_that_came_up_more_often_than_a_byte_holds_counts_as_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def often(rng: object, draws: int, rows: int) -> np.ndarray:
        return np.tile([300, *[0] * (rows - 1)], (draws, 1))

    monkeypatch.setattr(bootstrap, "_weights", often)
    assert weights_of(design([0] * 300), draws=2, seed=77)[0, 0] == 300


@given(ROWS)
def test_weights_of_one_give_the_metrics_themselves(rows: list[tuple[str, str, int]]) -> None:
    table = made(rows)
    values = PredictionArrays.of(table).metrics(np.ones((1, len(table))))[0]
    found = classify(table)
    for name, value in zip(METRIC_NAMES, values, strict=True):
        expected = getattr(found, name)
        assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)


def test_weighted_metrics_agree_with_scikit_learn_to_1e_12() -> None:
    rows = many()
    weights = weights_of(Design.of(rows), 3, seed=5)
    truth = [p.true_label == "hate" for p in rows]
    called = [call == "hate" for call in calls(rows)]
    scores = [p.score for p in rows]
    values = dict(zip(METRIC_NAMES, PredictionArrays.of(rows).metrics(weights).T, strict=True))
    for draw, weight in enumerate(weights):
        for name, expected in {
            "precision": precision_score(truth, called, sample_weight=weight),
            "recall": recall_score(truth, called, sample_weight=weight),
            "f1": f1_score(truth, called, sample_weight=weight),
            "macro_f1": f1_score(truth, called, sample_weight=weight, average="macro"),
            "auroc": roc_auc_score(truth, scores, sample_weight=weight),
            "auprc": average_precision_score(truth, scores, sample_weight=weight),
        }.items():
            assert values[name][draw] == pytest.approx(expected, abs=1e-12)


def test_the_interval_holds_the_value_and_narrows_with_rows() -> None:
    few, lots = many(100), many(1600)
    narrow, wide = metric_intervals(lots)["f1"], metric_intervals(few)["f1"]
    assert narrow is not None
    assert wide is not None
    assert wide.low < present(classify(few).f1) < wide.high
    # Sixteen times the rows, a quarter of the width.
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(1 / 4, rel=0.35)


def test_the_interval_of_a_rate_is_near_the_normal_one() -> None:
    rows = many(400)
    found, accuracy = metric_intervals(rows)["accuracy"], present(classify(rows).accuracy)
    half = 1.96 * (accuracy * (1 - accuracy) / 400) ** 0.5
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_a_metric_that_most_draws_do_not_define_has_no_interval() -> None:
    assert percentiles(np.array([0.5] * 80 + [np.nan] * 20)) is None
    assert percentiles(np.array([0.5, 0.6] * 49 + [np.nan])) is not None
    assert metric_intervals(predictions("- n n\n- n n"))["f1"] is None
    assert metric_intervals(predictions("- n n\n- h n"))["auroc"] is None


@pytest.mark.parametrize("point", [0.4, 0.1])
def test_a_value_beyond_every_draw_has_the_interval_of_the_draws_without_a_warning(
    point: float,
) -> None:
    draws = np.array([0.2, 0.3, 0.3, 0.35])
    assert bca_ends(draws, point, 0.02) == percentiles(draws)


def test_strata_are_groups_and_label_and_small_ones_join_their_label() -> None:
    rows = predictions("\n".join(["lgbtq h h"] * 6 + ["lgbtq n n"] * 6 + ["mexican h h"] * 2))
    weights = weights_of(Design.of(rows), 40, seed=1)
    assert (weights[:, :6].sum(axis=1) == 6).all()
    assert (weights[:, 6:12].sum(axis=1) == 6).all()
    assert (weights[:, 12:].sum(axis=1) == 2).all()
    tiny = Design.of(predictions("\n".join(["lgbtq h h", "mexican h h", "- h h", "- n n"])))
    assert tiny.stratum.tolist() == [0, 0, 0, 1]


def test_rows_of_one_template_are_drawn_together() -> None:
    rows = [replace(p, cluster=f"template {n % 3}") for n, p in enumerate(many(60))]
    weights = weights_of(Design.of(rows), 20, seed=1)
    for template in range(3):
        assert (weights[:, template::3] == weights[:, [template]]).all()


def test_copies_of_rows_in_clusters_make_no_interval_narrower() -> None:
    rows = [replace(p, cluster=p.id) for p in many(60)]
    copies = [replace(p, id=f"{p.id}/{n}") for p in rows for n in range(4)]
    alone = present(metric_intervals(rows)["f1"])
    copied = present(metric_intervals(copies)["f1"])
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    free = present(metric_intervals([replace(p, cluster="") for p in copies])["f1"])
    assert free.high - free.low < 0.7 * (alone.high - alone.low)


@pytest.mark.parametrize("strata", [[0] * 60, [0] * 25 + [1] * 35])
def test_bca_is_scipys_on_the_same_draws_to_1e_12(strata: list[int]) -> None:
    values = np.random.default_rng(3).lognormal(size=60)
    mean = lambda weights: ((weights @ values) / weights.sum(axis=1))[:, None]  # noqa: E731
    made = design(strata)
    ours = present(bca(mean, made)[0])
    distribution = drawn(mean, made, bootstrap.DRAWS, bootstrap.SEED)[:, 0]
    theirs = stats.bootstrap(
        [values[np.array(strata) == s] for s in sorted(set(strata))],
        lambda *samples, axis: (
            np.concatenate(np.broadcast_arrays(*samples), axis).mean(axis)
            if len(samples) == 1
            else sum(s.sum(axis) for s in samples) / sum(s.shape[axis] for s in samples)
        ),
        n_resamples=0,
        method="BCa",
        bootstrap_result=stats._resampling.BootstrapResult(None, distribution, None),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours != percentiles(distribution)


def test_a_perfect_score_is_no_certain_one() -> None:
    perfect = predictions("\n".join(["lgbtq h h .9\nlgbtq n n .1"] * 8))
    assert set(metric_intervals(perfect).values()) == {None}
