"""One adapter that is asked in two ways, from its rows to its merged model, by the commands."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_runs import jsonl, posts

from hsd.io.json_reader import read_json
from hsd.prompts.contract import load_contract
from jobs.evaluate import evaluate
from jobs.merge import merge
from jobs.prepare import prepare
from jobs.terminal.options import Command
from jobs.train import train

pytestmark = [pytest.mark.model, pytest.mark.e2e]

STRATEGIES = ("standard", "conservative")


def called(command: Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on eight posts, each asked with both strategies."""
    folder = tmp_path_factory.mktemp("two_ways")
    file = jsonl(folder / "posts.jsonl", [post | {"split": "train"} for post in posts(8)])
    ways = [part for name in STRATEGIES for part in ("--strategy", name)]
    done = called(
        prepare, "--source", f"table:{file}", "--output_dir", folder / "prepared",
        "--template", "baseline", "--id_column", "id", "--splits", "new", *ways,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    learned = folder / "prepared" / "train.jsonl"
    settings = {
        "model.name": tiny_llama, "model.device": "cpu", "data.train_file": learned,
        "data.validation_file": "null", "training.epochs": 2, "training.warmup_steps": 0,
        "training.learning_rate": 0.02, "training.prefix_sharing": "on",
    }  # fmt: skip
    changes = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    done = called(train, "--config", "quick_test", *changes, "--output_dir", folder / "run")
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_each_strategy_is_a_prefix_of_its_own(run: Path) -> None:
    shared = read_json(run / "manifest.json")["prefix_sharing"]
    assert shared["shared"]
    assert len(shared["prefix_tokens"]) == 2
    contract = load_contract(run)
    assert contract is not None
    assert tuple(contract.strategies) == STRATEGIES


@pytest.mark.parametrize(("asked", "answered"), [(None, "standard"), ("conservative",) * 2])
def test_it_is_judged_as_it_was_asked_with_the_first_unless_another_is_named(
    run: Path, asked: str | None, answered: str, tmp_path: Path
) -> None:
    rows = jsonl(tmp_path / "judged.jsonl", posts(4, first=100))
    named = ["--strategy", asked] if asked else []
    done = called(
        evaluate,
        "--model_name",
        run,
        "--data_file",
        rows,
        "--output_dir",
        tmp_path / "eval",
        *named,
    )
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "eval").iterdir()
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["strategy"] for line in lines} == {answered}
    assert read_json(folder / "manifest.json")["prompt"]["strategy"] == answered


def test_the_merged_model_knows_both_ways(run: Path, tmp_path: Path) -> None:
    done = called(merge, "--adapter_path", run, "--output_dir", tmp_path / "merged")
    assert done.exit_code == 0, done.output
    trained, carried = load_contract(run), load_contract(tmp_path / "merged")
    assert trained is not None
    assert carried is not None
    assert (carried.hash, tuple(carried.strategies)) == (trained.hash, STRATEGIES)
