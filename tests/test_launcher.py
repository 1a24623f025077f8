"""What a launcher's environment asks for: refused where it splits the base, else not followed."""

import os
from pathlib import Path

import pytest
import small_runs

from hsd.errors import PreflightError
from hsd.io.json_reader import read_json
from hsd.io.stopping import LAUNCHERS
from hsd.model.launcher import DECIDED_BY, not_followed, require_whole_copies, unseen

pytestmark = pytest.mark.model

SPLIT = [
    ("ACCELERATE_USE_FSDP", "true", "FSDP"),
    ("ACCELERATE_USE_FSDP", "1", "FSDP"),  # transformers reads it so, accelerate does not
    ("FSDP_CPU_RAM_EFFICIENT_LOADING", "True", "FSDP"),
    ("ACCELERATE_USE_DEEPSPEED", "yes", "DeepSpeed"),
    ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM"),
    ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "a parallelism config"),
    ("PARALLELISM_CONFIG_TP_SIZE", "2", "a parallelism config"),
    ("PARALLELISM_CONFIG_DP_SHARD_SIZE", "4", "a parallelism config"),
]


@pytest.mark.parametrize(("name", "value", "what"), SPLIT)
def test_a_launcher_that_splits_the_base_is_refused_with_what_fits(
    name: str, value: str, what: str
) -> None:
    with pytest.raises(PreflightError) as error:
        require_whole_copies({name: value})
    said = str(error.value)
    assert said.startswith(f"{name}={value}: ")
    assert f"({what})" in said
    assert "whole copy on each GPU" in said
    assert "torchrun" in said
    assert "nf4" in said
    assert "\n" not in said


def test_a_launcher_that_splits_nothing_is_not() -> None:
    require_whole_copies({})
    require_whole_copies({name: "false" for name, _, what in SPLIT if "config" not in what})
    require_whole_copies({"PARALLELISM_CONFIG_TP_SIZE": "1", "ACCELERATE_USE_FSDP": ""})


@pytest.mark.parametrize(("name", "value", "what"), SPLIT)
def test_training_and_evaluation_refuse_it_before_they_read_anything(
    name: str, value: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate
    from hsd.training.training_run import train

    nowhere = tmp_path / "no base"
    config = small_runs.config(nowhere, tmp_path)
    judged = EvalConfig.model_validate(
        {"model": {"name": str(nowhere)}, "data_file": "no.jsonl", "output_dir": tmp_path / "eval"}
    )
    monkeypatch.setenv(name, value)
    for run in (lambda: train(config), lambda: evaluate(judged)):
        with pytest.raises(PreflightError, match=f"^{name}={value}"):
            run()
    assert not config.output_dir.exists()
    assert not judged.output_dir.exists()


@pytest.mark.parametrize(
    ("env", "own", "expected"),
    [
        ({}, "no", []),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, "no", []),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, "bf16", []),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "bf16", []),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "no", ["ACCELERATE_MIXED_PRECISION"]),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "bf16", ["ACCELERATE_MIXED_PRECISION"]),
        ({"ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_DYNAMO_MODE": "default"}, "no", []),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "no", ["ACCELERATE_DYNAMO_BACKEND"]),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"}, "no", []),
        (
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"},
            "no",
            ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"],
        ),
        ({"ACCELERATE_TORCH_DEVICE": "cuda:1"}, "no", ["ACCELERATE_TORCH_DEVICE"]),
    ],
)
def test_what_contradicts_the_config_is_named_and_nothing_else(
    env: dict[str, str], own: str, expected: list[str]
) -> None:
    assert list(not_followed(env, own)) == expected


def test_what_accelerate_launch_sets_by_itself_contradicts_nothing() -> None:
    from accelerate.commands.launch import launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    args = launch_command_parser().parse_args(["--multi_gpu", "--num_processes", "2", "x.py"])
    args.mixed_precision, args.dynamo_backend, args.num_machines = "no", "no", 1
    args.num_processes, args.num_cpu_threads_per_process = 2, 1
    env = prepare_multi_gpu_env(args)
    assert "ACCELERATE_DYNAMO_MODE" in LAUNCHERS
    assert "ACCELERATE_DYNAMO_MODE" in env
    require_whole_copies(env)
    assert not_followed(env, "bf16") == {}


def test_the_libraries_find_none_of_them_and_afterwards_they_are_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = ("ACCELERATE_DYNAMO_MODE", "ACCELERATE_FP8_FORMAT")
    for name in (*DECIDED_BY, *more):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    before = dict(os.environ)
    with unseen():
        assert before.keys() - os.environ.keys() == {*DECIDED_BY, *more}
    assert dict(os.environ) == before


SHORT = {"max_steps": 2, "warmup_steps": 0}


@pytest.fixture(scope="module")
def plain(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run without a launcher."""
    from hsd.training.training_run import train

    folder = tmp_path_factory.mktemp("plain")
    return train(small_runs.config(tiny_llama, folder, training=SHORT)).folder


@pytest.mark.parametrize(
    "env",
    [
        {"ACCELERATE_MIXED_PRECISION": "bf16"},
        {"ACCELERATE_MIXED_PRECISION": "fp16"},
        {"ACCELERATE_MIXED_PRECISION": "fp8", "ACCELERATE_FP8_BACKEND": "TE"},
        {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR", "ACCELERATE_DYNAMO_USE_FULLGRAPH": "true"},
        {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3", "ACCELERATE_DOWNCAST_BF16": "true"},
        {"ACCELERATE_TORCH_DEVICE": "meta"},
    ],
    ids=lambda env: next(iter(env)) + "=" + next(iter(env.values())),
)
def test_a_launchers_environment_changes_no_bit_of_an_adapter_and_is_said(
    env: dict[str, str],
    plain: Path,
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hsd.training.training_run import train

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    run = train(small_runs.config(tiny_llama, tmp_path, training=SHORT), say=said.append).folder
    assert small_runs.adapter_bytes(run) == small_runs.adapter_bytes(plain)
    manifest = read_json(run / "manifest.json")
    ignored = {name: value for name, value in env.items() if name in DECIDED_BY}
    assert manifest["launcher_not_followed"] == ignored
    assert manifest["mixed_precision"] == "no"
    (sentence,) = [s for s in said if "does not follow" in s]
    assert all(
        f"{name}={value} ({DECIDED_BY[name]})" in sentence for name, value in ignored.items()
    )
    assert sentence in (run / "training.log").read_text()
    assert read_json(plain / "manifest.json")["launcher_not_followed"] == {}
