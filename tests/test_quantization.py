"""4 bit: taken, refused or fallen back from with the reason, and what was really held in it."""

from pathlib import Path
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError

pytestmark = pytest.mark.model


def config_of(folder: Path, **changes: Any) -> Any:
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(folder)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def chosen(asked: str, config: Any, device: str = "cuda:0") -> Any:
    from hsd.model.quantization import choose_quantization

    return choose_quantization(ModelConfig(name="a/base", quantization=asked), config, device)


MXFP4 = {"quant_method": "mxfp4"}


@pytest.mark.parametrize(
    ("asked", "device", "method", "reason"),
    [
        ("nf4", "cuda:0", "nf4", "asked for"),
        ("nf4", "cpu", "nf4", "asked for"),
        ("auto", "cuda:0", "nf4", "default on a GPU"),
        ("auto", "cpu", "none", "4 bit is for GPUs"),
        ("none", "cuda:0", "none", "asked for"),
    ],
)
def test_a_base_of_linear_layers_takes_4_bit(
    asked: str, device: str, method: str, reason: str, tiny_llama: Path
) -> None:
    how = chosen(asked, config_of(tiny_llama), device)
    assert (how.method, how.reason) == (method, reason)
    assert (how.loader_config is not None) == (method == "nf4")


def test_4_bit_is_nf4_with_bfloat16_compute(tiny_llama: Path) -> None:
    import torch

    from hsd.model.quantization import nf4_config

    how = chosen("nf4", config_of(tiny_llama)).loader_config
    assert how.load_in_4bit
    assert how.bnb_4bit_quant_type == "nf4"
    assert how.bnb_4bit_compute_dtype is torch.bfloat16
    assert how.bnb_4bit_use_double_quant
    assert not nf4_config(double=False).bnb_4bit_use_double_quant


def test_fused_experts_refuse_4_bit_with_the_reason(tiny_gpt_oss: Path) -> None:
    with pytest.raises(ModelError) as error:
        chosen("nf4", config_of(tiny_gpt_oss))
    assert str(error.value) == (
        "model 'a/base': 4-bit NF4 refused: only 19% of its layers' weights are in linear ones; "
        "the rest, such as fused experts, would silently stay in 16 bit. "
        "Set model.quantization=none, nf4_experts for the experts too, or auto to take what the "
        "checkpoint can."
    )


def test_auto_falls_back_from_fused_experts_with_the_reason(tiny_gpt_oss: Path) -> None:
    how = chosen("auto", config_of(tiny_gpt_oss))
    assert how.method == "none"
    assert how.reason.startswith("no 4 bit: only 19% of its layers' weights")
    assert how.loader_config is None


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize(
    ("asked", "more"), [("auto", ""), ("nf4", "; NF4 would round them a second time")]
)
def test_experts_in_mxfp4_stay_packed(
    asked: str, more: str, device: str, tiny_gpt_oss: Path
) -> None:
    how = chosen(asked, config_of(tiny_gpt_oss, quantization_config=MXFP4), device)
    stored = "the checkpoint stores its experts in 4 bit (MXFP4), and they stay packed"
    assert (how.method, how.reason) == ("packed", stored + more)
    assert how.bits is None


def test_experts_in_mxfp4_are_unpacked_where_no_4_bit_is_asked_for(tiny_gpt_oss: Path) -> None:
    how = chosen("none", config_of(tiny_gpt_oss, quantization_config=MXFP4))
    assert (how.method, how.reason) == ("dequantized", "asked for; MXFP4 unpacked")
    assert how.loader_config.dequantize


def test_mxfp4_of_another_family_cannot_stay_packed(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, quantization_config=MXFP4)
    assert chosen("auto", config).method == "dequantized"
    with pytest.raises(ModelError, match=r"refused: the checkpoint is already quantised \(mxfp4\)"):
        chosen("nf4", config)


def test_the_share_in_4_bit_counts_what_the_packed_weights_stand_for(tiny_llama: Path) -> None:
    from hsd.model.base import load_base
    from hsd.model.describe import describe_base
    from hsd.model.quantization import layer_weights, true_numel

    plain = load_base(ModelConfig(name=str(tiny_llama), device="cpu"))
    base = load_base(ModelConfig(name=str(tiny_llama), device="cpu", quantization="nf4"))
    layers = sum(p.numel() for n, p in plain.model.named_parameters() if n.endswith("proj.weight"))
    everything = sum(p.numel() for p in plain.model.parameters())
    facts = describe_base(base)
    assert layers == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    assert facts["quantized_share"] == round(layers / everything, 4)
    assert facts["parameters"] == everything == describe_base(plain)["parameters"]
    assert facts["footprint_gb"] < describe_base(plain)["footprint_gb"]
    assert facts["quantization"] == "nf4"
    assert describe_base(plain)["quantized_share"] == 0.0
    norms = 5 * 64
    assert sum(map(true_numel, layer_weights(base.model))) == layers + norms


def test_a_base_that_is_mostly_embeddings_may_be_in_4_bit(tiny_llama: Path) -> None:
    import torch

    from hsd.model.quantization import choose_quantization, require_quantized

    wide = config_of(tiny_llama, vocab_size=50_000)
    assert chosen("nf4", wide).method == "nf4"
    model = _held_in_4_bit(wide)
    embeddings = sum(p.numel() for n, p in model.named_parameters() if "proj" not in n)
    assert embeddings > 0.9 * sum(p.numel() for p in model.parameters())
    require_quantized(model, "a/base")
    assert choose_quantization(ModelConfig(name="a/base"), wide, "cuda:0").method == "nf4"
    assert torch.get_default_device().type == "cpu"


def test_a_base_that_was_skipped_is_refused_after_loading(tiny_gpt_oss: Path) -> None:
    from hsd.model.quantization import require_quantized

    with pytest.raises(ModelError, match=r"only 19% of its layers' weights are; the rest was skip"):
        require_quantized(_held_in_4_bit(config_of(tiny_gpt_oss)), "a/base")


def _held_in_4_bit(config: Any) -> Any:
    """The model on the meta device, its linear layers marked as bitsandbytes marks them."""
    from types import SimpleNamespace

    from torch import nn

    from hsd.model.quantization import skeleton

    model = skeleton(config)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "lm_head" not in name:
            module.weight.quant_state = SimpleNamespace(shape=module.weight.shape)
    return model
