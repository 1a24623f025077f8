from dataclasses import replace

import numpy as np
import pytest
from posts import predictions
from present import present

from hsd.config.gate_rules import GateRules
from hsd.errors import EvaluationError
from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.leaderboard import Entry, from_best, leaderboard, max_t
from hsd.prediction import Prediction


def run(wrong: int, n: int = 100, seed: int = 0) -> list[Prediction]:
    """n posts of each label; `wrong` of each are called wrongly, other ones for each seed."""
    rng = np.random.default_rng(seed)
    bad = {label: set(rng.choice(n, wrong, replace=False)) for label in "hn"}
    other = {"h": "n", "n": "h"}
    table = [
        f"{'lgbtq' if i % 2 else 'mexican'} {t} {other[t] if i in bad[t] else t}"
        for t in "hn"
        for i in range(n)
    ]
    return predictions("\n".join(table))


def test_runs_are_ranked_and_failures_are_rows_with_their_reason() -> None:
    entries = [
        Entry("weak", run(30)),
        Entry("dead", failure="out of memory"),
        Entry("strong", run(10)),
    ]
    board = leaderboard(entries, draws=200)
    assert [s.name for s in board.standings] == ["strong", "weak"]
    assert [(e.name, e.failure) for e in board.failures] == [("dead", "out of memory")]
    assert board.standings[0].metrics.f1 == pytest.approx(0.9)
    assert board.standings[0].from_best is None
    assert board.standings[1].is_apart


def test_runs_that_differ_by_chance_are_not_called_apart() -> None:
    entries = [Entry(str(seed), run(20 + seed % 2, seed=seed)) for seed in range(6)]
    board = leaderboard(entries, draws=500)
    assert not any(s.is_apart for s in board.standings)


def test_intervals_of_many_runs_are_wider_than_that_of_one() -> None:
    rows = run(20)
    alone = present(metric_intervals(rows)["f1"])
    board = leaderboard([Entry(str(s), run(20, seed=s)) for s in range(8)])
    many = present(board.standings[0].interval)
    assert many.high - many.low > 1.2 * (alone.high - alone.low)


def test_max_t_of_one_statistic_is_about_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 1))
    found = present(max_t(np.array([3.0]), values)[0])
    assert (found.low, found.high) == pytest.approx((3 - 1.96 * 2, 3 + 1.96 * 2), abs=0.1)
    assert (
        max_t(np.array([3.0, 1.0]), np.column_stack([values, np.full(20_000, np.nan)]))[1] is None
    )
    assert max_t(np.array([1.0]), np.ones((10, 1))) == [None]


@pytest.mark.parametrize("runs", [2, 4, 12])
def test_of_equal_runs_the_luckiest_is_seldom_called_better(runs: int) -> None:
    """Which run is the best is chosen by the same posts: the worst of twelve looks far behind."""
    rng = np.random.default_rng(runs)
    wrong = 0
    for _ in range(300):
        point = np.sort(rng.normal(size=runs))[::-1]
        behind = from_best(point, point + rng.normal(size=(400, runs)))
        wrong += any(present(interval).high < 0 for interval in behind[1:])
    assert 0.01 < wrong / 300 < 0.09


def test_two_runs_are_as_far_apart_as_one_difference_says() -> None:
    rng = np.random.default_rng(0)
    point, values = np.array([0.6, 0.5]), rng.normal([0.6, 0.5], 0.1, size=(4000, 2))
    (own,) = max_t(point[1:] - point[0], values[:, 1:] - values[:, :1])
    assert from_best(point, values) == [None, own]


def test_a_reference_that_failed_still_judges_as_undecided() -> None:
    entries = [Entry("good", run(2)), Entry("base", failure="out of memory")]
    board = leaderboard(entries, reference="base", rules=GateRules(), draws=50)
    verdict = present(board.standings[0].verdict)
    assert verdict.status == "UNDERPOWERED"
    assert verdict.checks[0].why == "the reference base has no result"


def test_a_run_that_no_draw_changes_has_no_interval_and_is_no_certainty() -> None:
    always = predictions("\n".join(["lgbtq h h"] * 455 + ["lgbtq n h"] * 554))
    board = leaderboard([Entry("always", always), Entry("same", always)], draws=200)
    assert [one.interval for one in board.standings] == [None, None]
    assert not any(one.is_apart for one in board.standings)


def test_each_run_is_judged_by_the_gate_against_the_reference() -> None:
    entries = [Entry("base", run(20)), Entry("bad", run(45)), Entry("good", run(2))]
    board = leaderboard(entries, reference="base", rules=GateRules(), draws=200)
    found = {s.name: s.verdict and s.verdict.status for s in board.standings}
    assert found == {"base": None, "bad": "FAIL", "good": "PASS"}


def test_one_run_alone_and_failures_alone_are_leaderboards() -> None:
    assert len(leaderboard([Entry("only", run(10))], draws=50).standings) == 1
    board = leaderboard([Entry("dead", failure="cancelled")])
    assert (board.standings, board.n) == ((), 0)


def test_what_cannot_be_ranked_is_refused() -> None:
    rows = run(2, n=5)
    with pytest.raises(EvaluationError, match="different posts"):
        leaderboard([Entry("a", rows), Entry("b", rows[1:])])
    with pytest.raises(EvaluationError, match="unknown metric 'f2'"):
        leaderboard([Entry("a", rows)], "f2")
    with pytest.raises(EvaluationError, match="one name"):
        leaderboard([Entry("a", rows), Entry("a", failure="x")])
    with pytest.raises(EvaluationError, match="none of the runs"):
        leaderboard([Entry("a", rows)], reference="b")
    with pytest.raises(EvaluationError, match="an evaluation or a failure"):
        Entry("a")


def test_the_order_of_rows_and_entries_changes_nothing() -> None:
    a, b = run(10), [replace(p) for p in run(20)]
    one = leaderboard([Entry("a", a), Entry("b", b)], draws=100)
    assert leaderboard([Entry("b", b[::-1]), Entry("a", a[::-1])], draws=100) == one
