"""A score of another program becomes P(hate), and a threshold of P(hate) a score of the file."""

import pytest

from hsd.config.import_config import Scale
from hsd.data.score_scales import given_score, own_scale, probability


@pytest.mark.parametrize(
    ("scale", "cut", "score"),
    [
        ("probability", None, 0.3),
        ("percent", None, 27.76),
        ("logit", None, -3.5),
        ("logit", None, 0.25),
        ("rank", 30.0, 12.5),
        ("rank", None, 140.0),
    ],
)
def test_a_score_is_had_back_from_its_probability(
    scale: Scale, cut: float | None, score: float
) -> None:
    assert given_score(probability(score, scale, cut), scale, cut) == pytest.approx(score)


def test_a_threshold_has_as_few_digits_as_call_the_same_posts_hate() -> None:
    percent = {"scores": "percent"}
    assert own_scale(0.2776, [0.2775, 0.2777], percent) == "hate from 27.76 % on"
    assert own_scale(0.2776, [0.1, 0.9], percent) == "hate from 27.8 % on"
    ranks = [probability(score, "rank", 3.0) for score in (1_000_001, 1_000_002)]
    said = own_scale(sum(ranks) / 2, ranks, {"scores": "rank", "cut": 3.0})
    assert said == "hate from 1000001.5 on"


def test_a_threshold_of_scores_of_normal_is_where_hate_ends() -> None:
    assert own_scale(0.7, [0.1, 0.9], {"score_of": "normal"}) == "hate up to 0.3"


def test_scores_that_are_p_hate_already_have_no_other_scale() -> None:
    assert own_scale(0.7, [0.1, 0.9], {"scores": "probability", "score_of": "hate"}) is None
    assert own_scale(0.7, [0.1, 0.9], {"score_of": "label"}) is None


def test_a_threshold_that_nothing_reaches_says_so() -> None:
    assert own_scale(1.0, [0.1, 1.0], {"scores": "percent"}) == "no score is hate"
