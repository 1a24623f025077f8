"""The baseline learns from the adapter's own training posts, or says why it cannot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
from present import present
from small_runs import posts

from hsd.config.evaluate_config import EvalConfig
from hsd.data.prepare import prepare
from hsd.data.prepared_data import preparation
from hsd.errors import PreflightError
from hsd.evaluation.evaluate import evaluate_with_base
from hsd.evaluation.evaluation_plan import plan_evaluation as prepare_evaluation
from hsd.io.manifest import update_manifest
from hsd.training.training_posts import training_posts, training_posts_of_run
from hsd.training.training_run import train

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run of one step; nobody writes into its folder."""
    settings = small_runs.config(
        tiny_llama, tmp_path_factory.mktemp("learned"), training={"max_steps": 1}
    )
    return train(settings).folder


def test_the_posts_of_the_run_are_read_again(run: Path) -> None:
    found, note = training_posts(run)
    training = present(found)
    assert note == ""
    assert training.origin == "train.jsonl, 11 posts"
    assert list(zip(training.texts, training.labels, strict=True)) == [
        (row["text"], row["label"]) for row in posts(11)
    ]


def test_a_training_file_that_changed_or_went_is_not_taken(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = train(small_runs.config(tiny_llama, tmp_path, training={"max_steps": 1})).folder
    file = tmp_path / "train.jsonl"
    file.write_text(file.read_text() + "\n")
    assert training_posts(folder) == (None, f"its training file {file} has changed since")
    file.unlink()
    assert training_posts(folder) == (None, f"its training file {file} is no longer there")


def test_a_model_without_a_training_run_says_so(tmp_path: Path) -> None:
    assert training_posts(None)[1] == "the model is no adapter with a training run of its own"
    assert training_posts(tmp_path)[1] == f"{tmp_path} does not say what it was trained on"
    gone = tmp_path / "gone"
    assert training_posts(gone)[1] == f"{gone} is no folder here; run this where the evaluation ran"
    assert training_posts_of_run({"model": {"name": "tiny"}})[0] is None


@pytest.mark.parametrize(
    "part", [{"learned_from": {"file": 3}}, {"init_from": {"folder": 3}}, {"learned_from": "a"}]
)
def test_an_odd_manifest_is_told_before_a_row_is_answered(
    run: Path, tmp_path: Path, part: dict[str, Any]
) -> None:
    odd = shutil.copytree(run, tmp_path / "odd")
    update_manifest(odd, **part)
    config = EvalConfig.model_validate({"model": {"name": str(odd)}, "data_file": "embedded"})
    with pytest.raises(PreflightError, match=rf"manifest\.json: {next(iter(part))}: expected a"):
        prepare_evaluation(config)
    assert training_posts(odd)[0] is None


def test_posts_are_told_from_the_chats_of_hsd_prepare(tiny_llama: Path, tmp_path: Path) -> None:
    unified = tmp_path / "unified"
    small_runs.jsonl(unified / "train.jsonl", posts(8))
    prepare(
        preparation(unified, [], tmp_path / "prepared", [], template="baseline",
                    strategies=["standard"]),
    )  # fmt: skip
    settings = small_runs.config(
        tiny_llama,
        tmp_path,
        validation=0,
        data={"train_file": str(tmp_path / "prepared/train.jsonl")},
        training={"max_steps": 1},
    )
    training, note = training_posts(train(settings).folder)
    assert note == ""
    assert set(present(training).texts) == {row["text"].strip() for row in posts(8)}


def test_an_evaluation_reports_beside_tfidf_and_the_base(
    run: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    file = small_runs.jsonl(tmp_path / "test.jsonl", posts(12, first=500))
    config: Callable[..., Any] = EvalConfig.model_validate
    found = evaluate_with_base(
        config({"model": {"name": str(run), "device": "cpu"}, "data_file": str(file),
                "output_dir": str(tmp_path / "eval")})
    )  # fmt: skip
    base, adapter = (json.loads((f.folder / "report.json").read_text()) for f in found)
    assert [b["name"] for b in adapter["baselines"]][2:] == [
        "TF-IDF + logistic regression (11 training rows)"
    ]
    assert adapter["base"]["metrics"] == base["headline"]
    assert len(base["baselines"]) == 2
    # Their numbers aside, these posts are those of the training file.
    assert (adapter["seen_in_training"], base["seen_in_training"]) == (12, None)
    assert "no adapter with a training run" in base["provenance"]["training_rows"]
