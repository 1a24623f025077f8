"""Checkpoints that are quantised already: taken as they are, unpacked, or refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError

pytestmark = pytest.mark.model

WEIGHTS = "model.safetensors"


def loaded(folder: Path, asked: str = "auto") -> Any:
    from hsd.model.base import load_base

    return load_base(ModelConfig(name=str(folder), device="cpu", quantization=asked))


def refused(folder: Path, asked: str = "auto") -> str:
    with pytest.raises(ModelError) as error:
        loaded(folder, asked)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"model '{folder}': ")


def changed(
    base: Path,
    folder: Path,
    weights: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    **config: Any,
) -> Path:
    """Return a copy of a base with other weights and other words in its config."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    save_file(weights(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def in_4bit(base: Path, folder: Path, kind: str, *, double: bool) -> Path:
    """Return a base as bitsandbytes saves it in 4 bit."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=bits, device_map={"": "cpu"}
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nf4(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama stored in NF4 without double quantisation."""
    return in_4bit(tiny_llama, tmp_path_factory.mktemp("stored") / "nf4", "nf4", double=False)


@pytest.fixture(scope="module")
def fp4(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama stored in FP4 with double quantisation."""
    return in_4bit(tiny_llama, tmp_path_factory.mktemp("stored") / "fp4", "fp4", double=True)


def in_fp8(weights: dict[str, Any]) -> dict[str, Any]:
    """Layers in 8-bit floats with a scale beside each, as FP8 checkpoints have them."""
    import torch

    made = {}
    for key, weight in weights.items():
        if key.endswith("proj.weight"):
            scale = weight.abs().max() / 448
            made[f"{key}_scale_inv"] = scale.reshape(1, 1)
            weight = (weight / scale).to(torch.float8_e4m3fn)
        made[key] = weight
    return made


@pytest.mark.parametrize("asked", ["auto", "nf4"])
def test_a_checkpoint_in_nf4_is_taken_as_it_is_and_counted_so(
    asked: str, nf4: Path, tiny_llama: Path
) -> None:
    import torch

    from hsd.model.describe import describe_base, weights_fingerprint

    base = loaded(nf4, asked)
    facts = describe_base(base)
    assert (facts["quantization"], facts["double_quantization"]) == ("nf4", False)
    assert facts["compute_dtype"] == "bfloat16"
    assert facts["quantized_share"] > 0.5
    plain = loaded(tiny_llama)
    assert facts["parameters"] == describe_base(plain)["parameters"]
    assert weights_fingerprint(base.model) == weights_fingerprint(plain.model)
    made_here = loaded(tiny_llama, "nf4")
    with torch.inference_mode():
        ids = torch.arange(3, 30)[None]
        difference = base.model(ids).logits - made_here.model(ids).logits
    assert difference.abs().max() < 0.1


def test_a_checkpoint_in_fp4_is_called_so_and_is_no_nf4(fp4: Path) -> None:
    from hsd.model.describe import describe_base

    facts = describe_base(loaded(fp4))
    assert (facts["quantization"], facts["double_quantization"]) == ("fp4", True)
    assert "model.quantization=nf4, but the checkpoint itself is in 4 bit (bitsandbytes fp4)" in (
        refused(fp4, "nf4")
    )


def test_16_bit_asked_of_a_checkpoint_in_4_bit_is_refused_not_passed_over(nf4: Path) -> None:
    assert refused(nf4, "none") == (
        "model.quantization=none, but the checkpoint itself is in 4 bit (bitsandbytes nf4), and "
        "nothing else can be made of it. Set model.quantization=auto, or name the 16-bit "
        "checkpoint that it was made from."
    )


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_an_adapter_on_a_4_bit_checkpoint_is_judged_and_merged_as_trained(
    kind: str, nf4: Path, fp4: Path, tmp_path: Path
) -> None:
    import small_runs

    from hsd.config.evaluate_config import EvalConfig
    from hsd.config.merge_config import MergeConfig
    from hsd.evaluation.subject import subject
    from hsd.model.merge import merge
    from hsd.training.training_run import train

    base = {"nf4": nf4, "fp4": fp4}[kind]
    run = train(small_runs.config(base, tmp_path, training={"epochs": 1})).folder
    asked = EvalConfig.model_validate({"adapter": str(run), "data_file": "embedded"})
    _, facts = subject(asked).load()
    assert facts["quantization"] == kind
    merged = merge(MergeConfig(adapter_path=run, output_dir=tmp_path / "merged"))
    assert merged.figures["into"] == "the dequantised 4-bit base"
    assert merged.figures["to_4bit"]["label_agreement"] == 1.0
    (run / "manifest.json").unlink()  # as an adapter made elsewhere has none
    (run / "done.json").unlink()
    elsewhere = merge(MergeConfig(adapter_path=run, output_dir=tmp_path / "elsewhere"))
    assert elsewhere.figures["into"] == "the dequantised 4-bit base"
    with pytest.raises(ModelError, match="--onto original needs the base in 16 bit"):
        merge(MergeConfig(adapter_path=run, output_dir=tmp_path / "other", onto="original"))


OTHERS = {
    "fp8": "8-bit floats (FP8)",
    "fbgemm_fp8": "8-bit floats (FP8)",
    "gptq": "GPTQ's integers",
    "awq": "AWQ's integers",
    "compressed-tensors": "the form of compressed-tensors",
    "hqq": "HQQ's integers",
    "torchao": "torchao's form",
    "made-up": "a form that hsd does not know",
    "bitsandbytes": "bitsandbytes' 8-bit integers",
}


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("asked", ["auto", "none", "nf4"])
def test_other_kinds_are_refused_by_name_before_weights_are_read(
    method: str, asked: str, tiny_llama: Path, tmp_path: Path
) -> None:
    words = {"quant_method": method, "load_in_8bit": method == "bitsandbytes"}
    folder = changed(tiny_llama, tmp_path / "base", quantization_config=words)
    (folder / WEIGHTS).unlink()
    assert refused(folder, asked) == (
        f"its weights are stored in {OTHERS[method]} (quant_method {method}), which hsd does not "
        "take. Take the same model's checkpoint in 16 bit; model.quantization=nf4 puts it into 4 "
        "bit."
    )


def test_the_older_name_of_compressed_tensors_is_known(tiny_llama: Path, tmp_path: Path) -> None:
    words = {"quant_method": "compressed-tensors"}
    folder = changed(tiny_llama, tmp_path / "base", compression_config=words)
    assert "the form of compressed-tensors" in refused(folder)


@pytest.mark.parametrize("asked", ["auto", "none"])
def test_8_bit_weights_that_config_json_does_not_mention_are_refused(
    asked: str, tiny_llama: Path, tmp_path: Path
) -> None:
    def without_scales(weights: dict[str, Any]) -> dict[str, Any]:
        return {k: w for k, w in in_fp8(weights).items() if "scale" not in k}

    scaled = changed(tiny_llama, tmp_path / "scaled", in_fp8)
    assert "belong to quantised weights, but config.json does not say how" in refused(scaled, asked)
    bare = changed(tiny_llama, tmp_path / "bare", without_scales)
    assert "is stored in 8 bit (F8_E4M3), but config.json names no quantisation" in (
        refused(bare, asked)
    )


def test_integers_that_config_json_does_not_mention_are_refused(
    tiny_llama: Path, tmp_path: Path
) -> None:
    import torch

    def in_int8(weights: dict[str, Any]) -> dict[str, Any]:
        return {
            k: (w * 1000).to(torch.int8) if k.endswith("proj.weight") else w
            for k, w in weights.items()
        }

    assert "is stored in 8 bit (I8)" in refused(changed(tiny_llama, tmp_path / "base", in_int8))


def test_plain_weights_that_config_json_calls_4_bit_are_refused(
    nf4: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    words = json.loads((nf4 / "config.json").read_text())["quantization_config"]
    folder = changed(tiny_llama, tmp_path / "base", quantization_config=words)
    assert "says that its weights are in 4 bit (nf4), but they are not" in refused(folder)


def test_4_bit_weights_that_config_json_calls_plain_are_refused(nf4: Path, tmp_path: Path) -> None:
    folder = changed(nf4, tmp_path / "base", quantization_config=None)
    assert "belong to quantised weights, but config.json does not say how" in refused(folder)


def test_what_is_said_of_the_layers_is_held_against_them(nf4: Path, tiny_llama: Path) -> None:
    import torch

    from hsd.model.loaded_weights import require_as_said
    from hsd.model.quantization import Quantization

    none = Quantization("none", "")
    with pytest.raises(ModelError, match=r"said to hold plain weights \(none\), but 14 layers are"):
        require_as_said(loaded(nf4).model, none, torch.float32, "a/base")
    plain = loaded(tiny_llama).model
    require_as_said(plain, none, torch.float32, "a/base")
    require_as_said(plain, none, torch.bfloat16, "a/base")  # more digits than asked for are kept
    with pytest.raises(ModelError, match="is held in float32 instead of float64"):
        require_as_said(plain, none, torch.float64, "a/base")


def test_a_weight_that_was_left_on_another_device_is_named(tiny_llama: Path) -> None:
    import torch
    from torch import nn

    from hsd.model.loaded_weights import require_on

    model = loaded(tiny_llama).model
    require_on(model, "cpu", "a/base")
    layer = model.model.layers[1].mlp.down_proj
    layer.weight = nn.Parameter(layer.weight.to("meta"), requires_grad=False)
    with pytest.raises(ModelError, match=r"layers.1.mlp.down_proj.weight was left on meta instead"):
        require_on(model, "cpu", "a/base")
    model = loaded(tiny_llama).model
    model.model.register_buffer("odd", torch.zeros(1, device="meta"))
    with pytest.raises(ModelError, match=r"model.odd was left on meta"):
        require_on(model, "cpu", "a/base")
