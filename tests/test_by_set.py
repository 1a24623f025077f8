"""Models by sets: what a cell, a mark, a mean and an overlap mean."""

import re
from dataclasses import replace

import numpy as np
import pytest
from posts import predictions
from present import present

from hsd.metrics.by_set import BySet, by_set, over_sets
from hsd.metrics.comparison import compare
from hsd.metrics.headline import headline_intervals
from hsd.metrics.seen_in_training import overlaps
from hsd.prediction import Prediction
from hsd.report.set_section import by_set_markdown, by_set_numbers, by_set_rows, legend, short_names

GOOD = "\n".join(["- h h .9", "- n n .1"] * 15 + ["- h n .4", "- n n .2"])
WEAK = "\n".join(["- h n .4", "- n h .6"] * 10 + ["- h h .9", "- n n .2"] * 6)
OTHER = "\n".join(["- h h .8", "- n h .6"] * 6 + ["- h n .4", "- n n .3"] * 3)


def rows(table: str, of: str) -> list[Prediction]:
    """Return rows that no set of another name shares; numbers would not tell posts apart."""
    found = predictions(table)
    return [replace(p, text=f"{of} {'x' * at}") for at, p in enumerate(found)]


def made(**models: dict[str, str]) -> BySet:
    """Return the table of `model={"set": table}`."""
    answered: dict[str, dict[str, list[Prediction]]] = {}
    for name, tables in models.items():
        for of, table in tables.items():
            answered.setdefault(of, {})[name] = rows(table, of)
    return by_set(answered, {}, list(models))


def test_a_cell_is_what_the_set_says_by_itself() -> None:
    table = made(base={"one": WEAK, "two": OTHER})
    for of, source in (("one", WEAK), ("two", OTHER)):
        intervals = headline_intervals(rows(source, of))
        for metric in ("auroc", "f1"):
            assert table.rows[0].cells[of][metric].interval == intervals[metric]
    assert dict(table.sets) == {"one": 32, "two": 18}


def test_a_model_is_marked_where_the_paired_interval_to_the_first_does_not_hold_0() -> None:
    table = made(base={"one": WEAK, "two": WEAK}, tuned={"one": GOOD, "two": WEAK})
    base, tuned = table.rows
    assert {one.mark for cell in base.cells.values() for one in cell.values()} == {""}
    assert tuned.cells["one"]["f1"].mark == "better"
    assert tuned.cells["two"]["f1"].mark == "", "the same calls"
    (change,) = [c for c in compare(rows(WEAK, "one"), rows(GOOD, "one")).metrics if c.name == "f1"]
    assert tuned.cells["one"]["f1"].change == change.interval
    back = made(tuned={"one": GOOD}, base={"one": WEAK})
    assert back.rows[1].cells["one"]["f1"].mark == "worse"


def test_a_comparison_that_was_had_before_says_the_same() -> None:
    one = {"base": rows(WEAK, "one"), "tuned": rows(GOOD, "one")}
    had = compare(one["base"], one["tuned"], ("base", "tuned"))
    assert by_set({"one": one}, {"one": [had]}) == by_set({"one": one}, {})


def test_a_mean_counts_each_set_alike_however_many_posts_it_holds() -> None:
    table = made(base={"one": WEAK, "two": OTHER, "three": GOOD})
    (base,) = table.rows
    values = [present(base.cells[of]["f1"].value) for of in table.sets]
    assert base.means["f1"].value == pytest.approx(np.mean(values))


def test_a_model_without_every_set_has_a_blank_and_no_mean() -> None:
    table = made(base={"one": WEAK, "two": OTHER}, tuned={"one": GOOD}, dead={})
    assert [sorted(row.means) for row in table.rows] == [["auroc", "f1"], [], []]
    shown = by_set_rows(table, "f1")
    assert [cell == "" for cell in shown[1]] == [False, False, True, True]
    assert [cell == "" for cell in shown[2]] == [False, True, True, True]
    models = {one["name"]: one for one in by_set_numbers(table)["models"]}
    assert models["tuned"]["sets"]["two"] is None
    assert models["tuned"]["mean_over_sets"] is None


def test_a_metric_without_a_value_on_a_set_is_no_blank_and_has_no_mean() -> None:
    one_label = "\n".join(["- h h .9", "- h n .4"] * 5)
    table = made(base={"one": WEAK, "two": one_label})
    assert by_set_rows(table, "auroc")[0][2] == "-\n-"
    assert "auroc" not in table.rows[0].means
    assert "f1" in table.rows[0].means


def test_where_the_reference_has_no_set_nothing_is_marked() -> None:
    table = made(base={"one": WEAK}, tuned={"one": GOOD, "two": GOOD})
    assert table.rows[1].cells["two"]["f1"].change is None
    assert table.rows[1].means["f1"].change is None


def test_the_order_of_rows_changes_nothing() -> None:
    both = {"base": rows(WEAK, "one"), "tuned": rows(GOOD, "one")}
    turned = {name: found[::-1] for name, found in both.items()}
    assert by_set({"one": both}, {}) == by_set({"one": turned}, {})


@pytest.mark.parametrize("sets", [2, 3, 8])
def test_the_interval_over_sets_holds_the_mean_of_all_sets_95_times_in_100(sets: int) -> None:
    rng = np.random.default_rng(sets)
    found = [over_sets(rng.normal(0.5, 0.02, sets).tolist(), -9, 9) for _ in range(2000)]
    held = np.mean([one is not None and one.low <= 0.5 <= one.high for one in found])
    assert 0.93 < held < 0.97


def test_a_mean_of_one_set_or_of_equal_ones_has_no_interval() -> None:
    assert over_sets([0.5], 0, 1) is None
    assert over_sets([1.0, 1.0, 1.0], 0, 1) is None
    found = over_sets([0.2, 0.9], 0, 1)
    assert found is not None
    assert (found.low, found.high) == (0, 1), "two sets say next to nothing about a third"


def test_posts_that_two_sets_share_are_counted_from_both_sides() -> None:
    first, second = rows(GOOD, "one"), rows(OTHER, "two")
    copies = [replace(second[0], id=f"c{n}", text=first[0].text.upper() + "!") for n in range(2)]
    found = overlaps({"one": first, "two": [*second, *copies], "three": rows(OTHER, "three")})
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.in_first, pair.in_second) == ("one", "two", 1, 2)
    assert found.shared == {"one": 1, "two": 2, "three": 0}


def test_a_post_in_three_sets_is_one_shared_post_of_each() -> None:
    same = rows(OTHER, "same")
    found = overlaps({"a": same[:3], "b": same[:3], "c": same[:3]})
    assert len(found.pairs) == 3
    assert found.shared == {"a": 3, "b": 3, "c": 3}


def test_the_legend_says_over_what_the_mean_is_and_which_sets_share_posts() -> None:
    same = rows(OTHER, "same")
    table = by_set({"a": {"m": same}, "b": {"m": [*same[:2], *rows(GOOD, "b")[2:]]}}, {})
    said = " ".join(legend(table))
    assert "over 2 sets, not over posts" in said
    assert "a and b share 2 posts: a table of both counts them twice." in said
    assert "better" not in said, "one model is compared with nothing"
    assert re.search(r"32 posts 2 shared", by_set_markdown(table))


def test_one_set_alone_has_no_mean_over_sets() -> None:
    table = made(base={"one": WEAK}, tuned={"one": GOOD})
    assert "mean over sets" not in by_set_markdown(table)
    assert by_set_numbers(table)["models"][0]["mean_over_sets"] is None


def test_sets_go_by_the_names_of_their_files_unless_two_would_read_alike() -> None:
    assert short_names(["unified", "/data/hatecheck.csv"]) == {
        "unified": "unified",
        "/data/hatecheck.csv": "hatecheck",
    }
    assert list(short_names(["a/test.csv", "b/test.csv"]).values()) == ["a/test.csv", "b/test.csv"]
