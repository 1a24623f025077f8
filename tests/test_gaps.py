from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    equal_opportunity_difference,
    equalized_odds_difference,
    false_negative_rate,
    false_positive_rate,
)
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from present import present

from hsd.metrics.drawn_rates import GapName
from hsd.metrics.gaps import Gaps, gaps, largest_gap
from hsd.metrics.groups import MINIMUM_N
from hsd.metrics.intervals import Interval, wilson
from hsd.prediction import Prediction

GROUPS = ["lgbtq", "mexican", "middle_east"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from([*GROUPS, "lgbtq+mexican", "-"]),
        st.sampled_from("hn"),
        st.sampled_from(["h", "n", "refusal"]),
        st.sampled_from(["one", "two"]),
    ),
    min_size=1,
    max_size=80,
)


def found(rows: Sequence[tuple[str, ...]], draws: int = 20) -> Gaps:
    return gaps(made(rows), draws=draws)


def made(rows: Sequence[tuple[str, ...]]) -> list[Prediction]:
    table = "\n".join(" ".join(row[:3]) for row in rows)
    sources = [row[3] if len(row) > 3 else "one" for row in rows]
    return [sourced(p, s) for p, s in zip(predictions(table), sources, strict=True)]


def sourced(prediction: Prediction, source: str) -> Prediction:
    return replace(prediction, source_dataset=source)


def test_a_hand_computed_gap_names_both_groups() -> None:
    rows = [("lgbtq", "n", "h")] * 3 + [("lgbtq", "n", "n")] * 2
    rows += [("mexican", "n", "h")] + [("mexican", "n", "n")] * 4
    rows += [("lgbtq", "h", "h")] * 5 + [("mexican", "h", "n")] * 4 + [("mexican", "h", "h")]
    raw = found(rows).raw.gaps
    fpr, opportunity = raw["false_positive_rate"], raw["equal_opportunity"]
    assert (fpr.highest, fpr.lowest) == ("lgbtq", "mexican")
    assert fpr.value == pytest.approx(0.4)
    assert opportunity.highest == "mexican"
    assert opportunity.value == pytest.approx(0.8)
    assert raw["equalised_odds"].value == pytest.approx(0.8)


def test_small_groups_and_posts_about_nobody_take_no_part() -> None:
    rows = [("lgbtq", "n", "h")] * 5 + [("mexican", "n", "n")] * 4 + [("-", "n", "n")] * 9
    nothing = found(rows)
    assert nothing.raw.gaps == {}
    assert nothing.raw.rates["false_positive_rate"] == {"lgbtq": 1.0}
    assert nothing.worst is None


def test_no_rows_have_no_gap() -> None:
    assert found([]).raw.gaps == {}


def test_the_worst_group_has_the_lowest_f1() -> None:
    rows = [("lgbtq", t, t) for t in "hn"] * 5
    rows += [("mexican", "h", "n")] * 2 + [("mexican", "h", "h")] * 3 + [("mexican", "n", "n")] * 5
    result = found(rows, draws=200)
    worst = present(result.worst)
    assert worst.group == "mexican"
    assert worst.f1 == pytest.approx(6 / 8)
    assert result.f1["lgbtq"] == 1.0


def test_a_gap_that_the_sources_make_goes_when_sources_are_held_equal() -> None:
    """Within each source both groups have one rate; only their mix of sources differs."""
    rows = [("lgbtq", "n", "h", "loud")] * 40 + [("lgbtq", "n", "n", "loud")] * 40
    rows += [("lgbtq", "n", "n", "calm")] * 20
    rows += [("mexican", "n", "h", "loud")] * 10 + [("mexican", "n", "n", "loud")] * 10
    rows += [("mexican", "n", "n", "calm")] * 80
    result = found(rows)
    assert result.raw.gaps["false_positive_rate"].value == pytest.approx(0.3)
    assert result.standardised.gaps["false_positive_rate"].value == pytest.approx(0.0)
    # Both groups' posts together: 100 of 200 are from each source.
    assert result.standardised.rates["false_positive_rate"]["lgbtq"] == pytest.approx(0.25)
    assert result.disagreeing == ("false_positive_rate",)


def test_a_source_that_one_group_lacks_is_left_out_of_the_standardised_view() -> None:
    rows = [(g, "n", c, "both") for g in ("lgbtq", "mexican") for c in "hnnnn"] * 2
    rows += [("lgbtq", "n", "h", "own")] * 20
    result = found(rows)
    assert result.standardised.coverage["false_positive_rate"] == pytest.approx(20 / 40)
    assert result.standardised.gaps["false_positive_rate"].value == pytest.approx(0.0)
    alone = found([(g, "n", c, g) for g in ("lgbtq", "mexican") for c in "hnnnn"] * 2)
    assert alone.standardised.gaps == {}
    assert alone.disagreeing == ()


def test_one_source_alone_changes_nothing() -> None:
    rows = [(g, t, c) for g in GROUPS for t in "hn" for c in "hnhhn"] * 2
    result = found(rows)
    for name, gap in result.raw.gaps.items():
        assert result.standardised.gaps[name].value == pytest.approx(gap.value, abs=1e-12)


def test_equalised_odds_need_both_rates_of_two_groups() -> None:
    rows = made([(g, "n", c) for g in ("lgbtq", "mexican") for c in "hnnnn"])
    assert set(gaps(rows, draws=20).raw.gaps) == {"false_positive_rate"}
    assert largest_gap(rows) is None


def test_the_interval_of_groups_with_one_rate_mostly_holds_0() -> None:
    rng = np.random.default_rng(0)
    held, chances = [], []
    for _ in range(40):
        rows = made([(g, "n", "h" if rng.random() < 0.25 else "n") for g in GROUPS * 30])
        gap = gaps(rows, draws=200).raw.gaps["false_positive_rate"]
        interval = present(gap.interval)
        held.append(interval.low == 0.0)
        chances.append(present(gap.p_value))
        assert interval.low <= gap.value <= interval.high
    assert sum(held) >= 34  # 38 of 40 are 95 %
    assert 0.35 < np.mean(chances) < 0.65


def test_a_difference_beyond_chance_has_an_interval_above_0() -> None:
    rows = made([(g, "n", c) for g, c in (("lgbtq", "h"), ("mexican", "n")) for _ in range(60)]
                + [("lgbtq", "n", "n")] * 60 + [("mexican", "n", "h")] * 6)  # fmt: skip
    gap = gaps(rows, draws=500).raw.gaps["false_positive_rate"]
    assert present(gap.interval).low > 0.2
    assert present(gap.p_value) < 0.01


def test_a_gap_that_no_draw_changes_has_an_interval_by_its_posts() -> None:
    def interval(n: int) -> Interval:
        rows = made([(g, "n", "n") for g in GROUPS for _ in range(n)])
        return present(gaps(rows, draws=50).raw.gaps["false_positive_rate"].interval)

    few, many = interval(5), interval(500)
    # Newcombe's for 0 of 5 and 0 of 5: Wilson's upper end of 0 of 5.
    assert few.low == many.low == 0.0
    assert few.high == pytest.approx(present(wilson(0, 5)).high)
    assert many.high == pytest.approx(present(wilson(0, 500)).high)


def test_a_mix_of_few_posts_of_shared_sources_is_no_warning() -> None:
    rows = [("lgbtq", "n", c, "own") for c in "hhhhhhhnnn" * 8]
    rows += [("mexican", "n", c, "other") for c in "hhhnnnnnnn" * 8]
    rows += [("lgbtq", "n", c, "both") for c in "hhnnn"]
    rows += [("mexican", "n", c, "both") for c in "hhnnn"]
    result = found(rows, draws=500)
    name: Final = "false_positive_rate"
    assert result.raw.gaps[name].value > 0.3
    assert result.standardised.gaps[name].value == pytest.approx(0.0)
    assert result.standardised.coverage[name] == pytest.approx(10 / 170)
    assert result.disagreeing == ()


@given(ROWS)
def test_gaps_agree_with_fairlearn_to_1e_12(rows: Sequence[tuple[str, ...]]) -> None:
    """A post about two groups is two rows to fairlearn, which knows one group a row."""
    exploded = [(g, t, c) for groups, t, c, _ in rows for g in groups.split("+") if g != "-"]
    cells = {(g, t): 0 for g in GROUPS for t in "hn"}
    for g, t, _ in exploded:
        cells[g, t] += 1
    known = [g for g in GROUPS if min(cells[g, "h"], cells[g, "n"]) >= MINIMUM_N]
    only = [(g, t, c) for g, t, c in exploded if g in known]
    if len(known) < 2 or any(
        cells[g, t] >= MINIMUM_N for g in GROUPS if g not in known for t in "hn"
    ):
        return
    truth = [t == "h" for _, t, _ in only]
    called = [c == "h" if c != "refusal" else t != "h" for _, t, c in only]
    groups = [g for g, *_ in only]
    raw = found(rows).raw
    theirs: dict[GapName, float] = {
        "equalised_odds": equalized_odds_difference(truth, called, sensitive_features=groups),
        "equal_opportunity": equal_opportunity_difference(truth, called, sensitive_features=groups),
        "false_positive_rate": MetricFrame(
            metrics=false_positive_rate, y_true=truth, y_pred=called, sensitive_features=groups
        ).difference(),
    }
    for name, value in theirs.items():
        assert raw.gaps[name].value == pytest.approx(value, abs=1e-12)
    by_group = MetricFrame(
        metrics=false_negative_rate, y_true=truth, y_pred=called, sensitive_features=groups
    ).by_group
    for group, rate in raw.rates["false_negative_rate"].items():
        assert rate == pytest.approx(by_group[group], abs=1e-12)


@given(ROWS, st.permutations(GROUPS))
def test_renaming_groups_renames_the_gaps_and_nothing_else(
    rows: Sequence[tuple[str, ...]], names: list[str]
) -> None:
    new = dict(zip(GROUPS, names, strict=True)) | {"-": "-"}
    renamed = [("+".join(new[g] for g in row[0].split("+")), *row[1:]) for row in rows]
    before, after = found(rows).raw, found(renamed).raw
    assert before.gaps.keys() == after.gaps.keys()
    for name, gap in before.gaps.items():
        assert after.gaps[name].value == pytest.approx(gap.value, abs=1e-12)
    for rate, rates in before.rates.items():
        assert {new[g]: r for g, r in rates.items()} == pytest.approx(dict(after.rates[rate]))


@given(ROWS)
def test_duplicating_every_row_changes_no_gap_of_groups_that_were_known(
    rows: Sequence[tuple[str, ...]],
) -> None:
    once, twice = found(rows).raw, found([*rows, *rows]).raw
    for rate, rates in once.rates.items():
        for group, value in rates.items():
            assert twice.rates[rate][group] == pytest.approx(value, abs=1e-12)


@given(ROWS)
def test_every_gap_lies_between_0_and_1_and_nothing_divides_by_nothing(
    rows: Sequence[tuple[str, ...]],
) -> None:
    result = found(rows)
    for view in (result.raw, result.standardised):
        assert all(0 <= gap.value <= 1 for gap in view.gaps.values())
        assert all(0 <= share <= 1 for share in view.coverage.values())
        assert all(np.isfinite(list(rates.values())).all() for rates in view.rates.values())


def test_the_interval_of_a_gap_is_seeded_and_holds_it() -> None:
    rows = [("lgbtq", "n", c) for c in "hhhnn"] * 20 + [("mexican", "n", c) for c in "hnnnn"] * 20
    first, again = found(rows, draws=500), found(rows, draws=500)
    assert first == again
    gap = first.raw.gaps["false_positive_rate"]
    assert gap.value == pytest.approx(0.4)
    interval = present(gap.interval)
    assert 0.2 < interval.low < gap.value < interval.high < 0.6
