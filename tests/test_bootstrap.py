import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from hsd.metrics import bootstrap
from hsd.metrics.bootstrap import Table, metric_intervals, percentiles, resample
from hsd.metrics.classification import METRIC_NAMES, calls, classify

ROWS = st.lists(
    st.tuples(st.sampled_from("hn"), st.sampled_from(["h", "n", "refusal"]), st.integers(0, 8)),
    min_size=4,
    max_size=40,
)


def made(rows: list[tuple[str, str, int]]) -> list:
    return predictions("\n".join(f"- {t} {c} {s / 8}" for t, c, s in rows))


def many(n: int = 200) -> list:
    """Half hateful; three in four called right; every score a little informative."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n):
        true = "hn"[index % 2]
        called = true if rng.random() < 0.75 else "nh"[index % 2]
        rows.append(f"- {true} {called} {0.5 + (0.2 if true == 'h' else -0.2) * rng.random():.3f}")
    return predictions("\n".join(rows))


def test_every_draw_keeps_the_size_of_each_stratum() -> None:
    strata = np.array([True] * 7 + [False] * 3)
    weights = np.concatenate(list(resample(strata, draws=50, seed=1)))
    assert weights.shape == (50, 10)
    assert (weights[:, strata].sum(axis=1) == 7).all()
    assert (weights[:, ~strata].sum(axis=1) == 3).all()
    assert weights.std() > 0


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    strata = np.zeros(30)
    first, again, other = (next(resample(strata, 5, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_draws_that_do_not_fit_into_memory_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 40)
    parts = list(resample(np.zeros(10), draws=10, seed=1))
    assert [len(part) for part in parts] == [4, 4, 2]


@given(ROWS)
def test_weights_of_one_give_the_metrics_themselves(rows: list) -> None:
    table = made(rows)
    values = Table.of(table).metrics(np.ones((1, len(table))))[0]
    found = classify(table)
    for name, value in zip(METRIC_NAMES, values, strict=True):
        expected = getattr(found, name)
        assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)


def test_weighted_metrics_agree_with_scikit_learn_to_1e_12() -> None:
    rows = many()
    weights = next(resample(np.array([p.true_label == "hate" for p in rows]), 3, seed=5))
    truth = [p.true_label == "hate" for p in rows]
    called = [call == "hate" for call in calls(rows)]
    scores = [p.score for p in rows]
    values = dict(zip(METRIC_NAMES, Table.of(rows).metrics(weights).T, strict=True))
    for draw, weight in enumerate(weights):
        for name, expected in {
            "precision": precision_score(truth, called, sample_weight=weight),
            "recall": recall_score(truth, called, sample_weight=weight),
            "f1": f1_score(truth, called, sample_weight=weight),
            "macro_f1": f1_score(truth, called, sample_weight=weight, average="macro"),
            "auroc": roc_auc_score(truth, scores, sample_weight=weight),
        }.items():
            assert values[name][draw] == pytest.approx(expected, abs=1e-12)


def test_the_interval_holds_the_value_and_narrows_with_rows() -> None:
    few, lots = many(100), many(1600)
    narrow, wide = metric_intervals(lots)["f1"], metric_intervals(few)["f1"]
    assert narrow is not None
    assert wide is not None
    assert wide.low < classify(few).f1 < wide.high
    # Sixteen times the rows, a quarter of the width.
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(1 / 4, rel=0.35)


def test_the_interval_of_a_rate_is_near_the_normal_one() -> None:
    rows = many(400)
    found, accuracy = metric_intervals(rows)["accuracy"], classify(rows).accuracy
    half = 1.96 * (accuracy * (1 - accuracy) / 400) ** 0.5
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_a_metric_that_most_draws_do_not_define_has_no_interval() -> None:
    assert percentiles(np.array([0.5] * 80 + [np.nan] * 20)) is None
    assert percentiles(np.array([0.5] * 99 + [np.nan])) is not None
    assert metric_intervals(predictions("- n n\n- n n"))["f1"] is None
    assert metric_intervals(predictions("- n n\n- h n"))["auroc"] is None
