from dataclasses import replace

import numpy as np
import pytest
from posts import predictions

from hsd.config.gate import GateRules
from hsd.errors import EvaluationError
from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.leaderboard import Entry, leaderboard, max_t


def run(wrong: int, n: int = 100, seed: int = 0) -> list:
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
    alone = metric_intervals(rows)["f1"]
    many = leaderboard([Entry(str(s), run(20, seed=s)) for s in range(8)]).standings[0].interval
    assert many.high - many.low > 1.2 * (alone.high - alone.low)


def test_max_t_of_one_statistic_is_about_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 1))
    (found,) = max_t(np.array([3.0]), values)
    assert (found.low, found.high) == pytest.approx((3 - 1.96 * 2, 3 + 1.96 * 2), abs=0.1)
    assert (
        max_t(np.array([3.0, 1.0]), np.column_stack([values, np.full(20_000, np.nan)]))[1] is None
    )
    assert max_t(np.array([1.0]), np.ones((10, 1))) == [None]


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
    with pytest.raises(EvaluationError, match="no run that was evaluated"):
        leaderboard([Entry("a", rows)], reference="b")
    with pytest.raises(EvaluationError, match="an evaluation or a failure"):
        Entry("a")


def test_the_order_of_rows_and_entries_changes_nothing() -> None:
    a, b = run(10), [replace(p) for p in run(20)]
    one = leaderboard([Entry("a", a), Entry("b", b)], draws=100)
    assert leaderboard([Entry("b", b[::-1]), Entry("a", a[::-1])], draws=100) == one
