"""A base whose prompt and answer meet within a token: trained and asked alike."""

from pathlib import Path
from typing import Any

import pytest
import small_runs

from hsd.config.evaluate_config import EvalConfig
from hsd.io.json_reader import read_json

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def run(tiny_thinker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that learned from rows that share their prompt, which training checked."""
    from hsd.training.training_run import train

    folder = tmp_path_factory.mktemp("thinker")
    how = {"prefix_sharing": "on", "max_steps": 2}
    return train(small_runs.config(tiny_thinker, folder, validation=0, training=how)).folder


def evaluated(run: Path, folder: Path, mode: str) -> Any:
    from hsd.evaluation.evaluate import evaluate

    file = small_runs.jsonl(folder / "posts.jsonl", small_runs.posts(3, first=2000))
    asked = {"model": {"name": str(run), "device": "cpu"}, "data_file": str(file), "mode": mode}
    more = {"output_dir": folder / mode, "prefix_sharing": "on", "max_new_tokens": 6}
    return evaluate(EvalConfig.model_validate(asked | more))


@pytest.mark.parametrize("mode", ["score", "generate"])
def test_such_a_base_learns_and_answers_behind_a_shared_prompt(
    mode: str, run: Path, tmp_path: Path
) -> None:
    found = evaluated(run, tmp_path, mode)
    assert len(found.predictions) == 3
    assert read_json(found.folder / "manifest.json")["answering"]["shared"]
    assert read_json(run / "manifest.json")["prefix_sharing"]["shared"]


def test_a_run_says_in_what_the_base_is_asked_otherwise(run: Path, tmp_path: Path) -> None:
    said = r"the base's chat template ends its prompt with '\n'"
    assert said in (run / "training.log").read_text(encoding="utf-8")
    folder = evaluated(run, tmp_path, "score").folder
    assert said in read_json(folder / "manifest.json")["prompt"]["note"]
    (log,) = folder.glob("validation_log_*.log")
    (report,) = folder.glob("evaluation_report_*.txt")
    for file in (log, report):
        assert said in file.read_text(encoding="utf-8")
    assert "is left out, so the untouched base" in (folder / "report.html").read_text("utf-8")


def test_a_base_that_is_asked_as_its_makers_ask_it_has_no_such_note(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    file = small_runs.jsonl(tmp_path / "posts.jsonl", small_runs.posts(2))
    asked = {"model": {"name": str(tiny_llama), "device": "cpu"}, "data_file": str(file)}
    more = {"prompt_template": "baseline", "mode": "score", "output_dir": tmp_path / "eval"}
    folder = evaluate(EvalConfig.model_validate(asked | more)).folder
    assert set(read_json(folder / "manifest.json")["prompt"]) == {"template", "strategy", "hash"}
