"""One model on several sets from one load: each set is what it would be by itself."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from small_runs import jsonl

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, DataError, EvaluationError, PreflightError, Stopped
from hsd.evaluation.evaluate import evaluate, evaluate_sets
from hsd.io.json_reader import read_json
from hsd.io.run_identity import set_name
from hsd.report.predictions import PREDICTIONS
from jobs.evaluate import evaluate as command

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def posts(count: int, first: int = 0) -> list[dict[str, str]]:
    """Return rows of which no two say the same, every second one hate."""
    return [
        {
            "id": f"p{n}",
            "text": f"{chr(97 + n)} " + "they are all liars " * (n % 2) + "food " * (n % 3),
            "label": ("normal", "hate")[n % 2],
        }
        for n in range(first, first + count)
    ]


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    """Two files of posts; five of them are in both."""
    first = jsonl(tmp_path / "a.jsonl", posts(12))
    return [first, jsonl(tmp_path / "b.jsonl", posts(9, first=7))]


def configs(base: Path, files: list[Path], **settings: Any) -> list[EvalConfig]:
    given = {
        "model": {"name": str(base), "device": "cpu"},
        "output_dir": str(files[0].parent / "eval"),
        "prompt_template": "baseline",
        "batch_size": 4,
        "prefix_sharing": "on",
    }
    return [
        EvalConfig.model_validate(given | settings | {"data_file": str(file)}) for file in files
    ]


def timeless(folder: Path) -> str:
    """Return predictions.jsonl as it lies on the disk, but for the time that each row took."""
    text = (folder / PREDICTIONS).read_text(encoding="utf-8")
    return re.sub(r'"response_time": [\d.e-]+', "", text)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loads of a base, as they happen."""
    from hsd.evaluation import subject
    from hsd.model.base import load_base

    seen: list[str] = []
    monkeypatch.setattr(subject, "load_base", noted(seen, "", load_base))
    return seen


def noted(seen: list[str], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, each call of which adds the name to what was seen."""

    def call(*arguments: Any) -> Any:
        seen.append(name)
        return real(*arguments)

    return call


@pytest.mark.parametrize("mode", ["score", "generate"])
def test_from_one_load_each_set_is_bit_for_bit_what_it_is_alone(
    mode: str, tiny_llama: Path, sets: list[Path], loads: list[str]
) -> None:
    alone = str(sets[0].parent / "alone")
    apart = [
        evaluate(one) for one in configs(tiny_llama, sets, mode=mode, max_new_tokens=6,
                                         output_dir=alone)
    ]  # fmt: skip
    loads.clear()
    together = evaluate_sets(configs(tiny_llama, sets, mode=mode, max_new_tokens=6))
    assert len(loads) == 1
    for one, other in zip(apart, together, strict=True):
        assert timeless(one.folder) == timeless(other.folder)
        names = [{re.sub(r"\d{8}_\d{6}", "", f.name) for f in run.folder.iterdir()}
                 for run in (one, other)]  # fmt: skip
        assert names[0] == names[1], "each is a whole run"
        said = [read_json(run.folder / "manifest.json") for run in (one, other)]
        for part in ("model", "prompt", "answering", "data"):
            assert said[0][part] == said[1][part], part
    assert [run.folder.parent.name for run in together] == [set_name(str(file)) for file in sets]


def test_the_twin_is_checked_once_and_the_shared_prompt_computed_once_a_load(
    tiny_llama: Path, sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation import choose_engine

    seen: list[str] = []
    for name in ("check_twins_scores", "compute_prefix", "check_scores"):
        real = getattr(choose_engine, name)
        monkeypatch.setattr(choose_engine, name, noted(seen, name, real))
    evaluate_sets(configs(tiny_llama, sets))
    assert seen.count("check_twins_scores") == 1
    assert seen.count("check_scores") == 2, "the loaded model is checked on each set's own rows"
    prompts = {read_json(run)["answering"]["prefix_tokens"] for run in
               sets[0].parent.glob("eval/*/run_*/manifest.json")}  # fmt: skip
    assert seen.count("compute_prefix") == len(prompts)


def test_a_finished_set_is_skipped_and_the_model_loaded_only_for_what_is_left(
    tiny_llama: Path, sets: list[Path], loads: list[str]
) -> None:
    first = evaluate(configs(tiny_llama, sets)[0])
    both = evaluate_sets(configs(tiny_llama, sets))
    assert [run.skipped for run in both] == [True, False]
    assert both[0].folder == first.folder, "one that was evaluated alone is found where it is"
    loads.clear()
    again = evaluate_sets(configs(tiny_llama, sets))
    assert [run.skipped for run in again] == [True, True]
    assert [run.folder for run in again] == [run.folder for run in both]
    assert loads == []


def test_bad_rows_of_any_set_are_refused_before_the_model_is_loaded(
    tiny_llama: Path, sets: list[Path], loads: list[str]
) -> None:
    sets[1].write_text(sets[1].read_text() + '{"id": "x", "text": "no label at all"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl"):
        evaluate_sets(configs(tiny_llama, sets))
    assert loads == []
    assert not (sets[0].parent / "eval").exists()


def test_a_set_that_fails_leaves_the_one_before_whole_and_the_same_command_goes_on(
    tiny_llama: Path, sets: list[Path]
) -> None:
    def progress(done: int, total: int, what: str) -> None:
        if "b.jsonl" in what and done >= 4:
            raise EvaluationError("the second set broke")

    asked = configs(tiny_llama, sets)
    with pytest.raises(EvaluationError, match="second set broke"):
        evaluate_sets(asked, progress)
    first, second = evaluate_sets(asked)
    assert (first.skipped, second.skipped) == (True, False)
    assert len(second.predictions) == 9


def test_a_stop_says_which_set_it_was_in(tiny_llama: Path, sets: list[Path]) -> None:
    import os
    import signal

    def progress(done: int, total: int, what: str) -> None:
        if "b.jsonl" in what and done == 4:
            os.kill(os.getpid(), signal.SIGUSR2)

    with pytest.raises(Stopped) as stopped:
        evaluate_sets(configs(tiny_llama, sets), progress)
    assert str(stopped.value) == (
        f"{sets[1]} rows, set 2 of 2: answered 4 of 9 rows; run the same command again to go on."
    )


def test_one_file_under_two_names_is_refused(
    tiny_llama: Path, sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sets[0].parent)
    for names, said in {
        ("a.jsonl", "./a.jsonl"): "'a.jsonl' and './a.jsonl' is one file",
        ("a.jsonl", "a.jsonl"): "'a.jsonl' twice is one file",
        ("embedded", "embedded:test"): "'embedded' and 'embedded:test' is one file",
    }.items():
        asked = [one.model_copy(update={"data_file": name}) for one, name in
                 zip(configs(tiny_llama, sets), names, strict=True)]  # fmt: skip
        with pytest.raises(ConfigError, match=re.escape(f"data_file: {said}")):
            evaluate_sets(asked)


def test_two_files_of_one_name_have_folders_of_their_own(tiny_llama: Path, tmp_path: Path) -> None:
    files = [jsonl(tmp_path / place / "test.jsonl", posts(6)) for place in ("one", "two")]
    runs = evaluate_sets(configs(tiny_llama, files, output_dir=str(tmp_path / "eval")))
    assert len({run.folder.parent for run in runs}) == 2


def test_the_folder_of_one_evaluation_holds_no_second_set(
    tiny_llama: Path, sets: list[Path], loads: list[str]
) -> None:
    first = evaluate(configs(tiny_llama, sets)[0]).folder
    loads.clear()
    with pytest.raises(PreflightError, match="data_file"):
        evaluate_sets(configs(tiny_llama, sets, output_dir=str(first)))
    assert loads == []


def test_the_command_prints_a_row_for_each_set_and_what_they_share(
    tiny_llama: Path, sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = [f"--model_name={tiny_llama}", *(f"--data_file={file}" for file in sets)]
    asked += [f"--output_dir={sets[0].parent / 'eval'}", "--prompt_template=baseline"]
    done = CliRunner().invoke(command, asked, standalone_mode=False)
    assert done.return_value == 0, done.output
    assert re.search(r"\n a +\d\.\d{3}", done.stdout)
    assert re.search(r"\n b +\d\.\d{3}", done.stdout)
    assert "12 posts" in done.stdout
    assert "a and b share 5 posts: a table of both counts them twice." in done.stdout
    assert max(map(len, done.stdout.partition("Written")[0].splitlines())) <= 80
    assert done.stdout.count("Written: ") == 2


def test_with_base_a_load_serves_both_on_every_set(
    tiny_llama: Path, sets: list[Path], loads: list[str], tmp_path: Path
) -> None:
    from small_runs import config as training

    from hsd.training.training_run import train

    trained = training(tiny_llama, tmp_path / "train", training={"epochs": 1})
    train(trained)
    loads.clear()
    asked = [f"--model_name={trained.output_dir}", *(f"--data_file={file}" for file in sets)]
    asked += [f"--output_dir={tmp_path / 'eval'}", "--with_base", "--set=model.device=cpu"]
    done = CliRunner().invoke(command, asked, standalone_mode=False)
    assert done.return_value == 0, done.output
    assert len(loads) == 1
    assert len(list(tmp_path.glob("eval/*/run_*/done.json"))) == 2
    assert len(list(tmp_path.glob("eval/*/base/run_*/done.json"))) == 2
    assert "AUROC by set" in done.stdout
    for report in tmp_path.glob("eval/*/run_*/report.json"):
        numbers = json.loads(report.read_text())
        assert numbers["seen_in_training"] is not None, "posts that were learned, set by set"
        assert numbers["base"]["comparison"]["n"] == numbers["headline"]["n"]
