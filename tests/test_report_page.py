"""report.json keeps its schema, and report.html says the same and nothing that a post wants."""

import json
import re
from dataclasses import replace
from functools import cache
from html import unescape
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from posts import predictions
from present import present

from hsd.config.gate_rules import GateRules
from hsd.data.identity_swap import SWAP
from hsd.metrics.baselines import Training
from hsd.metrics.evaluation import summarize
from hsd.metrics.gate import gate
from hsd.metrics.operating_point import operating_point
from hsd.metrics.score_noise import Noise
from hsd.metrics.thresholds import Rule
from hsd.prediction import Prediction
from hsd.report.context import ReportContext
from hsd.report.evaluation_files import write_evaluation
from hsd.report.evaluation_page import evaluation_page
from hsd.report.evaluation_report import evaluation_report
from hsd.report.formatting import REDACTED
from hsd.report.gate_section import gate_report

STAMP = "20260102_030405"
SCHEMA = json.loads(files("hsd.report").joinpath("report.schema.json").read_text())
ATTACK = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def rows(table: str, times: int = 6) -> list[Prediction]:
    """Enough posts for everything to be estimable, from two sources, with cases and contrasts."""
    made = predictions("\n".join([table.strip()] * times))
    return [
        replace(
            p,
            source_dataset="ab"[n % 2],
            functionality=f"case {n % 3}",
            reference_id=made[n - 1].id if n % 2 else "",
            label_multiclass=("offensive", "normal")[n % 5 > 0],
        )
        for n, p in enumerate(made)
    ]


SCORED = rows("""
    lgbtq          n n .2
    lgbtq          n h .6
    lgbtq          h h .9
    lgbtq+mexican  h n .4
    mexican        h h .8
    mexican        n n .1
    -              n n .3
    -              h h .7
""")
WRITTEN = [
    replace(p, score=None) for p in rows("lgbtq n n\nlgbtq h refusal\nmexican n invalid\n- h h")
]
FLIPPED = predictions("lgbtq n n\nmexican n h\n" * 6 + "lgbtq n n\nmexican n invalid")
SWAPPED = [
    replace(p, functionality=SWAP, reference_id=FLIPPED[n - 1].id) if n % 2 else p
    for n, p in enumerate(FLIPPED)
]
VALIDATION = [replace(p, id=f"v{p.id}", text=f"validation {p.id}") for p in SCORED]
TRAINING = Training(["soup today", "they are rotten"] * 9, ["normal", "hate"] * 9, "train.jsonl")


def everything(run: list[Prediction]) -> ReportContext:
    base = [replace(p, label="hate", outcome="valid") for p in run]
    point = operating_point(VALIDATION, Rule("max_f1"), "validation") if run[0].score else None
    told = [replace(base[0], label="normal"), *base[1:]]  # one label alone is no reference
    verdict = gate(GateRules(worst_group_f1=0.5, largest_gap=0.3), run, told, ("base", "run"))
    noise = Noise("bfloat16", 8, 0.001, 0.002, 0.01) if run[0].score else None
    return ReportContext(TRAINING, "", ("base", base), point, gate_report(verdict), noise=noise)


@pytest.mark.parametrize(
    ("run", "beside"),
    [
        (SCORED, ReportContext()),
        (SCORED, everything(SCORED)),
        (WRITTEN, ReportContext()),
        (WRITTEN, everything(WRITTEN)),
        (SWAPPED, ReportContext()),
        (predictions("- n refusal"), ReportContext()),
        (predictions("lgbtq h h .5\nlgbtq h h .5"), ReportContext()),
    ],
)
def test_report_json_keeps_its_schema_whatever_is_known(
    run: list[Prediction], beside: ReportContext, tmp_path: Path
) -> None:
    write_evaluation(tmp_path, run, {"model": {"name": "tiny"}}, STAMP, beside)
    written = json.loads((tmp_path / "report.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    assert written["not_measured"]


def test_the_schema_is_itself_sound_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    write_evaluation(tmp_path, SCORED, {}, STAMP)
    numbers = json.loads((tmp_path / "report.json").read_text())
    for broken in ({**numbers, "new": 1}, {**numbers, "schema": 1}, {**numbers, "gaps": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def page(
    run: list[Prediction],
    beside: ReportContext | None = None,
    mode: str = "generate",
    **options: bool,
) -> str:
    beside = beside or ReportContext()
    found = summarize(run, beside.training, beside.point, beside.base, noise=beside.noise)
    numbers = evaluation_report(found, {"model": {"name": "tiny"}, "mode": mode}, beside)
    return evaluation_page(numbers, run, **options)


def test_a_page_warns_of_replies_without_a_label_and_quotes_only_in_the_copy_with_text() -> None:
    run = [replace(p, reply="<b>thinking") for p in predictions("- n invalid\n- h invalid\n- h h")]
    assert "2 of 3 replies hold no label." in page(run)
    assert "thinking" not in page(run)
    said = "2 of 3 replies hold no label; the first begins &#34;&lt;b&gt;thinking&#34;."
    assert page(run, with_text=True).count(said) == 1
    assert "hold no label" not in page(SCORED)


def test_a_page_of_score_mode_speaks_of_posts_without_a_score_and_not_of_replies() -> None:
    run = predictions("- n invalid\n- h invalid\n- h h .8")
    said = page(run, mode="score")
    assert "2 of 3 posts have no score, and count as wrong." in said
    assert "hold no label" not in said
    assert "2 of 3 replies hold no label." in page(run, mode="generate")


@cache
def full_page() -> str:
    return page(SCORED, everything(SCORED))


def words(html: str) -> str:
    """The text of a page, one space between its parts."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_page_shows_the_numbers_of_report_json() -> None:
    said = words(full_page())
    for part in (
        "accuracy 0.750 [", "always hate", "TF-IDF + logistic regression (18 training rows)",
        "Against the base", "Change of each metric", "Change of the differences between groups",
        "Posts whose decision changed", "equalised-odds difference, sources held equal", "BPSN AUC",
        "Frozen threshold", "flagged in 1,000", "view: without offensive", "both right",
        "rules are kept", "What another training seed would give",
    ):  # fmt: skip
        assert part in said, part


def test_pairs_whose_label_stays_are_shown_with_how_often_the_call_did() -> None:
    said = words(full_page())
    assert "Invariance pairs: the label stays" in said
    assert "change pairs both right same call pairs read pairs unread case 0 4 - - 4 0" in said
    assert "Invariance pairs" not in words(page(WRITTEN))


def test_unread_pairs_of_a_swap_stand_beside_its_flips() -> None:
    said = words(page(SWAPPED))
    assert (
        "pairs read flip rate flips to hate pairs unread mean shift lgbtq to mexican 6 1.000"
        in said
    )
    assert "Flips are of the pairs whose two replies could be read." in said


def test_posts_that_were_trained_on_are_counted_and_said() -> None:
    learned = Training([SCORED[0].text.upper(), "soup"], ["hate", "normal"], "train.jsonl")
    seen = summarize(SCORED, learned).seen_in_training
    assert seen == len(SCORED)  # their texts differ by a number only
    said = words(page(SCORED, ReportContext(learned, "")))
    assert "48 of these 48 posts are among those that the model was trained on" in said
    assert "posts trained on 48 of 48" in said
    assert "Whether the model was trained on any" not in said


def test_unknown_training_posts_are_not_none_seen() -> None:
    assert summarize(WRITTEN).seen_in_training is None
    said = words(page(WRITTEN))
    assert "posts trained on unknown" in said
    assert "Whether the model was trained on any of these posts" in said
    assert "posts trained on 0 of 48" in words(full_page())


def test_a_run_without_scores_has_no_empty_sections() -> None:
    said = words(page(WRITTEN))
    assert "NO VERDICT" in said
    assert "Calibration ECE" not in said
    assert "the replies carry no P(hate)" in said
    assert "Unreadable replies go with the group" in said
    assert "What it would mean on a platform" in said  # without curves too
    assert "an unreadable reply flags a normal post" in said


def test_what_only_repeaters_need_is_folded_away_and_not_left_out() -> None:
    facts = {"model": {"name": "tiny", "weights_sha256": "0123"}, "packages": {"torch": "2.13"}}
    html = evaluation_page(evaluation_report(summarize(SCORED), facts, ReportContext()))
    folded = "<details><summary>Further facts (2): weights, device, packages</summary>"
    first, rest = html.split(folded)
    assert "model.name" in first
    assert "0123" not in first
    assert "0123" in rest
    assert "Further facts" not in page(SCORED)


def test_written_replies_have_an_error_table_too() -> None:
    said = words(page([replace(p, score=None) for p in SCORED]))
    assert "Errors of each group, the first by id" in said
    assert "most confident errors of each group" not in said


def test_error_rates_by_group_stand_under_three_policies_where_replies_are_unread() -> None:
    said = words(page(WRITTEN))
    assert "Error rates by group, unreadable replies read in three ways" in said
    # lgbtq: 6 normals read as normal, 6 hates refused; mexican: 6 normals unread.
    # The more frequent label is normal on a tie.
    assert "lgbtq 0.000 0.000 0.000 1.000 - 1.000" in said
    assert "mexican 1.000 - 0.000 - - -" in said
    assert "read in three ways group" not in words(page(SCORED))


def test_gaps_say_what_chance_would_do_and_what_equal_sources_rest_on() -> None:
    said = words(page(SCORED))
    assert "largest difference value chance highest error lowest error" in said
    assert "Sources are held equal over those that all groups have: of the posts" in said
    assert "Worst group by F1: " in said
    other = [replace(p, source_dataset=p.id) for p in SCORED]
    assert "Sources cannot be held equal" in words(page(other))


def test_personas_are_shown_where_there_are_several() -> None:
    assert "Rates by persona" in words(page(SCORED))
    assert "Rates by persona" not in words(page([replace(p, persona_tag="") for p in SCORED]))


def test_turned_posts_have_label_and_groups_and_a_text_only_when_asked() -> None:
    beside = everything(SCORED)
    base = {p.id: p for p in present(beside.base)[1]}
    found = summarize(SCORED, base=beside.base)
    report = evaluation_report(found, {}, beside)
    turned = [post.model_dump(mode="json") for post in present(report.base).turned]
    assert {post["id"]: post["now"] for post in turned} == {
        p.id: "newly right" if p.label == p.true_label else "newly wrong"
        for p in SCORED
        if (p.label == p.true_label) != (base[p.id].label == p.true_label)
    }
    both = next(p for p in SCORED if len(p.groups) == 2)
    assert {"id": both.id, "true_label": "hate", "groups": ["lgbtq", "mexican"],
            "now": "newly wrong"} in turned  # fmt: skip
    row = f"{both.id} newly wrong hate lgbtq, mexican "
    assert row + REDACTED in words(full_page())
    assert row + both.text in words(page(SCORED, beside, with_text=True))


def test_no_post_is_quoted_unless_asked_for() -> None:
    html = page(SCORED)
    assert not any(p.text in html for p in SCORED)
    assert REDACTED in html
    quoted = page(SCORED, with_text=True)
    assert "Content warning" in quoted
    assert SCORED[1].text in quoted


def test_posts_groups_and_names_stay_text() -> None:
    run = [replace(p, text=ATTACK, groups=(ATTACK,), source_dataset=ATTACK, functionality=ATTACK)
           for p in SCORED]  # fmt: skip
    html = page(run, with_text=True)
    assert html.count("<script>") == 1
    assert "<img" not in html
    assert ATTACK in unescape(html)


def test_the_page_loads_nothing_and_lets_no_other_script_run() -> None:
    html = full_page()
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', html)
    assert "default-src 'none'" in html
    assert "base-uri 'none'; form-action 'none'" in html
    assert "'unsafe-inline'" not in present(re.search(r"script-src ([^;]*);", html))[1]


def test_the_same_numbers_draw_the_same_page() -> None:
    assert page(WRITTEN) == page(WRITTEN[::-1])
