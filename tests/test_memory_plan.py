"""`hsd plan`: what it says of a training, from a config.json or a whole base, without weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import tiny
from click.testing import CliRunner, Result
from transformers import GptOssConfig, LlamaConfig

from benchmarks import plan_memory
from hsd.config.train_config import DataConfig, LoraConfig, TrainConfig, TrainingConfig
from hsd.errors import HsdError
from hsd.training.fit import changes_that_fit
from hsd.training.planned_devices import PlannedDevices
from hsd.training.run_plan import RunPlan, plan_run
from jobs.cli import hsd
from jobs.terminal.plan_tables import _of, _range, plan_json

pytestmark = pytest.mark.model

CPU = PlannedDevices(1, 8, is_gpu=False)
GPU = PlannedDevices(1, 80, is_gpu=True)
MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A folder with nothing but the config.json of a Llama of a billion parameters."""
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, vocab_size=32_000,
        num_attention_heads=32, num_key_value_heads=8,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


@pytest.fixture
def gpt_oss_20b(tmp_path: Path) -> Path:
    """A folder with nothing but the config.json of gpt-oss-20b."""
    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    config.quantization_config = MXFP4
    config.save_pretrained(tmp_path / "gpt-oss-20b")
    return tmp_path / "gpt-oss-20b"


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(hsd, ["plan", *arguments], standalone_mode=False)


def refusal(*arguments: str) -> HsdError:
    error = asked(*arguments).exception
    assert isinstance(error, HsdError)
    return error


def answer(*arguments: str) -> dict[str, Any]:
    result = asked(*arguments, "--json")
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def of_base(folder: Path, devices: PlannedDevices = CPU, **training: Any) -> RunPlan:
    config = TrainConfig.model_validate(
        {
            "model": {"name": str(folder)},
            "lora": LoraConfig(rank=8),
            "data": DataConfig(train_file="embedded", validation_file=None),
            "prompt": {"template": "baseline", "strategy": "standard"},
            "training": TrainingConfig(**training),
        }
    )
    return plan_run(config, devices)


def test_a_config_json_is_enough_for_a_plan(dense: Path) -> None:
    for given in (dense, dense / "config.json"):
        found = answer("--model", str(given), "--gpus", "4x24")
        assert found["devices"]["count"] == 4
        assert found["fits"] == "yes"
        assert found["training_gb"]["total"] == pytest.approx(found["need_gb"], abs=0.01)
        assert "as the base has no tokenizer here" in found["assumptions"][1]


UNPACKED = ("--set", "model.quantization=none")


def test_gpt_oss_is_planned_packed_unless_it_is_to_be_unpacked(gpt_oss_20b: Path) -> None:
    unpacked = answer("--model", str(gpt_oss_20b), "--gpus", "1x24", *UNPACKED)
    packed = answer("--model", str(gpt_oss_20b), "--gpus", "1x24")
    assert (unpacked["weights"], unpacked["fits"]) == ("dequantized", "no")
    assert unpacked["training_gb"]["base weights"] == pytest.approx(41.8, rel=0.01)
    assert (packed["weights"], packed["fits"]) == ("packed", "yes")
    assert packed["training_gb"]["base weights"] == pytest.approx(13.8, rel=0.01)


def test_a_training_that_does_not_fit_ends_with_exit_code_3(gpt_oss_20b: Path) -> None:
    refused = asked("--model", str(gpt_oss_20b), "--gpus", "1x24", *UNPACKED)
    assert refused.return_value == 3
    assert "It does not fit" in refused.output


def test_the_tables_say_what_is_an_estimate_and_by_which_formula(dense: Path) -> None:
    said = " ".join(asked("--model", str(dense), "--gpus", "1x80").output.split())
    for words in (
        "base weights", "optimiser (AdamW)", "KV cache of a batch", "time (estimate)",
        "Estimate: steps x (2 x active parameters x tokens", "Assumed: 2 passes",
        "the same without sharing prompts", "Assumed rows: 10,000", "It fits:",
    ):  # fmt: skip
        assert words in said, words


def test_what_would_make_a_training_fit_is_named_with_what_it_would_need(
    gpt_oss_20b: Path, dense: Path
) -> None:
    refused = answer("--model", str(gpt_oss_20b), "--gpus", "1x24", *UNPACKED)
    assert refused["would_fit"] == ["model.quantization=nf4 (about 16.0 GB)"]
    assert "would fit with model.quantization=nf4 (about" in " ".join(
        asked("--model", str(gpt_oss_20b), "--gpus", "1x24", *UNPACKED).output.split()
    )
    tight = of_base(dense, PlannedDevices(1, 8.0, is_gpu=False), gradient_checkpointing=False)
    assert tight.need_gb > 8.0
    ways = " ".join(changes_that_fit(tight))
    assert "training.gradient_checkpointing=true (about " in ways
    assert "training.batch_size=1 and training.accumulation=16 (about " in ways
    assert answer("--model", str(dense), "--gpus", "1x80")["would_fit"] == []


def test_what_only_may_fit_says_so_and_a_smaller_rank_is_named_for_experts(
    gpt_oss_20b: Path,
) -> None:
    experts = ("--set", "lora.target_modules=experts", "--set", "lora.dropout=0")
    asked_for = ("--model", str(gpt_oss_20b), *UNPACKED, *experts, "--set", "lora.rank=512")
    large = answer(*asked_for, "--gpus", "1x80")
    small = answer(*asked_for[:-1], "lora.rank=256", "--gpus", "1x80")["need_gb"]
    assert small < large["need_gb"]
    for memory, doubt in ((small * 1.01, ", so it may fit"), (small * 1.13, "")):
        ways = answer(*asked_for, "--gpus", f"1x{memory:.3f}")["would_fit"]
        assert f"lora.rank=256 (about {small:.1f} GB{doubt})" in ways


def test_two_sizes_that_differ_are_not_shown_as_equal_and_a_range_has_two_ends() -> None:
    assert [_of(8.0004, 8.0), _of(7.5, 8.0), _of(8.0, 8.0)] == [
        "8.0004 of 8.0000",
        "7.50 of 8.00",
        "8.00 of 8.00",
    ]
    assert _range("less than a minute", "less than a minute") == "less than a minute"
    assert _range("1 min", "2 min") == "1 min to 2 min"


def test_a_plan_with_dora_says_that_its_slowness_is_not_counted(dense: Path) -> None:
    asked_for = ("--model", str(dense), "--gpus", "1x80")
    assert "DoRA" not in answer(*asked_for)["assumptions"][0]
    assert "DoRA is slower" in answer(*asked_for, "--set", "lora.use_dora=true")["assumptions"][0]


def test_a_gpu_is_planned_with_flex_attention_and_a_cpu_without(gpt_oss_20b: Path) -> None:
    flex, eager = (
        answer("--model", str(gpt_oss_20b), "--gpus", "1x80", *more)
        for more in ((), ("--set", "model.attention=eager"))
    )
    assert flex["training_gb"]["total"] < eager["training_gb"]["total"]
    assert flex["evaluation_gb"] == eager["evaluation_gb"]  # which takes no flex by itself
    assert flex["assumptions"][2] == (
        "Assumed: flex attention, where a short test at the start of a training finds it right; "
        "else eager, which needs more memory."
    )
    assert len(eager["assumptions"]) == 2
    assert of_base(gpt_oss_20b, CPU).base.how.shape.eager


def test_profiles_are_compared_with_the_memory_of_their_gpus(gpt_oss_20b: Path) -> None:
    found = answer("--model", str(gpt_oss_20b), "--gpus", "1x24")
    fits = {one["name"]: one["fits"] for one in found["profiles"]}
    assert fits["a100x1"] == fits["a100x4"] == "yes"
    assert "local" not in fits  # it has no GPUs of its own to ask for


def test_a_cluster_gives_its_own_devices(dense: Path) -> None:
    devices = answer("--model", str(dense), "--cluster", "a100x4")["devices"]
    assert (devices["count"], devices["memory_gb"]) == (4, 80)


def test_gpus_and_a_cluster_are_one_choice(dense: Path) -> None:
    refused = asked("--model", str(dense), "--gpus", "1x24", "--cluster", "a100x1")
    assert isinstance(refused.exception, click.UsageError)


def test_more_gpus_take_fewer_steps_and_the_same_memory(dense: Path) -> None:
    one, four = (answer("--model", str(dense), "--gpus", n) for n in ("1x24", "4x24"))
    assert four["steps"] < one["steps"] / 3
    assert four["need_gb"] == one["need_gb"]


def test_twice_the_rows_are_twice_the_steps(dense: Path) -> None:
    few, many = (
        answer("--model", str(dense), "--gpus", "1x24", "--rows", n) for n in ("1600", "3200")
    )
    assert many["steps"] == 2 * few["steps"]


def test_an_unknown_target_is_refused_with_the_known_ones(dense: Path) -> None:
    setting = 'lora.target_modules=["q_prj"]'
    refused = refusal("--model", str(dense), "--gpus", "1x24", "--set", setting)
    assert refused.exit_code == 11
    assert "Did you mean 'q_proj'?" in str(refused)


@pytest.mark.parametrize("family", [tiny.llama, tiny.gpt_oss], ids=["llama", "gpt_oss"])
def test_a_plan_of_real_rows_is_the_runs_own(
    family: Callable[[Path], Path], tmp_path: Path
) -> None:
    plan = of_base(family(tmp_path))
    assert plan.rows_note.startswith("Rows: the ")
    assert plan.schedule.rows > 100
    assert plan.step.prefix > 0
    assert plan.step.tokens < plan.step.tokens_unshared
    assert plan_json(plan, [])["fits"] == "yes"


def test_without_sharing_nothing_is_shared(tmp_path: Path) -> None:
    plan = of_base(tiny.llama(tmp_path), prefix_sharing="off")
    assert (plan.step.prefix, plan.step.gain) == (0, 1.0)
    assert plan.step.tokens == plan.step.tokens_unshared


def test_recomputing_takes_less_memory_and_more_time(dense: Path) -> None:
    plain, again = (of_base(dense, gradient_checkpointing=on) for on in (False, True))
    assert again.training.tensors_gb < plain.training.tensors_gb
    assert again.time.passes > plain.time.passes


def test_a_file_of_rows_that_is_not_here_is_replaced_by_embedded_posts(tmp_path: Path) -> None:
    data = DataConfig(train_file=str(tmp_path / "later.jsonl"))
    config = TrainConfig.model_validate(
        {
            "model": {"name": str(tiny.llama(tmp_path / "base"))},
            "data": data,
            "prompt": {"template": "baseline", "strategy": "standard"},
        }
    )
    plan = plan_run(config, GPU)
    assert plan.rows_note.startswith("Assumed rows: 10,000 with the lengths of the embedded posts")
    assert plan.schedule.rows == 10_000


@pytest.mark.parametrize(
    "name",
    [
        "tiny gpt-oss",
        "tiny gpt-oss, prefix once a step",
        "tiny gpt-oss, recomputed, prefix once a step",
    ],
)
def test_a_training_takes_the_memory_that_was_planned(name: str) -> None:
    case = plan_memory.CASES[name]
    assert plan_memory.planned_gb(case) == pytest.approx(
        plan_memory.measured(case)["allocated"], rel=0.1
    )


@pytest.mark.parametrize(
    ("devices", "passes"),
    [
        (PlannedDevices(1, 80.0, is_gpu=True), 2),
        (PlannedDevices(1, 1.0, is_gpu=True), 3),
        (PlannedDevices(1, None, is_gpu=True), 3),  # a rehearsal decides, the plan is careful
        (PlannedDevices(1, 64.0, is_gpu=False), 2),
        (PlannedDevices(1, None, is_gpu=False), 2),
        (PlannedDevices(1, 0.01, is_gpu=False), 3),
    ],
)
def test_activations_are_planned_to_be_kept_where_they_fit(
    devices: PlannedDevices, passes: int, dense: Path
) -> None:
    assert of_base(dense, devices).time.passes == passes
