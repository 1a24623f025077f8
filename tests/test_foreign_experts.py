"""Adapters of other programs on mixtures of experts: what was trained, or refused in a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

import tiny_families  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from test_foreign_adapters import (  # noqa: E402
    edited,
    loaded_base,
    logits,
    refused,
    reweighted,
    trained,
)
from transformers import AutoModelForCausalLM  # noqa: E402

from hsd.config.merge_config import MergeConfig  # noqa: E402
from hsd.model.adapter import load_adapter, without_adapter  # noqa: E402
from hsd.model.merge import merge  # noqa: E402

RANK, ALPHA, SIZES = 4, 8, {"gate_proj": (64, 48), "up_proj": (64, 48), "down_proj": (48, 64)}
BOTH = ["experts.gate_up_proj", "experts.down_proj"]
FUSED: dict[str, dict[str, Any]] = {
    "both": {"target_parameters": BOTH},
    "one, and layers": {"target_parameters": ["experts.down_proj"], "target_modules": ["q_proj"]},
    "scaled": {
        "target_parameters": BOTH,
        "use_rslora": True,
        "rank_pattern": {"experts.down_proj": 2},
        "alpha_pattern": {".*gate_up_proj": 3.5},
    },
}


@pytest.fixture(scope="module")
def tiny_moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Qwen3 with experts; nobody writes into it."""
    return tiny_families.qwen3_moe(tmp_path_factory.mktemp("tiny") / "moe")


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")
@pytest.mark.parametrize("base", ["tiny_gpt_oss", "tiny_moe"])
@pytest.mark.parametrize("settings", FUSED.values(), ids=FUSED)
def test_an_adapter_on_fused_experts_is_what_was_trained(
    base: str, settings: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(base)
    adapter, expected = trained(folder, tmp_path / "a", **({"target_modules": []} | settings))
    model = load_adapter(loaded_base(folder), adapter)
    assert torch.allclose(logits(model), expected, atol=1e-5)
    with without_adapter(model):
        assert torch.allclose(logits(model), logits(loaded_base(folder).model), atol=1e-6)
    merge(MergeConfig(adapter_path=adapter, output_dir=tmp_path / "merged", device="cpu"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    assert torch.allclose(logits(merged), expected, atol=1e-4)


# Before transformers 5 each expert had layers of its own


def single_experts(base: Path, folder: Path) -> Any:
    """Write an adapter on each expert's layers as programs did then; return its true logits."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    weights: dict[str, Any] = {}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer, expert, name in every_expert():
            inputs, outputs = SIZES[name]
            a, b = (
                torch.randn(shape, generator=generator) * 0.1
                for shape in ((RANK, inputs), (outputs, RANK))
            )
            at = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
            weights |= {f"{at}.lora_A.weight": a, f"{at}.lora_B.weight": b}
            fused = model.model.layers[layer].mlp.experts
            part = {
                "gate_proj": fused.gate_up_proj[expert, :48],
                "up_proj": fused.gate_up_proj[expert, 48:],
                "down_proj": fused.down_proj[expert],
            }[name]
            part += ALPHA / RANK * b @ a
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.05,
        "target_modules": [*SIZES],
    }
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return logits(model)


def every_expert() -> Iterator[tuple[int, int, str]]:
    return ((layer, expert, n) for layer in range(2) for expert in range(4) for n in SIZES)


def test_an_adapter_on_single_experts_is_what_was_trained(tiny_moe: Path, tmp_path: Path) -> None:
    expected = single_experts(tiny_moe, tmp_path / "a")
    plain = logits(loaded_base(tiny_moe).model)
    assert not torch.allclose(expected, plain, atol=0.1)
    model = load_adapter(loaded_base(tiny_moe), tmp_path / "a")
    assert torch.allclose(logits(model), expected, atol=1e-5)
    merge(MergeConfig(adapter_path=tmp_path / "a", output_dir=tmp_path / "merged", device="cpu"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    assert torch.allclose(logits(merged), expected, atol=1e-4)


def test_an_adapter_that_lacks_a_single_expert_is_refused(tiny_moe: Path, tmp_path: Path) -> None:
    single_experts(tiny_moe, tmp_path / "a")
    lost = "base_model.model.model.layers.1.mlp.experts.2.up_proj.lora_A.weight"
    reweighted(tmp_path / "a", lambda weights: weights.pop(lost))
    assert str(tmp_path / "a") in refused(tiny_moe, tmp_path / "a")


def test_an_adapter_on_half_of_what_was_fused_is_refused(tiny_moe: Path, tmp_path: Path) -> None:
    single_experts(tiny_moe, tmp_path / "a")
    edited(tmp_path / "a", target_modules=["gate_proj", "down_proj"])
    assert "without also targeting up_proj" in refused(tiny_moe, tmp_path / "a")


def test_rslora_on_single_experts_is_scaled_as_it_was_trained(
    tiny_moe: Path, tmp_path: Path
) -> None:
    expected = single_experts(tiny_moe, tmp_path / "a")
    edited(tmp_path / "a", use_rslora=True, lora_alpha=ALPHA / RANK**0.5)
    model = load_adapter(loaded_base(tiny_moe), tmp_path / "a")
    assert torch.allclose(logits(model), expected, atol=1e-5)


@pytest.mark.parametrize("setting", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_for_single_experts_is_refused(
    setting: str, tiny_moe: Path, tmp_path: Path
) -> None:
    single_experts(tiny_moe, tmp_path / "a")
    edited(tmp_path / "a", **{setting: {"up_proj": 2}})
    said = refused(tiny_moe, tmp_path / "a")
    assert f"its {setting} 'up_proj' matches model.layers.0.mlp.experts.0.up_proj" in said


@pytest.mark.parametrize(
    ("version", "is_refused"), [("0.18.1", True), (None, True), ("0.19.0", False)]
)
def test_square_experts_of_an_older_peft_are_refused(
    version: str | None, is_refused: bool, tmp_path: Path
) -> None:
    model = tiny_families.qwen3_moe(tmp_path / "moe", inner=32)
    settings = {"target_modules": [], "target_parameters": ["experts.gate_up_proj"]}
    adapter, expected = trained(model, tmp_path / "a", **settings)
    edited(adapter, peft_version=version)
    if is_refused:
        assert "before 0.19 peft held inputs and outputs" in refused(model, adapter)
    else:
        assert torch.allclose(
            logits(load_adapter(loaded_base(model), adapter)), expected, atol=1e-5
        )
