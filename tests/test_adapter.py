"""Adapters: only they learn, and a wrong, empty or damaged one is an error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.errors import ModelError, PreflightError
from hsd.io.digests import digests
from hsd.io.files import write_json
from hsd.io.json_reader import read_json

pytestmark = pytest.mark.model

SETTINGS = LoraConfig(rank=4, alpha=8)
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SECOND = FIRST.replace("lora_A", "lora_B")


def base_at(folder: Path, **settings: Any) -> Any:
    from hsd.model.base import load_base

    return load_base(ModelConfig(name=str(folder), device="cpu", **settings))


def fresh(base: Any, settings: LoraConfig = SETTINGS, seed: int = 1) -> Any:
    from hsd.model.adapter import new_adapter

    return new_adapter(base, settings, seed)


def trained(base: Any) -> Any:
    """An adapter whose second matrices are no longer zero, as after a step."""
    import torch

    model = fresh(base)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return model.eval()


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 40)[None]).logits  # (1, tokens, vocab)


def adapters(model: Any) -> dict[str, Any]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter on the tiny llama, with the manifest that training writes."""
    from hsd.io.manifest import update_manifest
    from hsd.model.adapter import export_adapter
    from hsd.model.describe import weights_identity

    folder = tmp_path_factory.mktemp("adapters") / "saved"
    base = base_at(tiny_llama)
    export_adapter(trained(base), folder)
    update_manifest(folder, base=weights_identity(base))
    return folder


def changed(saved: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    from safetensors.torch import load_file, save_file

    made = folder / "changed"
    shutil.copytree(saved, made)
    weights = load_file(made / "adapter_model.safetensors")
    change(weights)
    save_file(weights, made / "adapter_model.safetensors")
    return made


def refused(base: Any, folder: Path) -> str:
    from hsd.model.adapter import load_adapter

    with pytest.raises(ModelError) as error:
        load_adapter(base, folder)
    return str(error.value)


@pytest.mark.parametrize("how", [{}, {"dtype": "bfloat16"}, {"quantization": "nf4"}])
def test_only_the_adapter_learns_and_in_float32(how: dict[str, Any], tiny_llama: Path) -> None:
    import torch

    from hsd.model.describe import trainable

    model = fresh(base_at(tiny_llama, **how))
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == adapters(model).keys()
    assert len(learning) == 2 * 2 * 2  # layers, q and v, A and B
    assert {p.dtype for p in adapters(model).values()} == {torch.float32}
    per_layer = (64 + 64) * 4 + (64 + 32) * 4
    assert trainable(model)["trainable_parameters"] == 2 * per_layer


def test_a_fresh_adapter_changes_nothing(tiny_llama: Path) -> None:
    base = base_at(tiny_llama)
    before = logits(base.model)
    assert logits(fresh(base).eval()).equal(before)


def test_the_same_seed_gives_the_same_first_values(tiny_llama: Path) -> None:
    import torch

    first = adapters(fresh(base_at(tiny_llama), seed=7))
    torch.rand(3)
    again = adapters(fresh(base_at(tiny_llama), seed=7))
    other = adapters(fresh(base_at(tiny_llama), seed=8))
    assert all(first[name].equal(again[name]) for name in first)
    assert not all(first[name].equal(other[name]) for name in first)


@pytest.mark.parametrize("how", [{}, {"dtype": "bfloat16"}, {"quantization": "nf4"}])
def test_a_saved_and_loaded_adapter_gives_identical_logits(
    how: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.model.adapter import export_adapter, load_adapter
    from hsd.model.adapter_folder import is_adapter

    model = trained(base_at(tiny_llama, **how))
    export_adapter(model, tmp_path / "a")
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert is_adapter(tmp_path / "a")
    again = load_adapter(base_at(tiny_llama, **how), tmp_path / "a")
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert logits(again).equal(logits(model))


def test_a_loaded_adapter_switched_off_equals_the_base(tiny_llama: Path, saved: Path) -> None:
    from hsd.model.adapter import load_adapter, without_adapter

    model = load_adapter(base_at(tiny_llama), saved)
    plain = logits(base_at(tiny_llama).model)
    with without_adapter(model):
        assert logits(model).equal(plain)
    assert not logits(model).equal(plain)


def test_an_adapter_names_its_base_and_how_it_was_held(tiny_llama: Path, saved: Path) -> None:
    from hsd.model.adapter_folder import base_of

    found = base_of(saved)
    assert found["name"] == str(tiny_llama)
    assert found["quantization"] == "none"
    config = json.loads((saved / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_llama)
    assert (config["r"], config["lora_alpha"]) == (4, 8)


# Adapters that cannot be trusted


def _without(weights: dict[str, Any]) -> None:
    del weights[FIRST]


def _with_more(weights: dict[str, Any]) -> None:
    weights[FIRST.replace("layers.0", "layers.9")] = weights[FIRST].clone()


def _misshaped(weights: dict[str, Any]) -> None:
    weights[FIRST] = weights[FIRST][:2].clone()


def _zero(weights: dict[str, Any]) -> None:
    for name in weights:
        if "lora_B" in name:
            weights[name] = weights[name] * 0


def _not_a_number(weights: dict[str, Any]) -> None:
    weights[SECOND][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without, "1 weights missing, 0 left over, 0 of another shape"),
        (_with_more, "0 weights missing, 1 left over, 0 of another shape"),
        (_misshaped, f"0 left over, 1 of another shape (such as {FIRST})"),
        (_zero, "the adapter changes nothing"),
        (_not_a_number, f"{SECOND} holds values that are not numbers"),
    ],
)
def test_a_damaged_adapter_is_refused(
    change: Callable[[dict[str, Any]], object],
    said: str,
    tiny_llama: Path,
    saved: Path,
    tmp_path: Path,
) -> None:
    assert said in refused(base_at(tiny_llama), changed(saved, tmp_path, change))


def test_half_an_adapter_file_is_refused(tiny_llama: Path, saved: Path, tmp_path: Path) -> None:
    made = changed(saved, tmp_path, lambda _: None)
    file = made / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    assert "adapter_model.safetensors: cannot be read" in refused(base_at(tiny_llama), made)
    file.unlink()
    assert "adapter_model.safetensors: cannot be read" in refused(base_at(tiny_llama), made)


def test_an_adapter_that_is_not_as_its_training_wrote_it_is_never_loaded(
    tiny_llama: Path, saved: Path, tmp_path: Path
) -> None:
    made = changed(saved, tmp_path, lambda _: None)
    write_json(made / "done.json", {"files": digests(made, ["adapter_model.safetensors"])})
    assert logits_of(base_at(tiny_llama), made) is not None
    other = changed(saved, tmp_path / "other", lambda weights: weights[SECOND].mul_(1.5))
    shutil.copy(made / "done.json", other)
    assert "is not as its training wrote it" in refused(base_at(tiny_llama), other)


def test_a_folder_without_an_adapter_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from hsd.model.adapter import load_adapter

    assert "no adapter here" in refused(base_at(tiny_llama), tmp_path)
    with pytest.raises(PreflightError, match="adapter folder .*: no such folder"):
        load_adapter(base_at(tiny_llama), tmp_path / "nowhere")


def test_an_adapter_of_another_base_is_refused_by_its_fingerprint(
    tiny_llama: Path, saved: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_llama, other)
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"][5] += 0.25
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    line = refused(base_at(other), saved)
    assert f"trained on {tiny_llama}, and {other} has other weights" in line
    (copy := tmp_path / "copy").symlink_to(tiny_llama)
    assert logits_of(base_at(copy), saved) is not None


def with_other_matrices(base: Path, folder: Path, dtype: str = "float32") -> Path:
    """Return a copy of a base as a merged adapter leaves it: norms and embeddings are its own."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        change = 1.5 if "q_proj" in name and dtype == "float32" else 1.0
        weights[name] = (weight * change).to(getattr(torch, dtype))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = read_json(folder / "config.json") | {"dtype": dtype}
    config.pop("torch_dtype", None)
    write_json(folder / "config.json", config)
    return folder


def test_a_base_that_an_adapter_was_merged_into_is_another_base(
    tiny_llama: Path, saved: Path, tmp_path: Path
) -> None:
    other = with_other_matrices(tiny_llama, tmp_path / "other")
    assert f"{other} has other weights" in refused(base_at(other), saved)


def test_an_adapter_of_an_earlier_hsd_is_held_to_the_fingerprint_it_wrote(
    tiny_llama: Path, saved: Path, tmp_path: Path
) -> None:
    made = changed(saved, tmp_path, lambda _: None)
    manifest = read_json(made / "manifest.json")
    for name in ("files_sha256", "files_form"):
        del manifest["base"][name]
    write_json(made / "manifest.json", manifest)
    other = with_other_matrices(tiny_llama, tmp_path / "other")
    assert logits_of(base_at(other), made) is not None


def test_another_form_of_a_base_is_held_to_its_fingerprint(
    tiny_llama: Path, saved: Path, tmp_path: Path
) -> None:
    """Such as the original of a checkpoint in 4 bit; but not what was merged into it."""
    form = with_other_matrices(tiny_llama, tmp_path / "form", "bfloat16")
    assert logits_of(base_at(form), saved) is not None
    write_json(form / "manifest.json", {"kind": "merge"})
    assert f"{form} has other weights" in refused(base_at(form), saved)


def logits_of(base: Any, folder: Path) -> Any:
    from hsd.model.adapter import load_adapter

    return logits(load_adapter(base, folder))


def test_an_adapter_of_another_architecture_is_refused(
    tiny_gpt_oss: Path, saved: Path, tmp_path: Path
) -> None:
    made = changed(saved, tmp_path, lambda _: None)
    (made / "manifest.json").unlink()  # made elsewhere: only the weights can tell
    assert "does not fit the base" in refused(base_at(tiny_gpt_oss), made)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("q_prj",), "'q_prj' is no linear layer of .* Did you mean 'q_proj'"),
        (("q_proj", "mlp"), "'mlp' is no linear layer"),
        (("norm",), "'norm' is no linear layer"),
    ],
)
def test_a_target_that_cannot_learn_is_answered_with_the_nearest(
    targets: tuple[str, ...], said: str, tiny_llama: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        fresh(base_at(tiny_llama), LoraConfig(target_modules=targets))


def test_fused_experts_cannot_be_a_target(tiny_gpt_oss: Path) -> None:
    with pytest.raises(ModelError, match="'experts' is no linear layer"):
        fresh(base_at(tiny_gpt_oss), LoraConfig(target_modules=("experts",)))


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_a_layer_that_shares_its_weights_is_no_target(
    target: str, tiny_llama: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    tied = tmp_path / "tied"
    shutil.copytree(tiny_llama, tied)
    weights = load_file(tied / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tied / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tied / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="shares its weights with another layer"):
        fresh(base_at(tied), LoraConfig(target_modules=("q_proj", target)))


def test_all_linear_layers_but_the_head(tiny_llama: Path) -> None:
    model = fresh(base_at(tiny_llama), LoraConfig(rank=2, target_modules="all-linear"))
    learned = {name.split(".lora_")[0].rpartition(".")[2] for name in adapters(model)}
    assert learned == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_an_adapter_without_safetensors_is_refused_in_one_line(tmp_path: Path) -> None:
    from hsd.model.adapter_folder import adapter_digest

    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="adapter_model.safetensors is missing or unreadable"):
        adapter_digest(tmp_path)


# Bases that see pictures too


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), "all-linear"])
def test_of_a_base_that_sees_the_text_model_alone_learns(
    targets: Any, tiny_gemma3: Path, tmp_path: Path
) -> None:
    import torch

    from hsd.model.adapter import export_adapter, load_adapter
    from hsd.model.describe import trainable

    settings = LoraConfig(rank=4, alpha=8, target_modules=targets)
    base = base_at(tiny_gemma3)
    model = fresh(base, settings)
    text = [n for n, _ in model.named_parameters() if "language_model" in n and "lora_" in n]
    assert sorted(adapters(model)) == sorted(text) != []
    inner = 4 * (64 + 64 + 64 + 32)  # q and v, both matrices of each
    if targets != "all-linear":
        assert trainable(model)["trainable_parameters"] == 2 * inner
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape) * 0.1
    export_adapter(model, tmp_path)
    words = json.loads((tmp_path / "adapter_config.json").read_text())
    assert words["exclude_modules"].startswith(r"model\.vision_tower")
    again = load_adapter(base_at(tiny_gemma3), tmp_path)
    torch.testing.assert_close(logits(again), logits(model.eval()))


def test_a_target_that_only_the_eye_of_a_base_has_is_refused(tiny_gemma3: Path) -> None:
    with pytest.raises(ModelError, match="'fc1' is no linear layer"):
        fresh(base_at(tiny_gemma3), LoraConfig(target_modules=("fc1",)))


def test_an_adapter_on_a_base_of_text_excludes_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    from hsd.model.adapter import export_adapter

    export_adapter(fresh(base_at(tiny_llama)), tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["exclude_modules"] is None
