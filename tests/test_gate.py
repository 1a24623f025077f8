import pytest
from posts import predictions

from hsd.config.gate import GateRules, Margins
from hsd.metrics.gate import Check, Status, Verdict, gate


def rows(*counts: tuple[str, int]) -> list:
    return predictions("\n".join(row for row, n in counts for _ in range(n)))


def judged(reference: list, run: list, **rules: object) -> Verdict:
    return gate(GateRules(**rules), run, reference, ("base", "adapter"))


def check(verdict: Verdict, rule: str, about: str = "all posts") -> Check:
    return next(c for c in verdict.checks if (c.rule, c.about) == (rule, about))


FPR = "false positive rate rises by"


def test_a_group_that_got_worse_fails_though_f1_rose() -> None:
    before = rows(("lgbtq n n", 300), ("lgbtq h n", 200), ("lgbtq h h", 100))
    after = rows(("lgbtq n h", 40), ("lgbtq n n", 260), ("lgbtq h h", 300))
    verdict = judged(before, after)
    assert check(verdict, "F1 falls by").status == "PASS"
    broken = check(verdict, FPR, "lgbtq")
    assert (broken.status, broken.value, broken.limit) == ("FAIL", pytest.approx(40 / 300), 0.05)
    assert verdict.status == Status.FAIL
    assert verdict.status.exit_code == 20


def test_enough_rows_without_a_change_pass() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq n h", 60), ("lgbtq h h", 300), ("lgbtq h n", 60))
    verdict = judged(same, same)
    assert verdict.status == Status.PASS
    assert verdict.status.exit_code == 0
    assert {c.about for c in verdict.checks} == {"all posts", "lgbtq"}


def test_few_rows_without_a_change_are_underpowered_and_say_how_many_would_do() -> None:
    same = rows(("lgbtq n n", 20), ("lgbtq n h", 5), ("lgbtq h h", 25))
    verdict = judged(same, same)
    assert verdict.status == Status.UNDERPOWERED
    assert verdict.status.exit_code == 21
    open_ = check(verdict, FPR, "lgbtq")
    assert open_.status == "UNDERPOWERED"
    assert 25 < open_.needed < 200
    grown = rows(("lgbtq n n", open_.needed), ("lgbtq h h", open_.needed))
    assert check(judged(grown, grown), FPR, "lgbtq").value == 0


def test_a_rise_within_chance_is_undecided_and_no_failure() -> None:
    before = rows(("lgbtq n n", 30), ("lgbtq h h", 30))
    after = rows(("lgbtq n h", 2), ("lgbtq n n", 28), ("lgbtq h h", 30))
    assert check(judged(before, after), FPR, "lgbtq").status == "UNDERPOWERED"


def test_a_group_with_few_posts_is_named_and_not_judged() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300), ("mexican n n", 7))
    verdict = judged(same, same)
    assert verdict.not_judged == ("mexican false_positive_rate (7 posts)",)
    assert "mexican" not in {c.about for c in verdict.checks}


def test_a_group_may_have_margins_of_its_own() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300))
    wide = judged(same, same, groups={"lgbtq": Margins(false_positive_rate=0.2)})
    assert check(wide, FPR, "lgbtq").limit == 0.2
    assert check(wide, FPR).limit == 0.05


def test_without_a_reference_only_floors_and_ceilings_are_judged() -> None:
    run = rows(("lgbtq n n", 200), ("lgbtq h h", 200), ("mexican n h", 100), ("mexican h h", 100))
    verdict = gate(GateRules(worst_group_f1=0.7, largest_gap=0.1), run)
    found = {c.rule: (c.about, c.status.value) for c in verdict.checks}
    assert found["lowest F1"] == ("mexican", "FAIL")
    assert found["false positive rate difference"] == ("mexican, lgbtq", "FAIL")
    assert found["unreadable replies"] == ("all posts", "PASS")


def test_unreadable_replies_have_a_ceiling() -> None:
    def status(unread: int, n: int) -> str:
        run = rows(("- n n", n - unread), ("- n invalid", unread))
        return gate(GateRules(), run).checks[-1].status

    assert [status(0, 400), status(0, 50), status(30, 400)] == ["PASS", "UNDERPOWERED", "FAIL"]


def test_scored_labels_cannot_be_unreadable_however_few_rows() -> None:
    assert gate(GateRules(), rows(("- n n .1", 10))).status == Status.PASS


def test_a_floor_that_no_group_can_show_is_undecided() -> None:
    verdict = gate(GateRules(worst_group_f1=0.5, largest_gap=0.1), rows(("- n n .1", 10)))
    assert [c.status for c in verdict.checks[:3]] == ["UNDERPOWERED"] * 3


def test_a_failed_rule_wins_over_an_undecided_one() -> None:
    run = rows(("lgbtq n h", 8), ("lgbtq h h", 8))
    verdict = gate(GateRules(worst_group_f1=0.9), run)
    assert {c.status for c in verdict.checks} == {"FAIL", "UNDERPOWERED"}
    assert verdict.status == Status.FAIL
