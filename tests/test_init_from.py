"""A run that goes on from another run's adapter: what it takes, refuses, records."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import small_runs
from safetensors.torch import load_file
from small_runs import jsonl, posts

from hsd.errors import DataError, HsdError, PreflightError
from hsd.io.json_reader import read_json
from hsd.io.manifest import MANIFEST, update_manifest
from hsd.training.training_posts import training_posts
from hsd.training.training_run import train

pytestmark = pytest.mark.model

STEP = {"max_steps": 1, "epochs": 1}


@pytest.fixture(scope="module")
def first(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on posts 0 to 10; nobody writes into its folder."""
    return train(small_runs.config(tiny_llama, tmp_path_factory.mktemp("first"))).folder


def then(base: Path, folder: Path, first: Path, numbers: int = 100, **parts: Any) -> Any:
    """Return a run on other posts that goes on from the first one's adapter."""
    training = {"init_from": str(first)} | STEP | parts.pop("training", {})
    config = small_runs.config(base, folder, training=training, **parts)
    jsonl(folder / "train.jsonl", posts(6, first=numbers))
    return config


def test_a_run_starts_from_the_very_weights_that_it_goes_on_from(
    first: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    still = {"learning_rate": 1e-12, "weight_decay": 0.0}
    second = train(then(tiny_llama, tmp_path, first, training=still)).folder
    old, new = (load_file(run / "adapter_model.safetensors") for run in (first, second))
    assert old.keys() == new.keys()
    assert max(float((old[name] - new[name]).abs().max()) for name in old) < 1e-9


def test_what_both_runs_learned_counts_as_learned(
    first: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    second = train(then(tiny_llama, tmp_path, first)).folder
    training, note = training_posts(second)
    assert (note, training is not None) == ("", True)
    assert training is not None
    assert set(training.texts) == {row["text"] for row in [*posts(11), *posts(6, first=100)]}
    recorded = read_json(second / MANIFEST)["init_from"]
    assert (recorded["folder"], recorded["posts"]) == (str(first), 11)
    moved = shutil.copytree(first, tmp_path / "moved")
    again = train(then(tiny_llama, tmp_path, moved))  # the same weights elsewhere: the same run
    assert again.skipped


def test_an_adapter_that_changed_since_leaves_the_posts_unknown(
    first: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(first, tmp_path / "own")
    second = train(then(tiny_llama, tmp_path, own)).folder
    shutil.copy(second / "adapter_model.safetensors", own / "adapter_model.safetensors")
    assert training_posts(second) == (None, f"{own}, which it went on from, has changed since")


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ({"lora": {"rank": 2}}, PreflightError, "rank is 4 there and 2 here"),
        ({"lora": {"target_modules": ["q_proj"]}}, PreflightError, "target_modules are q_proj, v_"),
        ({"prompt": {"strategy": "conservative"}}, PreflightError, "was trained with another prom"),
    ],
)
def test_an_adapter_that_the_run_cannot_go_on_from_is_refused_before_anything_is_written(
    first: Path, tiny_llama: Path, tmp_path: Path, parts: Any, error: type[HsdError], says: str
) -> None:
    config = then(tiny_llama, tmp_path, first, **parts)
    with pytest.raises(error, match=says):
        train(config)
    assert not config.output_dir.exists()


def test_a_validation_post_that_the_first_run_learned_is_refused(
    first: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    config = then(tiny_llama, tmp_path, first)
    jsonl(tmp_path / "validation.jsonl", posts(2, first=5))
    with pytest.raises(DataError, match=r"validation row p5 has the same post as one that .*first"):
        train(config)


def test_validation_posts_that_cannot_be_compared_are_said_on_the_terminal_and_in_the_log(
    first: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    own, said = shutil.copytree(first, tmp_path / "own"), list[str]()
    manifest = read_json(own / MANIFEST)
    gone = manifest["learned_from"] | {"file": str(tmp_path / "gone.jsonl")}
    update_manifest(own, learned_from=gone)
    second = train(then(tiny_llama, tmp_path, own), say=said.append).folder
    (note,) = (line for line in said if line.startswith("training.init_from: no validation post"))
    assert f"its training file {tmp_path}/gone.jsonl is no longer there." in note
    assert note in (second / "training.log").read_text()


def test_a_folder_that_is_no_adapter_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"holds no adapter \(adapter_config.json is missing"):
        train(then(tiny_llama, tmp_path, tiny_llama))


def test_groups_that_weigh_rows_are_a_part_of_the_run(tiny_llama: Path, tmp_path: Path) -> None:
    def config(group: str) -> Any:
        made = small_runs.config(
            tiny_llama,
            tmp_path,
            training={"objective": "label", "balance": "group", "max_steps": 1},
        )
        groups = [group] * 3 + ["lgbtq"] * 5
        told = [row | {"target_group": g} for row, g in zip(posts(8), groups, strict=True)]
        jsonl(tmp_path / "train.jsonl", told)
        return made

    train(config("mexican"))
    assert train(config("mexican")).skipped
    with pytest.raises(PreflightError, match="train.sha256"):
        train(config("lgbtq"))
