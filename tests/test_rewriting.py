"""`hsd report`, `gate` and `threshold`: decisions live in the run's folder and reach its report."""

import json
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from posts import predictions

from hsd.errors import ConfigError, EvaluationError, PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.io.manifest import update_manifest
from hsd.metrics.baselines import Training
from hsd.metrics.thresholds import Rule
from hsd.prediction import Prediction
from hsd.report.predictions import append_predictions, done_evaluation, load_run
from hsd.report.rewriting import freeze
from jobs.compare import compare
from jobs.gate import gate
from jobs.report import report
from jobs.terminal.options import Command
from jobs.threshold import threshold

WORSE = predictions(
    "\n".join(["lgbtq n h .6"] * 30 + ["lgbtq n n .1"] * 70 + ["lgbtq h h .9"] * 100)
)
BASE = predictions(
    "\n".join(["lgbtq n n .3"] * 100 + ["lgbtq h h .8"] * 40 + ["lgbtq h n .4"] * 60)
)
MODEL = {"model": {"base": "tiny"}, "prompt_hash": "abc", "mode": "score"}


def saved(name: str, rows: list[Prediction], identity: dict[str, Any] | None = None) -> Path:
    folder = Path(name) / "run_20260102_030405"
    append_predictions(folder / "predictions.jsonl", rows)
    write_json(folder / "manifest.json", {"model": {"name": name}, "prompt": {"hash": "abc"}})
    write_json(folder / "identity.json", identity or MODEL)
    return folder


@pytest.fixture(autouse=True)
def runs() -> None:
    saved("base", BASE)
    saved("run", WORSE)
    others = [replace(p, id=f"v{p.id}", text=f"validation {p.id}") for p in WORSE]
    saved("validation", others)


def run(command: Command, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def numbers(name: str = "run") -> Any:
    return json.loads((Path(name) / "run_20260102_030405" / "report.json").read_text())


def page(name: str = "report.html") -> str:
    return (Path("run/run_20260102_030405") / name).read_text(encoding="utf-8")


def test_a_verdict_is_words_an_exit_code_and_the_top_of_the_report() -> None:
    said = run(gate, "run", "--reference", "base")
    assert said.return_value == 20
    assert "FAIL: false positive rate rises by 0.300" in " ".join(said.output.split())
    assert numbers()["gate"]["status"] == "FAIL"
    assert '<div class="verdict fail"' in page()


FOLDER = Path("run/run_20260102_030405")
READERS = {
    report: ("run",),
    compare: ("base", "run"),
    gate: ("run", "--reference", "base"),
    threshold: ("validation", "run"),
}


def finished(folder: Path = FOLDER) -> Path:
    """Return an evaluation's predictions, marked as finished."""
    rows = len(load_run(folder).predictions)
    write_json(folder / "done.json", done_evaluation(folder, rows))
    return folder / "predictions.jsonl"


def relabelled(file: Path) -> None:
    """Change answers of the finished rows; not one is lost."""
    file.write_text(file.read_text().replace('"label": "hate"', '"label": "normal"', 20))


@pytest.mark.parametrize("command", READERS, ids=lambda command: command.name)
def test_a_lost_row_is_refused_whoever_reads_it(command: Command) -> None:
    file = finished()
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:20]))
    with pytest.raises(EvaluationError, match=r"predictions\.jsonl: 20 rows, .*says 200; put it"):
        run(command, *READERS[command])


@pytest.mark.parametrize("command", READERS, ids=lambda command: command.name)
def test_a_changed_answer_is_refused_whoever_reads_it(command: Command) -> None:
    relabelled(finished())
    with pytest.raises(EvaluationError, match=r"predictions\.jsonl is not as it was written"):
        run(command, *READERS[command])


def test_an_evaluation_of_an_earlier_hsd_is_held_to_its_number_of_rows_alone() -> None:
    relabelled(finished())
    write_json(FOLDER / "done.json", {"rows": 200, "headline": None})
    run(report, "run")
    write_json(FOLDER / "done.json", {"rows": 201, "headline": None})
    with pytest.raises(EvaluationError, match="200 rows, where done.json says 201"):
        run(report, "run")
    (FOLDER / "done.json").write_text("")
    with pytest.raises(PreflightError, match=r"done\.json:1: not JSON"):
        run(report, "run")


def test_an_edited_verdict_is_never_shown_as_one() -> None:
    run(gate, "run", "--reference", "base")
    file = FOLDER / "gate.json"
    file.write_text(file.read_text().replace('"status": "FAIL"', '"status": "PASS"', 1))
    with pytest.raises(EvaluationError, match=r"gate\.json: was edited since .*`hsd gate`"):
        run(report, "run")
    assert '<div class="verdict fail"' in page()
    run(gate, "run", "--reference", "base")
    run(report, "run")


def test_a_verdict_about_other_answers_is_never_shown() -> None:
    run(gate, "run", "--reference", "base")
    relabelled(FOLDER / "predictions.jsonl")
    with pytest.raises(EvaluationError, match=r"gate\.json: its verdict is about other answers"):
        run(report, "run")


def test_a_verdict_of_an_earlier_hsd_is_shown_as_it_is() -> None:
    run(gate, "run", "--reference", "base")
    content = json.loads((FOLDER / "gate.json").read_text())
    for name in ("sha256", "rows", "files"):
        del content[name]
    write_json(FOLDER / "gate.json", content)
    run(report, "run")
    assert numbers()["gate"] == {**content, "default_rules": False}


def test_rules_come_from_a_file_and_single_ones_from_the_command() -> None:
    rules = Path("gate.toml")
    rules.write_text(
        "[margin]\nfalse_positive_rate = 0.5\n[groups.lgbtq]\nfalse_positive_rate = 0.5\n"
    )
    assert run(gate, "run", "--reference", "base", "--rules", "gate.toml").return_value == 0
    strict = run(gate, "run", "--rules", "gate.toml", "--set", "worst_group_f1=0.99", "--json")
    assert strict.return_value == 20
    assert json.loads(strict.output)["reference"] is None
    with pytest.raises(ConfigError, match="Did you mean 'margin'"):
        run(gate, "run", "--set", "margins.false_positive_rate=0.1")


def test_a_threshold_is_frozen_in_the_judged_run_and_reported() -> None:
    said = run(threshold, "validation", "run").output
    assert said.startswith("Threshold 0.7500, temperature ")
    at = numbers()["operating_point"]
    assert (at["metrics"]["f1"], at["point"]["rows"]) == (1.0, 200)
    assert "Frozen threshold 0.7500" in page()


def test_the_noise_of_16_bit_scores_stands_beside_each_threshold() -> None:
    noise = {"dtype": "bfloat16", "posts": 8, "mean": 0.01, "largest": 0.02}
    update_manifest(
        Path("run/run_20260102_030405"), answering={"noise": {**noise, "largest_log_odds": 0.5}}
    )
    said = run(threshold, "validation", "run").output
    sentence = (
        "Scores are computed in bfloat16: beside other posts the same post's score differs by up "
        "to 0.1047 at the threshold 0.7500 (0.500 in log-odds, on 8 posts scored "
        "alone and in their batch). 0 of 200 posts lie that near it."
    )
    assert sentence in said.splitlines()
    near = numbers()["score_noise"]["near"]
    assert [(one["threshold"], one["posts"]) for one in near] == [(0.5, 30), (0.75, 0)]
    (text,) = Path("run/run_20260102_030405").glob("evaluation_report_*.txt")
    for report_of in (unescape(page()), text.read_text()):
        assert sentence in report_of
        assert "at the threshold 0.5000" in report_of


def test_noise_that_moves_no_shown_digit_is_not_spoken_of() -> None:
    noise = {"dtype": "float32", "posts": 8, "mean": 1e-7, "largest": 2e-7}
    update_manifest(
        Path("run/run_20260102_030405"), answering={"noise": {**noise, "largest_log_odds": 1e-6}}
    )
    assert "Scores are computed" not in run(threshold, "validation", "run").output
    assert "Scores are computed" not in page()
    assert numbers()["score_noise"]["largest_log_odds"] == 1e-6


def test_the_run_that_a_threshold_was_chosen_on_claims_none() -> None:
    saved("third", [replace(p, id=f"t{p.id}", text=f"a third set {p.id}") for p in WORSE])
    run(threshold, "validation", "run")
    run(threshold, "validation", "third", "--rule", "recall_at_precision", "--limit", "0.6")
    run(report, "validation")
    assert not Path("validation/run_20260102_030405/operating_point.json").exists()
    assert numbers("validation")["operating_point"] is None
    assert numbers("third")["operating_point"]["point"]["rule"] == "recall_at_precision 0.6"


def test_a_point_that_lies_with_the_posts_it_was_chosen_on_is_not_reported() -> None:
    run(threshold, "validation", "run")
    folder = Path("validation/run_20260102_030405")
    shutil.copy("run/run_20260102_030405/operating_point.json", folder)
    with pytest.raises(EvaluationError, match="chosen on this run's own posts"):
        run(report, "validation")


def test_a_threshold_is_not_chosen_on_the_run_that_it_is_for() -> None:
    with pytest.raises(EvaluationError, match="run_.*: both runs are the same; choose .* other"):
        run(threshold, "run", "run")


def test_a_frozen_threshold_is_not_chosen_again() -> None:
    run(threshold, "validation", "run")
    run(threshold, "validation", "run")  # the same choice is no other one
    with pytest.raises(EvaluationError, match=r"0\.7500 by max_f1 is frozen in this run"):
        run(threshold, "validation", "run", "--rule", "recall_at_precision", "--limit", "0.6")


def test_a_threshold_chosen_on_judged_posts_or_of_another_model_is_refused() -> None:
    saved("same", [replace(p, id=f"s{p.id}") for p in WORSE])
    with pytest.raises(EvaluationError, match="200 posts are in both runs"):
        run(threshold, "same", "run")
    saved("louder", [replace(p, id=f"s{p.id}", text=f"{p.text.upper()} !!") for p in WORSE])
    with pytest.raises(EvaluationError, match="200 posts are in both runs"):
        run(threshold, "louder", "run")
    saved("other", [replace(p, text=f"x{p.id}") for p in WORSE], {**MODEL, "prompt_hash": "d"})
    with pytest.raises(EvaluationError, match='different models: prompt_hash: "d" -> "abc"'):
        run(threshold, "other", "run")


BFLOAT16 = {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("validation", "judged", "says"),
    [
        (
            {"number_format": {"dtype": "bfloat16"}},
            {"number_format": {"dtype": "float32"}},
            "dtype",
        ),
        ({"max_length": 64}, {"max_length": 1024}, "max_length: 64 -> 1024"),
        (
            {"model_files": {"config.json": "a"}},
            {"model_files": {"config.json": "b"}},
            "config.json",
        ),
        ({"max_length": 64}, {}, None),
        ({"number_format": BFLOAT16}, {}, None),
    ],
)
def test_a_threshold_of_scores_that_were_computed_otherwise_is_refused(
    validation: dict[str, Any], judged: dict[str, Any], says: str | None
) -> None:
    for name, more in (("validation", validation), ("run", judged)):
        (file,) = Path(name).glob("run_*/identity.json")
        write_json(file, {**read_json(file), **more})
    if says is None:  # a run of an older hsd does not say it
        run(threshold, "validation", "run")
        return
    with pytest.raises(EvaluationError, match=f"different models: .*{says}"):
        run(threshold, "validation", "run")


def test_a_threshold_is_not_chosen_on_posts_that_the_adapter_learned() -> None:
    validation, judged = (load_run(Path(name)) for name in ("validation", "run"))
    learned = Training([validation.predictions[3].text.upper()], ["hate"], "train.jsonl, 1 posts")
    says = r"200 of 200 validation posts are training posts .* \(train.jsonl, 1 posts; first: vp000"
    with pytest.raises(EvaluationError, match=says):
        freeze(validation, judged, Rule("max_f1"), learned)
    other = replace(learned, texts=["nothing alike"])
    assert freeze(validation, judged, Rule("max_f1"), other).threshold == 0.75


@pytest.mark.parametrize("splits", [{"test": 200}, {"validation": 150, "train": 50}])
def test_a_threshold_is_not_chosen_on_posts_of_another_split(splits: dict[str, int]) -> None:
    folder = Path("validation/run_20260102_030405")
    update_manifest(folder, data={"splits": splits})
    (name, count) = list(splits.items())[-1]
    with pytest.raises(EvaluationError, match=rf"of another split \({count} {name}\)") as refused:
        run(threshold, "validation", "run")
    assert "\n" not in str(refused.value)
    assert not Path("run/run_20260102_030405/operating_point.json").exists()
    update_manifest(folder, data={"splits": {"validation": 200}})
    update_manifest(Path("run/run_20260102_030405"), data={"splits": {"test": 200}})
    run(threshold, "validation", "run")


def test_the_base_is_kept_in_the_run_once_named() -> None:
    run(report, "run", "--base", "base")
    assert numbers()["base"]["metrics"]["recall"] == 0.4
    run(report, "run")
    assert numbers()["base"]["name"] == "base"  # the manifest has its whole path; a card is shared


def test_a_gate_may_judge_the_calls_at_the_frozen_threshold() -> None:
    with pytest.raises(EvaluationError, match="no threshold is frozen here"):
        run(gate, "run", "--reference", "base", "--at_threshold")
    run(threshold, "validation", "run")  # .75 parts all posts rightly
    before = run(gate, "run", "--reference", "base").return_value
    after = run(gate, "run", "--reference", "base", "--at_threshold").return_value
    assert (before, after) == (20, 0)
    assert numbers()["gate"]["run"].endswith("at its threshold 0.7500")


def test_the_share_of_hate_on_a_platform_is_kept_once_stated() -> None:
    run(report, "run")
    assert [at["prevalence"] for at in numbers()["at_prevalence"]] == [0.01, 0.02, 0.05]
    run(report, "run", "--prevalence", "0.03", "--prevalence", "0.2")
    run(report, "run")
    assert [at["prevalence"] for at in numbers()["at_prevalence"]] == [0.03, 0.2]
    with pytest.raises(click.BadParameter, match="not in the range"):
        run(report, "run", "--prevalence", "3")


def test_runs_read_differently_are_not_compared_unless_told_to() -> None:
    saved("written", BASE, {**MODEL, "mode": "generate", "max_length": 512, "temperature": 0.7})
    identity = {**MODEL, "max_length": 1024, "temperature": 0.0}
    write_json(Path("run/run_20260102_030405/identity.json"), identity)
    says = (
        "written and .*run.* were read differently: mode generate and score; max_length 512 and "
        r"1024; temperature 0.7 and 0. Evaluate both with the same --mode, --max-length, "
        r"--temperature, --engine, or add --ignore-mode-mismatch\."
    )
    over = "--ignore_mode_mismatch"
    asked = {
        compare: ["written", "run"],
        gate: ["run", "--reference", "written"],
        report: ["run", "--base", "written"],
    }
    for command, arguments in asked.items():
        with pytest.raises(EvaluationError, match=says):
            run(command, *arguments)
    assert "read differently: mode generate and score" in " ".join(
        run(compare, "written", "run", over, "--output", "page.html").output.split()
    )
    assert "Not read alike" in Path("page.html").read_text(encoding="utf-8")
    run(gate, "run", "--reference", "written", over)
    assert "written (read differently: mode generate and score" in numbers()["gate"]["reference"]
    run(report, "run", "--base", "written", over)
    assert "Base and model were read differently: mode generate and score" in page()


def test_the_page_says_which_run_stands_as_the_base_and_how_all_was_read() -> None:
    started = {"at": "2026-01-02T03:04:05+00:00", "git": {"commit": "c0ffee", "dirty": False},
               "packages": {"hsd": "1.0"}}  # fmt: skip
    update_manifest(Path("run/run_20260102_030405"), starts=[started])
    saved("other", BASE, {**MODEL, "max_length": 9})
    update_manifest(Path("other/run_20260102_030405"), prompt={"hash": "another"})
    run(report, "run", "--base", "other")
    assert "The base is other: prompt another; mode score, max_length 9." in page()
    assert "asked with different prompts" in page()
    known = numbers()["provenance"]
    assert (known["mode"], known["date"], known["code"]["commit"], known["packages"]["hsd"]) == (
        "score", "2026-01-02T03:04:05+00:00", "c0ffee", "1.0",
    )  # fmt: skip
    assert numbers()["base"]["asked"] == {
        "prompt": "another", "mode": "score", "max_length": 9, "temperature": None,
    }  # fmt: skip


def test_posts_are_quoted_in_a_copy_of_its_own_only() -> None:
    run(report, "run", "--with_text")
    assert WORSE[0].text in page("report_with_text.html")
    assert WORSE[0].text not in page()


def test_training_rows_may_be_named_where_the_run_does_not_know_them() -> None:
    rows = [{"text": f"{word} {n}", "label": label} for n in range(9)
            for word, label in (("rotten", "hate"), ("soup", "normal"))]  # fmt: skip
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(report, "run", "--train_file", "t.jsonl")
    assert len(numbers()["baselines"]) == 3
    assert numbers()["provenance"]["training_rows"] == "t.jsonl (as named)"


def test_runs_are_ranked_and_judged_together_on_one_page() -> None:
    Path("gate.toml").write_text("f1_margin = 0.1\n")
    said = run(compare, "base", "run", "--gate", "gate.toml", "--output", "page.html").output
    assert "Ranked by F1" in said
    html = Path("page.html").read_text(encoding="utf-8")
    assert "Leaderboard" in html
    assert "run against base" in html
    assert WORSE[0].text not in html
    board = json.loads(run(compare, "base", "run", "--rank", "f1", "--json").output)["leaderboard"]
    assert [one["name"] for one in board["standings"]] == ["run", "base"]
