import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from posts import predictions
from rich.console import Console

from hsd.errors import EvaluationError
from hsd.io.files import write_json, write_jsonl
from hsd.metrics.evaluation import summarize
from hsd.report.context import ReportContext
from hsd.report.evaluation_report import evaluation_report
from hsd.report.predictions import append_predictions
from jobs.compare import compare
from jobs.convergence import convergence
from jobs.terminal.number_tables import metrics_table
from jobs.terminal.options import Command

BASE = "\n".join(["lgbtq n n .2"] * 12 + ["mexican h n .4"] * 8 + ["mexican h refusal .3"] * 4)
ADAPTER = "\n".join(["lgbtq n h .6"] * 9 + ["lgbtq n n .1"] * 3 + ["mexican h h .9"] * 12)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two finished evaluations in the current folder, seen on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for name, table in {"base": BASE, "adapter": ADAPTER}.items():
        folder = Path(name) / "run_20260102_030405"
        append_predictions(folder / "predictions.jsonl", predictions(table))
        write_json(folder / "manifest.json", {"prompt": {"hash": f"{name}0123456789abcdef"}})


def invoke(command: Command, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("runs")
def test_golden_comparison(golden: Callable[[str, str], None]) -> None:
    lines = invoke(compare, "base", "adapter").splitlines()
    golden("compare.txt", "\n".join(line.rstrip() for line in lines) + "\n")


@pytest.mark.usefixtures("runs")
def test_golden_comparison_page(golden: Callable[[str, str], None]) -> None:
    invoke(compare, "base", "adapter", "--output", "page.md")
    golden("compare.md", Path("page.md").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("runs")
def test_json_on_the_terminal_is_the_json_file() -> None:
    said = json.loads(invoke(compare, "base", "adapter", "--json", "--output", "page.json"))
    assert said == json.loads(Path("page.json").read_text())
    (pair,) = said["comparisons"]
    assert (said["schema"], pair["n"]) == (3, 24)
    assert (len(pair["newly_broken"]), len(pair["newly_fixed"])) == (9, 12)
    assert pair["metrics"]["accuracy"]["difference"] == pytest.approx(3 / 24)
    assert said["prompts"]["base"].startswith("base")


@pytest.mark.usefixtures("runs")
def test_a_comparison_needs_two_runs_and_an_ending_it_knows() -> None:
    for arguments, says in {
        ("base",): "needs two runs",
        ("base", "base"): "named twice",
        ("base", "adapter", "--output", "page.txt"): "written as .html, .md or .json",
    }.items():
        with pytest.raises(EvaluationError, match=says):
            CliRunner().invoke(compare, arguments, catch_exceptions=False)


def test_group_names_cannot_speak_as_markup() -> None:
    console = Console(width=100)
    with console.capture() as seen:
        found = summarize(predictions("[red]x[/red] n h\na|b h h"))
        console.print(metrics_table(evaluation_report(found, {}, ReportContext())))
    assert "[red]x[/red]" in seen.get()


@pytest.mark.parametrize(("engine", "what"), [("hsd", "Replies"), ("imported", "Predictions")])
def test_an_imported_run_is_not_said_to_hold_replies(engine: str, what: str) -> None:
    console = Console(width=100)
    with console.capture() as seen:
        found = summarize(predictions("- n h\n- h h"))
        told = evaluation_report(found, {"engine": engine}, ReportContext())
        console.print(metrics_table(told))
    assert f"\n{what}: valid 100.0 %." in seen.get()


def test_convergence_prints_the_verdict_and_where_the_curves_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    losses = [1.0, 0.6, 0.5, 0.52, 0.56, 0.6]
    rows = [{"step": 100 * i, "eval_loss": loss} for i, loss in enumerate(losses, start=1)]
    write_jsonl(Path("train/metrics.jsonl"), rows)
    said = invoke(convergence, "train", "--patience", "2", "--output-dir", "curves")
    assert "overfitting: the validation loss was best at step 300" in said
    assert "Early stopping (patience 2 evaluations) would have fired at step 500." in said
    assert said.endswith("curves/convergence.png\ncurves/convergence.svg\n")
    numbers = json.loads(invoke(convergence, "train", "--json"))
    assert (numbers["status"], numbers["early_stop"]) == ("overfitting", None)
    assert numbers["files"] == ["train/convergence.png", "train/convergence.svg"]
