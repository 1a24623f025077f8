"""`hsd report`, `gate` and `threshold`: decisions live in the run's folder and reach its report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from posts import predictions

from hsd.errors import ConfigError, EvaluationError
from hsd.report.predictions import append_predictions
from hsd.runs import write_json
from jobs.compare import compare
from jobs.gate import gate
from jobs.report import report
from jobs.threshold import threshold

WORSE = predictions(
    "\n".join(["lgbtq n h .6"] * 30 + ["lgbtq n n .1"] * 70 + ["lgbtq h h .9"] * 100)
)
BASE = predictions(
    "\n".join(["lgbtq n n .3"] * 100 + ["lgbtq h h .8"] * 40 + ["lgbtq h n .4"] * 60)
)
MODEL = {"model": {"base": "tiny"}, "prompt_hash": "abc", "mode": "score"}


def saved(name: str, rows: list, identity: dict | None = None) -> Path:
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


def run(command: object, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def numbers(name: str = "run") -> dict:
    return json.loads((Path(name) / "run_20260102_030405" / "report.json").read_text())


def page(name: str = "report.html") -> str:
    return (Path("run/run_20260102_030405") / name).read_text(encoding="utf-8")


def test_a_verdict_is_words_an_exit_code_and_the_top_of_the_report() -> None:
    said = run(gate, "run", "--reference", "base")
    assert said.return_value == 20
    assert "FAIL: false positive rate rises by 0.300" in " ".join(said.output.split())
    assert numbers()["gate"]["status"] == "FAIL"
    assert '<div class="verdict fail"' in page()


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


def test_a_threshold_is_frozen_in_both_runs_and_reported() -> None:
    said = run(threshold, "validation", "run").output
    assert said.startswith("Threshold 0.7500, temperature ")
    at = numbers()["operating_point"]
    assert (at["metrics"]["f1"], at["point"]["rows"]) == (1.0, 200)
    assert "Frozen threshold 0.7500" in page()
    assert Path("validation/run_20260102_030405/operating_point.json").exists()


def test_a_frozen_threshold_is_not_chosen_again() -> None:
    run(threshold, "validation", "run")
    run(threshold, "validation", "run")  # the same choice is no other one
    with pytest.raises(EvaluationError, match=r"0\.7500 by max_f1 is frozen in this run"):
        run(threshold, "validation", "run", "--rule", "recall_at_precision", "--limit", "0.6")


def test_a_threshold_chosen_on_judged_posts_or_of_another_model_is_refused() -> None:
    saved("same", [replace(p, id=f"s{p.id}") for p in WORSE])
    with pytest.raises(EvaluationError, match="200 posts are in both runs"):
        run(threshold, "same", "run")
    saved("other", [replace(p, text=f"x{p.id}") for p in WORSE], {**MODEL, "prompt_hash": "d"})
    with pytest.raises(EvaluationError, match='different models: prompt_hash: "d" -> "abc"'):
        run(threshold, "other", "run")


def test_the_base_is_kept_in_the_run_once_named() -> None:
    run(report, "run", "--base", "base")
    assert numbers()["base"]["metrics"]["recall"] == 0.4
    run(report, "run")
    assert numbers()["base"] is not None


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
