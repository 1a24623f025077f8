"""A sweep of two presets for a fake SLURM that starts nothing."""

import json
from pathlib import Path

import pytest
import small_runs
from fake_cluster import Fake

PROFILE = """
shared_root = "runs"
[slurm]
account = "hsd"
{more}
"""
SWEEP = """
name = "{name}"
presets = ["a.json", "b.json"]
{more}
[evaluate]
sets = ["test.jsonl"]
"""
PREDICT = ("predict", "posts.jsonl", "--model-name", "base", "--output", "scores.csv")
"""What `hsd submit` is given to label a file of posts."""


@pytest.fixture
def sweep_bench(fake: Fake) -> None:
    """Make a sweep of two presets, its rows, a base that looks whole, and a profile."""
    fake.fault(slots=0)
    base = base_folder()
    small_runs.jsonl(Path("test.jsonl"), small_runs.posts(4))
    for name, rank in (("a", 4), ("b", 8)):
        config = small_runs.config(base.absolute(), Path.cwd(), lora={"rank": rank})
        tree = config.model_dump(mode="json")
        tree.pop("output_dir")
        Path(f"{name}.json").write_text(json.dumps(tree))
    profile()
    sweep()


@pytest.fixture
def predict_bench(fake: Fake) -> None:
    """Make the rows of `PREDICT`, a base that looks whole, and a profile."""
    fake.fault(slots=0)
    small_runs.jsonl(Path("posts.jsonl"), small_runs.posts(4))
    base_folder()
    profile()


def base_folder(name: str = "base") -> Path:
    """Make a folder that looks like a whole base, and return it."""
    base = Path(name)
    base.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (base / file).write_text("{}")
    return base


def adapter_folder(name: str, base: str) -> Path:
    """Make a folder that looks like an adapter on a base, and return it."""
    adapter = Path(name)
    adapter.mkdir(parents=True)
    said = {"peft_type": "LORA", "base_model_name_or_path": base}
    (adapter / "adapter_config.json").write_text(json.dumps(said))
    (adapter / "adapter_model.safetensors").write_text("{}")
    return adapter


def profile(more: str = "") -> None:
    """Write the profile, with `more` lines in [slurm] and behind it."""
    Path("here.toml").write_text(PROFILE.format(more=more))


def sweep(more: str = "", name: str = "pair") -> None:
    """Write the sweep, with `more` lines before [evaluate]."""
    Path("pair.toml").write_text(SWEEP.format(name=name, more=more))


ON = ("pair.toml", "--cluster", "here.toml")
RUN = Path("runs/pair")
