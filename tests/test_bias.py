import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from present import present
from sklearn.metrics import roc_auc_score

from hsd.metrics.bias import Kind, bias_areas, generalised_mean
from hsd.prediction import Prediction

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["lgbtq", "mexican", "lgbtq+mexican", "-"]),
        st.sampled_from("hn"),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=80,
)


def made(rows: list[tuple[str, str, int]]) -> list[Prediction]:
    return predictions("\n".join(f"{g} {t} {t} {s / 9}" for g, t, s in rows))


@given(ROWS)
def test_the_three_areas_agree_with_scikit_learn_to_1e_12(rows: list[tuple[str, str, int]]) -> None:
    found = present(bias_areas(made(rows), draws=5))
    for group in {g for groups, *_ in rows for g in groups.split("+") if g != "-"}:
        inside = np.array([group in groups.split("+") for groups, *_ in rows])
        hate = np.array([t == "h" for _, t, _ in rows])
        scores = np.array([s / 9 for *_, s in rows])
        masks: dict[Kind, np.ndarray] = {
            "subgroup": inside,
            "bpsn": (inside & ~hate) | (~inside & hate),
            "bnsp": (inside & hate) | (~inside & ~hate),
        }
        for kind, mask in masks.items():
            area = found.groups[group][kind]
            few = min((mask & hate).sum(), (mask & ~hate).sum())
            assert area.n == few
            if few < 5:
                assert (area.value, area.interval) == (None, None)
            else:
                assert area.value == pytest.approx(
                    roc_auc_score(hate[mask], scores[mask]), abs=1e-12
                )


def test_normal_posts_of_a_group_that_score_too_high_show_in_bpsn_alone() -> None:
    rows = [("lgbtq", "n", 7), ("lgbtq", "h", 9), ("-", "n", 0), ("-", "h", 5)] * 6
    areas = present(bias_areas(made(rows), draws=50)).groups["lgbtq"]
    assert areas["subgroup"].value == areas["bnsp"].value == 1.0
    assert areas["bpsn"].value == 0.0


def test_the_generalised_mean_is_the_papers_and_near_the_worst() -> None:
    values = np.array([[0.9, 0.6]])
    assert generalised_mean(values)[0] == pytest.approx(((0.9**-5 + 0.6**-5) / 2) ** (-1 / 5))
    assert 0.6 < generalised_mean(values)[0] < 0.7
    assert generalised_mean(np.array([[0.0, 1.0]]))[0] == 0.0
    assert np.isnan(generalised_mean(np.zeros((1, 0)))[0])


def test_without_a_score_in_every_row_there_are_none() -> None:
    assert bias_areas(predictions("lgbtq h h .5\nlgbtq n n")) is None
    assert bias_areas([]) is None


def test_groups_too_small_are_in_no_mean() -> None:
    rows = [("lgbtq", t, s) for t, s in (("h", 8), ("n", 1))] * 5 + [("mexican", "h", 0)]
    found = present(bias_areas(made(rows), draws=20))
    assert found.means["subgroup"].n == 1
    assert found.means["subgroup"].value == 1.0
    nothing = present(bias_areas(made([("lgbtq", "h", 3)]), draws=5)).means["bpsn"]
    assert (nothing.value, nothing.interval, nothing.n) == (None, None, 0)
