from dataclasses import replace

import numpy as np
import pytest
from posts import predictions
from present import present
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from hsd.metrics.calibration import (
    at_temperature,
    calibration,
    calibration_by_group,
    fit_temperature,
)
from hsd.prediction import Prediction


def scored(scores: np.ndarray, hate: np.ndarray) -> list[Prediction]:
    rows = predictions("\n".join(f"lgbtq {'h' if h else 'n'} h" for h in hate))
    return [replace(p, score=float(s)) for p, s in zip(rows, scores, strict=True)]


def drawn(n: int = 400, *, sharper: float = 1.0) -> list[Prediction]:
    """Scores that are right about the odds; `sharper` multiplies their logits."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, n)
    hate = rng.random(n) < 1 / (1 + np.exp(-logits))
    return scored(1 / (1 + np.exp(-sharper * logits)), hate)


def test_ece_and_brier_are_hand_computed() -> None:
    rows = scored(np.array([0.95] * 10 + [0.15] * 10), np.array([1] * 8 + [0] * 2 + [1] + [0] * 9))
    found = present(calibration(rows))
    assert found.ece == pytest.approx((0.15 * 10 + 0.05 * 10) / 20)
    assert found.brier == pytest.approx((8 * 0.0025 + 2 * 0.9025 + 0.7225 + 9 * 0.0225) / 20)
    assert [(b.n, b.share_hate) for b in found.bins] == [(10, 0.1), (10, 0.8)]


def test_bins_and_brier_agree_with_scikit_learn_to_1e_12() -> None:
    rows = drawn()
    hate, scores = [p.true_label == "hate" for p in rows], [p.score for p in rows]
    share, mean = calibration_curve(hate, scores, n_bins=10)
    found = present(calibration(rows))
    assert [b.share_hate for b in found.bins] == pytest.approx(list(share), abs=1e-12)
    assert [b.mean_score for b in found.bins] == pytest.approx(list(mean), abs=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(hate, scores), abs=1e-12)
    assert sum(b.n for b in found.bins) == len(rows)
    interval = present(found.brier_interval)
    assert interval.low < found.brier < interval.high


def test_an_ece_that_chance_explains_has_an_interval_from_0() -> None:
    right, sharp = (present(calibration(drawn(300, sharper=by))) for by in (1, 4))
    chance, real = present(right.ece_interval), present(sharp.ece_interval)
    assert right.ece_p > 0.05
    assert chance.low == 0.0 < right.ece <= chance.high
    assert sharp.ece_p < 0.01
    assert 0.05 < real.low < sharp.ece < real.high


def test_a_score_of_one_falls_into_the_last_bin() -> None:
    assert present(calibration(scored(np.ones(20), np.ones(20)))).bins[-1].n == 20


def test_few_rows_or_rows_without_scores_have_no_calibration() -> None:
    assert calibration(drawn(19)) is None
    assert calibration([*drawn(40), replace(drawn(1)[0], score=None)]) is None
    assert calibration_by_group(drawn(19)) == {}
    assert calibration_by_group(drawn(40)).keys() == {"lgbtq"}


def test_the_temperature_of_an_overconfident_model_is_found() -> None:
    assert fit_temperature(drawn(4000)) == pytest.approx(1, abs=0.1)
    assert fit_temperature(drawn(4000, sharper=3)) == pytest.approx(3, abs=0.25)


def test_scaling_changes_no_rank_and_mends_what_it_was_fitted_on() -> None:
    rows = drawn(1000, sharper=4)
    cool = at_temperature(rows, fit_temperature(rows))
    ranks = [
        np.argsort([present(p.score) for p in part], kind="stable").tolist()
        for part in (rows, cool)
    ]
    assert ranks[0] == ranks[1]
    assert present(calibration(cool)).ece < present(calibration(rows)).ece / 2
    assert at_temperature(rows, 1.0)[3].score == pytest.approx(rows[3].score)


def test_scores_of_exactly_0_and_1_have_a_temperature() -> None:
    rows = scored(np.array([0.0, 1.0] * 10), np.array([0, 1] * 9 + [1, 0]))
    assert np.isfinite(fit_temperature(rows))
    assert all(np.isfinite(present(p.score)) for p in at_temperature(rows, 2.0))
