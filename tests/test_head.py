"""The output layer of a 16-bit model gives float32 logits, whatever a family does with them."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

SMALL = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {"tie_word_embeddings": True},
    "Gemma2": {"final_logit_softcapping": 0.5},
    "Granite": {"logits_scaling": 7.0},
    "Cohere": {"logit_scale": 0.0625},
    "Phi": {},  # its output layer has a bias
}


def family(name: str, dtype: Any = None) -> Any:
    import torch
    import transformers

    config = getattr(transformers, f"{name}Config")(**{**SMALL, **FAMILIES[name]})
    torch.manual_seed(3)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    head = model.get_output_embeddings()
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)
    return model.to(dtype or torch.bfloat16)


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 40)[None]).logits  # (1, tokens, vocab)


def whole_in_float32(model: Any) -> Any:
    """The same model with its output layer computed in float32 the long way."""
    import torch

    class Long(torch.nn.Module):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.weight = layer.weight.detach().double()
            self.bias = None if layer.bias is None else layer.bias.detach().double()

        def forward(self, hidden: Any) -> Any:
            return torch.nn.functional.linear(hidden.double(), self.weight, self.bias)

    copy = deepcopy(model)
    copy.set_output_embeddings(Long(model.get_output_embeddings()))
    return copy


@pytest.mark.parametrize("rows", [7, 8192])
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_a_16_bit_model_are_not_rounded(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.model import head

    monkeypatch.setattr(head, "ROWS", rows)
    model = family(name)
    exact, rounded = logits(whole_in_float32(model)), logits(model)
    head.give_float32_logits(model)
    found = logits(model)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(rounded.double(), exact, rtol=1e-5, atol=1e-6), "it shows nothing"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_other_models_stay_bit_for_bit(dtype: str) -> None:
    import torch

    from hsd.model.head import give_float32_logits

    model = family("Phi", getattr(torch, dtype))
    before = logits(model)
    give_float32_logits(model)
    assert logits(model).dtype == before.dtype
    assert torch.equal(logits(model), before)


def test_a_layer_of_another_kind_is_left_alone() -> None:
    from torch import nn

    from hsd.model.head import give_float32_logits

    class Packed(nn.Linear):
        """Such as one that bitsandbytes holds in 4 bit."""

    model = family("Llama")
    model.set_output_embeddings(Packed(32, 90, bias=False))
    give_float32_logits(model)
    assert type(model.get_output_embeddings()) is Packed


def test_autocast_does_not_round_them_again() -> None:
    import torch

    from hsd.model.head import give_float32_logits

    model = family("Llama")
    give_float32_logits(model)
    hidden = torch.randn(5, 32, dtype=torch.bfloat16)
    layer = model.get_output_embeddings()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(hidden)
    assert torch.equal(found, layer(hidden))


def test_the_gradient_is_that_of_the_16_bit_layer() -> None:
    import torch

    from hsd.model.head import Float32Logits

    plain = torch.nn.Linear(32, 90, dtype=torch.bfloat16)
    ours = deepcopy(plain)
    ours.__class__ = Float32Logits
    hidden, upstream = torch.randn(2, 5, 32).bfloat16(), torch.randn(2, 5, 90)
    found = []
    for layer in (plain, ours):
        leaf = hidden.clone().requires_grad_()
        layer(leaf).float().backward(upstream)
        found.append([leaf.grad, layer.weight.grad, layer.bias.grad])
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one.float(), other.float(), rtol=2e-2, atol=2e-2)


def test_an_adapter_on_the_layer_adds_to_float32() -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from hsd.model.head import give_float32_logits

    model = family("Granite")
    model.config.tie_word_embeddings = False
    give_float32_logits(model)
    plain = logits(model)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"]))
    assert torch.equal(logits(adapted), plain), "a fresh adapter changes nothing"
    assert logits(adapted).dtype == torch.float32
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.ones_like(parameter)
    moved = logits(adapted)
    merged = logits(adapted.merge_and_unload())
    assert not torch.equal(moved, plain)
    assert torch.allclose(merged, moved, atol=0.05)


@pytest.mark.parametrize("base", ["tiny_llama", "tiny_gpt_oss"])
def test_a_loaded_16_bit_base_gives_float32_logits(
    base: str, request: pytest.FixtureRequest
) -> None:
    import torch

    from hsd.config.model_config import ModelConfig
    from hsd.model.base import load_base

    folder: Path = request.getfixturevalue(base)
    config = ModelConfig(name=str(folder), device="cpu", dtype="bfloat16")
    model = load_base(config).model
    assert model.dtype == torch.bfloat16
    assert logits(model).dtype == torch.float32


@pytest.mark.gpu
def test_a_gpu_sums_in_float32_too() -> None:
    import torch

    from hsd.model.head import Float32Logits

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    layer = torch.nn.Linear(2880, 5000, dtype=torch.bfloat16)
    layer.__class__ = Float32Logits
    hidden = torch.randn(50, 2880).bfloat16()
    expected = layer(hidden)
    layer.cuda()
    leaf = hidden.cuda().requires_grad_()
    found = layer(leaf)
    assert found.dtype == torch.float32
    assert torch.allclose(found.cpu(), expected, rtol=1e-4, atol=1e-4)
    found.sum().backward()
    assert leaf.grad.isfinite().all()
