"""The first screen of each page: the verdict in one sentence, then dots with intervals."""

import re
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path

import pytest
from posts import predictions
from present import present
from test_report_page import SCORED, STAMP, WRITTEN, everything, page, words

from hsd.config.gate_rules import GateRules
from hsd.metrics.baselines import Training
from hsd.metrics.comparison import compare, compare_all
from hsd.metrics.gate import gate
from hsd.metrics.intervals import Interval
from hsd.metrics.leaderboard import Entry, leaderboard
from hsd.prediction import Prediction
from hsd.report.comparability import RunSettings
from hsd.report.comparison_glance import (
    changes_section,
    comparison_badge,
    leaderboard_badge,
    rates_chart,
    sets_badge,
)
from hsd.report.comparison_page import comparison_page, leaderboard_page
from hsd.report.comparison_report import sentences
from hsd.report.context import ReportContext
from hsd.report.dot_chart import Dot, DotChart, DotRow, around_zero
from hsd.report.evaluation_files import write_evaluation
from hsd.report.gate_section import DEFAULT_RULES, badge, gate_report
from hsd.report.page import Badge
from hsd.report.report_model import EvaluationReport

GOOD = [
    replace(p, text=p.id.translate(str.maketrans("0123456789", "abcdefghij")))  # no two are alike
    for p in predictions("lgbtq n n\nlgbtq h h\nmexican n n\nmexican h h\n" * 200)
]
WORSE = [replace(p, label="hate") if p.groups == ("lgbtq",) else p for p in GOOD]


def written(folder: Path, beside: ReportContext, run: list[Prediction]) -> EvaluationReport:
    return write_evaluation(folder, run, {}, STAMP, beside)


@cache
def full() -> str:
    return page(SCORED, everything(SCORED))


def first_screen(html: str) -> str:
    """The words from the title to the second section."""
    return words(html.split('id="s2"')[0])


@pytest.mark.parametrize(
    ("run", "base", "status"),
    [(GOOD, GOOD, "PASS"), (WORSE, GOOD, "FAIL"), (GOOD[:40], GOOD[:40], "UNDERPOWERED")],
)
def test_a_base_is_enough_for_a_verdict(
    run: list[Prediction], base: list[Prediction], status: str, tmp_path: Path
) -> None:
    report = written(tmp_path, ReportContext(base=("base", base)), run)
    verdict = present(report.gate)
    assert verdict.status == status
    assert f"{status} " in first_screen((tmp_path / "report.html").read_text())
    text = (tmp_path / f"evaluation_report_{STAMP}.txt").read_text()
    assert f"\n{status}\n" in text
    assert verdict.default_rules
    for shown in (text, (tmp_path / "report.html").read_text()):
        assert DEFAULT_RULES in shown, "a verdict that nobody asked for says so"


def test_the_verdict_that_the_gate_gave_stays(tmp_path: Path) -> None:
    strict = gate_report(gate(GateRules(worst_group_f1=1.0), WORSE, None, (None, "mine")))
    report = written(tmp_path, ReportContext(base=("base", GOOD), verdict=strict), WORSE)
    assert report.gate == strict
    assert DEFAULT_RULES not in (tmp_path / "report.html").read_text()


def test_without_a_base_a_sentence_says_what_to_run() -> None:
    said = first_screen(page(SCORED))
    assert "NO VERDICT There is no base to compare with." in said
    assert "`hsd report RUN --base BASE_RUN`" in said


def test_a_broken_rule_is_shown_and_all_reasons_open_on_a_click() -> None:
    box = badge(gate_report(gate(GateRules(), WORSE, GOOD, ("base", "run"))))
    assert box.sentence == "The model breaks 3 of 8 rules against base."
    assert all(reason.startswith("FAIL: ") for reason in box.reasons)
    assert set(box.reasons) <= set(box.folded)


def test_why_nothing_can_be_decided_is_in_the_sentence() -> None:
    constant = [replace(p, label="hate") for p in GOOD]
    box = badge(gate_report(gate(GateRules(), GOOD, constant, ("base", "run"))))
    assert "cannot be decided: base calls every post hate, so" in box.sentence


def test_the_first_screen_holds_posts_verdict_metrics_and_rates_by_group() -> None:
    said = first_screen(full())
    for part in (
        "48 posts: 24 hateful, 24 normal.", "FAIL The model breaks", "accuracy this model 0.750 [",
        "the base 0.500 [", "F1 this model", "AUROC this model", "always hate",
        "False-positive rate: normal posts called hate all posts 0.250 of 24, base",
        "False-negative rate: hateful posts missed", "lgbtq 0.500 [",
    ):  # fmt: skip
        assert part in said, part


def test_the_page_answers_before_it_explains() -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", full())
    assert titles[:4] == ["At a glance", "Groups", "Calibration", "Thresholds"]
    assert titles.index("Changes from the base") < titles.index("Slices")
    assert titles.index("Slices") < titles.index("Confident errors")
    assert titles[-1] == "Provenance"
    assert '<details class="section"><summary><h2>Provenance</h2></summary>' in full()


def test_what_makes_the_numbers_mean_less_is_on_the_first_screen(tmp_path: Path) -> None:
    seen = Training([p.text for p in SCORED], [p.true_label for p in SCORED], "train.jsonl")
    base = ReportContext(seen, "", ("base", SCORED), base_asked=RunSettings("other", "generate"))
    write_evaluation(tmp_path, SCORED, {"mode": "score"}, STAMP, base)
    said = first_screen((tmp_path / "report.html").read_text())
    assert "48 of these 48 posts are among those that the model was trained on." in said
    assert "Base and model were read differently: mode generate and score." in said


def test_a_metric_that_does_not_exist_has_no_panel() -> None:
    said = first_screen(page(WRITTEN))
    assert "accuracy this model" in said
    assert "AUROC this model" not in said


def test_a_rate_that_is_not_estimable_has_no_dot() -> None:
    html = page(predictions("lgbtq h h\n" * 20 + "lgbtq n n"))
    row = html[html.index("False-positive rate: normal") :]
    row = row[row.index('<span class="who">lgbtq') :].split("</li>")[0]
    assert "- of 1" in row
    assert "mark" not in row


def test_dots_lie_on_their_scale() -> None:
    chart = DotChart("", [], low=-0.2, high=0.2)
    assert [chart.at(value) for value in (-0.2, 0.0, 0.1, 5.0)] == [
        "0.00%", "50.00%", "75.00%", "100.00%",
    ]  # fmt: skip
    assert [words for _, words, _ in chart.ticks] == ["-0.2", "0", "0.2"]


@pytest.mark.parametrize(("value", "end"), [(0.01, 0.02), (-0.3, 0.5), (0.9, 1.0), (None, 1.0)])
def test_a_scale_around_zero_holds_every_dot(value: float | None, end: float) -> None:
    assert around_zero([DotRow("", [Dot(value)], "")]) == end
    assert around_zero([DotRow("", [Dot(value, Interval(-0.6, 0.1))], "")]) == 1.0


def test_every_dot_has_its_numbers_as_text_and_a_shape_of_its_own() -> None:
    html = full()
    assert len(re.findall('<svg class="track" aria-hidden="true"', html)) == html.count(
        'class="num"'
    )
    assert '<svg class="mark base"' in html
    assert "Filled circle: this model; diamond: the base; ring: baselines." in html


def test_a_group_named_by_an_attacker_stays_text_beside_its_dots() -> None:
    html = page([replace(p, groups=("<img src=x onerror=alert(1)>",)) for p in SCORED])
    assert "<img" not in html
    assert "<img src=x onerror=alert(1)>" in unescape(html)


@pytest.mark.parametrize(
    ("other", "status"), [(GOOD, "NO RISE SHOWN"), (WORSE, "WORSE"), (WORSE[:8], "NO RISE SHOWN")]
)
def test_a_comparison_begins_with_whether_an_error_rate_rose(
    other: list[Prediction], status: str
) -> None:
    found = compare(GOOD[: len(other)], other, ("old", "new"))
    box = present(comparison_badge([found], [sentences(found)]))
    assert box.status == status
    assert box.sentence.startswith("new: ")
    assert "old" in box.sentence


def test_over_several_sets_the_worst_counts_and_each_has_a_line() -> None:
    box = present(sets_badge({
        "a": Badge("NO RISE SHOWN", [], "fine."),
        "b": Badge("WORSE", ["new: Worse for lgbtq."], "not fine.", look="fail"),
        "c": None,
    }))  # fmt: skip
    assert (box.status, box.sentence) == ("WORSE", "So on 1 of 3 sets: b.")
    assert box.reasons == ["a: fine.", "b: not fine."]
    assert box.folded == ["b: new: Worse for lgbtq."]
    assert sets_badge({"a": None}) is None


def test_all_reasons_are_all_of_them() -> None:
    many = Badge("WORSE", ["one", "two", "three"], "", ["one", "two", "three", "four"], "fail")
    over_sets = sets_badge({"a": many})
    assert over_sets is not None
    assert over_sets.folded == ["a: one", "a: two", "a: three", "a: four"]


def test_the_comparison_page_shows_each_change_as_a_dot() -> None:
    found = compare_all({"old": GOOD, "new": WORSE})
    asked = {"old": RunSettings(), "new": RunSettings()}
    said = words(comparison_page(found, asked, [sentences(one) for one in found]))
    assert "Change of the headline metrics new accuracy -0.250 [" in said
    assert "Change of the error rates false-positive rate all posts +0.500 [" in said
    chart = changes_section(found).parts[0]
    assert isinstance(chart, DotChart)
    assert chart.high == 0.5
    assert rates_chart(found[0]).high == 1.0


def test_a_leaderboard_begins_with_the_best_run() -> None:
    bad = [replace(p, label="hate") if n % 3 else p for n, p in enumerate(GOOD)]
    entries = [Entry("bad", bad), Entry("good", GOOD), Entry("twin", GOOD),
               Entry("gone", failure="CUDA out of memory")]  # fmt: skip
    board = leaderboard(entries, "f1", reference="bad", rules=GateRules())
    box = leaderboard_badge(board)
    assert box.sentence.startswith("good has the highest F1, 1.000")
    assert box.sentence.endswith("of 3 runs on 800 posts.")
    assert box.reasons == ["Not shown to be behind it: twin.", "No result: gone.", "Gate: PASS."]
    assert "BEST good has the highest F1" in words(leaderboard_page(board))


def test_a_leaderboard_without_a_result_says_so() -> None:
    board = leaderboard([Entry("gone", failure="CUDA out of memory")], "f1")
    assert leaderboard_badge(board).sentence == "None of 1 runs has a result."
