from dataclasses import replace
from typing import Any

import pytest
from posts import predictions
from present import present

from hsd.config.gate_rules import GateRules, Margins
from hsd.errors import ConfigError, EvaluationError
from hsd.metrics.comparison import compare
from hsd.metrics.gate import Verdict, gate
from hsd.metrics.rule_result import RuleResult, Status
from hsd.prediction import Prediction


def rows(*counts: tuple[str, int]) -> list[Prediction]:
    return predictions("\n".join(row for row, n in counts for _ in range(n)))


def judged(reference: list[Prediction], run: list[Prediction], **rules: Any) -> Verdict:
    return gate(GateRules(**rules), run, reference, ("base", "adapter"))


def check(verdict: Verdict, rule: str, about: str = "all posts") -> RuleResult:
    return next(c for c in verdict.checks if (c.rule, c.about) == (rule, about))


FPR = "false positive rate rises by"


def test_a_group_that_got_worse_fails_though_f1_rose() -> None:
    before = rows(("lgbtq n n", 300), ("lgbtq h n", 200), ("lgbtq h h", 100))
    after = rows(("lgbtq n h", 40), ("lgbtq n n", 260), ("lgbtq h h", 300))
    verdict = judged(before, after)
    assert check(verdict, "F1 falls by").status == "PASS"
    broken = check(verdict, FPR, "lgbtq")
    assert (broken.status, broken.limit) == ("FAIL", 0.05)
    assert broken.value == pytest.approx(40 / 300)
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
    needed = present(open_.needed)
    assert 25 < needed < 200
    for more, status in ((0, "PASS"), (-1, "UNDERPOWERED")):
        n = needed + more
        grown = rows(("lgbtq n n", n - n // 5), ("lgbtq n h", n // 5), ("lgbtq h h", n))
        assert check(judged(grown, grown), FPR, "lgbtq").status == status


@pytest.mark.parametrize("label", ["h", "n"])
def test_a_reference_that_says_one_label_to_every_post_is_none_and_says_what_to_take(
    label: str,
) -> None:
    constant = rows((f"lgbtq n {label}", 300), (f"lgbtq h {label}", 300))
    good = rows(("lgbtq n n", 290), ("lgbtq n h", 10), ("lgbtq h h", 280), ("lgbtq h n", 20))
    verdict = judged(constant, good)
    assert verdict.status == Status.UNDERPOWERED
    why = check(verdict, "error rates rise by").why
    assert why.startswith(f"base calls every post {'hate' if label == 'h' else 'normal'}")
    assert "--baseline encoder" in why
    assert "for imported predictions with --train-file FILE" in why
    assert judged(constant, good, worst_group_f1=0.5).status == Status.UNDERPOWERED


def test_a_reference_of_other_posts_is_refused_whatever_it_says() -> None:
    other = [replace(p, id=f"x{p.id}") for p in rows(("lgbtq n h", 20), ("lgbtq h h", 20))]
    with pytest.raises(EvaluationError, match="hold different posts"):
        judged(other, rows(("lgbtq n n", 20), ("lgbtq h h", 20)))


def test_a_rise_within_chance_is_undecided_and_no_failure() -> None:
    before = rows(("lgbtq n n", 30), ("lgbtq h h", 30))
    after = rows(("lgbtq n h", 2), ("lgbtq n n", 28), ("lgbtq h h", 30))
    assert check(judged(before, after), FPR, "lgbtq").status == "UNDERPOWERED"


def test_a_group_with_few_posts_can_fail_but_not_pass() -> None:
    many = (("lgbtq n n", 800), ("lgbtq h h", 800))
    before = rows(*many, ("mexican n n", 19))
    same = check(judged(before, before), FPR, "mexican")
    assert (same.status, same.needed) == ("UNDERPOWERED", 20)
    assert judged(before, before).status == Status.UNDERPOWERED
    turned = judged(before, rows(*many, ("mexican n h", 19)))
    assert check(turned, FPR, "mexican").status == "FAIL"
    assert check(turned, "false negative rate rises by", "mexican").status == "UNDERPOWERED"


def test_a_group_is_left_out_only_where_the_rules_say_so() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300), ("mexican n n", 40))
    worse = rows(("lgbtq n n", 300), ("lgbtq h h", 300), ("mexican n n", 28), ("mexican n h", 12))
    verdict = judged(same, worse, ignore_groups=("mexican", "lgbt"), margin=Margins(
        false_positive_rate=0.1), f1_margin=0.1, largest_gap=0.1)  # fmt: skip
    assert {c.about for c in verdict.checks} == {"all posts", "lgbtq", "any groups"}
    assert check(verdict, FPR).status == "PASS"
    assert verdict.not_judged[:2] == (
        "lgbt (ignored by the rules; no post is about it)",
        "mexican (ignored by the rules)",
    )
    with pytest.raises(ValueError, match="lgbtq: has margins and is ignored"):
        GateRules(groups={"lgbtq": Margins()}, ignore_groups=("lgbtq",))


def test_posts_about_nobody_may_be_ignored_too() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300), ("- n n", 30))
    assert check(judged(same, same), FPR, "none").status == "UNDERPOWERED"
    assert judged(same, same, ignore_groups=("none",)).status == Status.PASS


def test_few_posts_about_nobody_are_named_and_hold_nothing_up() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300), ("- n n", 3))
    verdict = judged(same, same)
    assert verdict.status == Status.PASS
    assert verdict.not_judged[0] == "false positive rate about nobody (3 posts)"


def test_margins_of_a_group_that_no_post_is_about_are_never_passed() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300))
    verdict = judged(same, same, groups={"lgtbq": Margins()})
    assert verdict.status == Status.UNDERPOWERED
    assert verdict.checks[0].about == "lgtbq"
    assert verdict.checks[0].why == "no post is about this group; they are about lgbtq"


def test_with_neither_reference_nor_floor_there_is_nothing_to_judge_by() -> None:
    with pytest.raises(ConfigError, match="give --reference RUN, or a floor"):
        gate(GateRules(), rows(("lgbtq n h .9", 100), ("lgbtq h n .1", 100)))


def test_a_reference_without_a_result_leaves_rises_undecided() -> None:
    run = rows(("lgbtq n n .1", 300), ("lgbtq h h .9", 300))
    verdict = gate(GateRules(), run, None, ("baseline", "cell"))
    assert verdict.status == Status.UNDERPOWERED
    assert verdict.checks[0].why == "the reference baseline has no result"


def test_posts_of_one_template_are_no_evidence_that_nothing_got_worse() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300))
    copied = [replace(p, cluster=f"t{number // 100}") for number, p in enumerate(same)]
    assert judged(same, same).status == Status.PASS
    assert check(judged(copied, copied), FPR, "lgbtq").status == "UNDERPOWERED"


def test_a_group_may_have_margins_of_its_own() -> None:
    same = rows(("lgbtq n n", 300), ("lgbtq h h", 300))
    wide = judged(same, same, groups={"lgbtq": Margins(false_positive_rate=0.2)})
    assert check(wide, FPR, "lgbtq").limit == 0.2
    assert check(wide, FPR).limit == 0.05


def test_without_a_reference_only_floors_and_ceilings_are_judged() -> None:
    run = rows(("lgbtq n n", 200), ("lgbtq h h", 200), ("mexican n h", 100), ("mexican h h", 100))
    verdict = gate(GateRules(worst_group_f1=0.7, largest_gap=0.1), run)
    found = {(c.rule, c.about): c.status.value for c in verdict.checks}
    assert (found["F1", "lgbtq"], found["F1", "mexican"]) == ("PASS", "FAIL")
    assert found["false positive rate difference", "mexican, lgbtq"] == "FAIL"
    assert found["unreadable replies", "all posts"] == "PASS"


def test_unreadable_replies_have_a_ceiling() -> None:
    def unreadable(unread: int, n: int) -> RuleResult:
        run = rows(("- n n", n - unread), ("- n invalid", unread))
        return check(judged(run, run), "unreadable replies")

    found = [unreadable(0, 400), unreadable(0, 50), unreadable(30, 400), unreadable(3, 100)]
    assert [c.status for c in found] == ["PASS", "UNDERPOWERED", "FAIL", "UNDERPOWERED"]
    needed = present(found[1].needed)
    assert unreadable(0, needed).status == "PASS"
    assert unreadable(0, needed - 1).status == "UNDERPOWERED"


def test_scored_labels_cannot_be_unreadable_however_few_rows() -> None:
    run = rows(("- n n .1", 10))
    assert check(judged(run, run), "unreadable replies").status == "PASS"


def test_a_floor_that_no_group_can_show_is_undecided() -> None:
    verdict = gate(GateRules(worst_group_f1=0.5, largest_gap=0.1), rows(("- n n .1", 10)))
    assert [c.status for c in verdict.checks[:3]] == ["UNDERPOWERED"] * 3


def test_a_floor_or_ceiling_is_broken_or_kept_by_whole_intervals() -> None:
    few = [("lgbtq n h", 2), ("lgbtq n n", 3), ("lgbtq h n", 2), ("lgbtq h h", 3)]
    near = rows(*few, ("mexican n n", 400), ("mexican h h", 400))
    rules = GateRules(worst_group_f1=0.65, largest_gap=0.3)
    assert {c.status for c in gate(rules, near).checks[:-1] if c.about != "mexican"} == {
        "UNDERPOWERED"
    }
    many = rows(*((row, 100 * n) for row, n in few), ("mexican n n", 400), ("mexican h h", 400))
    assert {c.status for c in gate(rules, many).checks[:-1] if c.about != "mexican"} == {"FAIL"}
    kept = GateRules(worst_group_f1=0.5, largest_gap=0.5)
    assert {c.status for c in gate(kept, many).checks[:-1]} == {"PASS"}


def test_a_perfect_score_of_five_posts_shows_no_floor_and_of_hundreds_does() -> None:
    rules = GateRules(worst_group_f1=0.9, largest_gap=0.05)

    def statuses(n: int) -> set[str]:
        perfect = [(f"{name} {row}", n) for name in ("lgbtq", "mexican") for row in ("n n", "h h")]
        return {c.status for c in gate(rules, rows(*perfect)).checks[:-1]}

    assert statuses(5) == {"UNDERPOWERED"}
    assert statuses(400) == {"PASS"}


def test_a_small_group_does_not_hide_behind_a_large_one() -> None:
    large = (("lgbtq n n", 270), ("lgbtq n h", 30), ("lgbtq h h", 270), ("lgbtq h n", 30))
    run = rows(*large, ("mexican n n", 5), ("mexican h h", 5))
    assert check(gate(GateRules(worst_group_f1=0.8), run), "F1", "mexican").status == (
        "UNDERPOWERED"
    )
    some = rows(("lgbtq n n", 290), ("lgbtq n h", 10), ("mexican n n", 6), ("zebra n n", 300))
    found = gate(GateRules(largest_gap=0.1), some).checks
    assert found[0].status == "UNDERPOWERED"


def test_a_group_without_an_error_is_not_certain_of_none() -> None:
    run = rows(("lgbtq n n", 20), ("mexican n n", 380), ("mexican n h", 20))
    found = gate(GateRules(largest_gap=0.08), run).checks[0]
    assert found.status == "UNDERPOWERED"
    assert present(found.interval).high > 0.1  # Newcombe's; that of the draws ends at .072


def test_many_groups_that_keep_the_floor_are_no_failure() -> None:
    """The lowest of ten estimates lies below all of the truths; each is judged by its own."""
    counts = [(f"g{k} {row}", n) for k in range(10)
              for row, n in (("n n", 16), ("n h", 4), ("h h", 16), ("h n", 4))]  # fmt: skip
    verdict = gate(GateRules(worst_group_f1=0.785), rows(*counts))
    assert {c.status for c in verdict.checks[:10]} == {"UNDERPOWERED"}


def test_no_change_of_three_posts_shows_nothing_and_of_hundreds_does() -> None:
    few, many = rows(("- n n", 2), ("- h h", 1)), rows(("- n n", 900), ("- h h", 900))
    assert check(judged(few, few), "F1 falls by").status == "UNDERPOWERED"
    assert check(judged(many, many), "F1 falls by").status == "PASS"


def test_a_group_too_small_for_a_floor_keeps_it_undecided() -> None:
    run = rows(("lgbtq n n", 400), ("lgbtq h h", 400), ("mexican n n", 4), ("mexican h h", 400))
    found = gate(GateRules(worst_group_f1=0.5), run).checks
    assert [(c.rule, c.about, c.status) for c in found[:2]] == [
        ("F1", "lgbtq", "PASS"),
        ("F1", "mexican", "UNDERPOWERED"),
    ]


def test_a_failed_rule_wins_over_an_undecided_one() -> None:
    run = rows(("lgbtq n h", 8), ("lgbtq h h", 8))
    verdict = gate(GateRules(worst_group_f1=0.9), run)
    assert {c.status for c in verdict.checks} == {"FAIL", "UNDERPOWERED"}
    assert verdict.status == Status.FAIL


def test_a_comparison_that_is_known_already_gives_the_same_verdict() -> None:
    before = predictions("lgbtq n n\nlgbtq h h\nmexican n h\nmexican h n\n" * 30)
    after = predictions("lgbtq n h\nlgbtq h h\nmexican n n\nmexican h n\n" * 30)
    names = ("before", "after")
    known = compare(before, after, names)
    assert gate(GateRules(), after, before, names, known) == gate(GateRules(), after, before, names)
