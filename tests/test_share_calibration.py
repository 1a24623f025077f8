"""Scores against the share of annotators who said hate, beside the label, of the same posts."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from posts import predictions
from present import present
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import brier_score_loss, log_loss
from test_report_page import SCHEMA, page, words

from hsd.metrics.calibration import calibration
from hsd.metrics.evaluation import summarize
from hsd.metrics.share_calibration import share_calibration
from hsd.prediction import Prediction
from hsd.report.evaluation_files import write_evaluation
from hsd.report.predictions import append_predictions, read_predictions
from hsd.report.report_model import EvaluationReport

STAMP = "20260102_030405"


def voted(scores: Sequence[float], shares: Sequence[float | None]) -> list[Prediction]:
    """Return posts with these scores; the label is the side that the share is on."""
    labels = ["n" if share is None or share <= 0.5 else "h" for share in shares]
    rows = predictions("\n".join(f"lgbtq {label} h" for label in labels))
    return [
        replace(p, score=float(score), hate_share=share)
        for p, score, share in zip(rows, scores, shares, strict=True)
    ]


def drawn(n: int = 300) -> list[Prediction]:
    """Return posts of three votes each, whose scores are what the votes were drawn by."""
    rng = np.random.default_rng(3)
    scores = rng.beta(0.7, 0.7, n)
    return voted(scores.tolist(), (rng.binomial(3, scores) / 3).tolist())


def test_numbers_against_shares_are_hand_computed() -> None:
    found = share_calibration(voted([0.75] * 10 + [0.15] * 10, [1.0] * 5 + [0.6] * 5 + [0.1] * 10))
    assert found is not None
    assert (found.n, found.disputed) == (20, 15)
    ours = found.against_share
    assert ours.ece == pytest.approx((10 * abs(0.75 - 0.8) + 10 * 0.05) / 20)
    assert ours.brier == pytest.approx((5 * 0.25**2 + 5 * 0.15**2 + 10 * 0.05**2) / 20)
    logs = [np.log(0.75), 0.6 * np.log(0.75) + 0.4 * np.log(0.25)]
    logs = [*logs, 0.1 * np.log(0.15) + 0.9 * np.log(0.85)]
    assert ours.log_loss == pytest.approx(-(5 * logs[0] + 5 * logs[1] + 10 * logs[2]) / 20)


def test_numbers_against_labels_are_those_of_scikit_learn_and_of_calibration() -> None:
    rows = drawn()
    hate, scores = [p.true_label == "hate" for p in rows], [p.score for p in rows]
    found, whole = present(share_calibration(rows)), present(calibration(rows))
    label = found.against_label
    assert label.brier == pytest.approx(brier_score_loss(hate, scores), abs=1e-12)
    assert label.log_loss == pytest.approx(log_loss(hate, scores), abs=1e-12)
    assert (label.ece, label.brier) == pytest.approx((whole.ece, whole.brier))
    low = present(whole.brier_interval).low
    assert present(label.brier_interval).low == pytest.approx(low)


def test_the_least_log_loss_is_the_entropy_of_the_shares_and_scores_that_are_shares_have_it() -> (
    None
):
    shares = [present(p.hate_share) for p in drawn()]
    exact, other = (present(share_calibration(rows)) for rows in (voted(shares, shares), drawn()))
    each = [scipy_entropy([share, 1 - share]) for share in shares]
    assert exact.least_log_loss == pytest.approx(np.mean(each))
    assert exact.against_share.log_loss == pytest.approx(exact.least_log_loss)
    assert exact.against_share.ece == exact.against_share.brier == 0
    assert other.against_share.log_loss > other.least_log_loss == exact.least_log_loss


def test_where_all_annotators_agree_share_and_label_say_the_same() -> None:
    found = share_calibration(voted([0.2, 0.9] * 15, [0.0, 1.0] * 15))
    assert found is not None
    assert found.against_share == found.against_label
    assert (found.disputed, found.least_log_loss) == (0, 0)


def test_a_label_drawn_among_the_votes_adds_what_no_score_can_avoid_to_the_brier_score() -> None:
    rows = drawn(40)
    each = [
        present(share_calibration([replace(p, hate_share=end) for p in rows])).against_share.brier
        for end in (0.0, 1.0)
    ]
    shares = np.array([p.hate_share for p in rows])
    scores = np.array([p.score for p in rows])
    expected = (shares * (1 - scores) ** 2 + (1 - shares) * scores**2).mean()
    found = present(share_calibration(rows)).against_share.brier
    assert expected == pytest.approx(found + (shares * (1 - shares)).mean())
    assert each == [pytest.approx((scores**2).mean()), pytest.approx(((1 - scores) ** 2).mean())]


def test_scores_that_are_the_votes_own_chance_are_nearer_to_shares_than_to_labels() -> None:
    found = present(share_calibration(drawn()))
    assert found.against_share.ece < found.against_label.ece
    for one in (found.against_share, found.against_label):
        brier, loss = present(one.brier_interval), present(one.log_loss_interval)
        assert brier.low < one.brier < brier.high
        assert loss.low < one.log_loss < loss.high


def test_posts_without_a_share_are_not_judged_by_one() -> None:
    rows = drawn(30)
    bare = [replace(p, id=f"b{p.id}", hate_share=None, score=0.99) for p in rows]
    assert share_calibration([*rows, *bare]) == share_calibration(rows)


def test_few_shares_or_shares_without_scores_are_not_judged() -> None:
    assert share_calibration(drawn(19)) is None
    assert share_calibration([replace(p, hate_share=None) for p in drawn(40)]) is None
    assert share_calibration([*drawn(40), replace(drawn(1)[0], score=None)]) is None


def test_scores_of_0_and_1_have_a_finite_log_loss() -> None:
    found = present(share_calibration(voted([0.0, 1.0] * 10, [1.0, 0.0] * 10)))
    assert np.isfinite(found.against_share.log_loss)


def test_shares_change_no_other_number_of_an_evaluation() -> None:
    rows = drawn(60)
    bare = [replace(p, hate_share=None) for p in rows]
    found, plain = summarize(rows), summarize(bare)
    assert found.share_calibration is not None
    assert replace(found, share_calibration=None, confident_errors={}) == replace(
        plain, confident_errors={}
    )


# Where it is written


def test_predictions_of_before_there_were_shares_stay_readable(tmp_path: Path) -> None:
    (row,) = drawn(1)
    older = {k: v for k, v in asdict(row).items() if k != "hate_share"}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(older) + "\n")
    assert read_predictions(tmp_path / "predictions.jsonl") == [replace(row, hate_share=None)]


def test_a_share_is_written_with_its_prediction_and_reads_back(tmp_path: Path) -> None:
    rows = voted([0.1, 0.5, 0.9], [0.0, None, 2 / 3])
    append_predictions(tmp_path / "p.jsonl", rows)
    assert read_predictions(tmp_path / "p.jsonl") == rows


def written(folder: Path, rows: list[Prediction]) -> tuple[EvaluationReport, str]:
    numbers = write_evaluation(folder, rows, {}, STAMP)
    jsonschema.validate(json.loads((folder / "report.json").read_text()), SCHEMA)
    return numbers, (folder / f"evaluation_report_{STAMP}.txt").read_text()


def test_every_report_has_both_calibrations_where_there_are_shares(tmp_path: Path) -> None:
    rows = drawn(60)
    numbers, report = written(tmp_path, rows)
    found = present(numbers.calibration_against_share)
    assert found.n == 60
    for said in (" ".join(report.split()), words(page(rows))):
        assert f"Of the 60 posts with a share of votes; on {found.disputed} of them" in said
        for by in (found.against_share, found.against_label):
            assert f"{by.log_loss:.3f}".removeprefix("0") in said
    header, *cells = (tmp_path / f"validation_results_{STAMP}.csv").read_text().splitlines()
    assert header.endswith(",hate_share")
    assert [line.rpartition(",")[2] for line in cells] == [str(p.hate_share) for p in rows]


def test_no_report_speaks_of_shares_where_there_are_none(tmp_path: Path) -> None:
    rows = [replace(p, hate_share=None) for p in drawn(60)]
    numbers, report = written(tmp_path, rows)
    assert numbers.calibration_against_share is None
    assert "share of annotators" not in report
    assert "share of annotators" not in words(page(rows))
