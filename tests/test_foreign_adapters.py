"""Adapters of other programs: loaded they are what was trained, or they are refused in a line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input and output embeddings are no longer tied:UserWarning"),
    pytest.mark.filterwarnings("ignore:Careful, disabling adapter layers with bias:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter 'default'. 4 LoRA tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed but:UserWarning"),
]

torch = pytest.importorskip("torch")

import small_runs  # noqa: E402
from peft import (  # noqa: E402
    IA3Config,
    LoHaConfig,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from hsd.config.evaluate_config import EvalConfig  # noqa: E402
from hsd.config.merge_config import MergeConfig  # noqa: E402
from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.config.train_config import LoraConfig as LoraSettings  # noqa: E402
from hsd.errors import HsdError, ModelError  # noqa: E402
from hsd.evaluation.evaluate import evaluate, evaluate_with_base  # noqa: E402
from hsd.evaluation.subject import subject  # noqa: E402
from hsd.io.json_reader import read_json  # noqa: E402
from hsd.model import adapter as adapter_module  # noqa: E402
from hsd.model.adapter import (  # noqa: E402
    load_adapter,
    new_adapter,
    take_weights,
    without_adapter,
)
from hsd.model.adapter_folder import (  # noqa: E402
    KEEPS_BASE,
    LOST_BASE,
    REWRITES_BASE,
    VARIANTS,
    changes_base,
    is_adapter,
    read_adapter,
    unreadable,
)
from hsd.model.base import load_base  # noqa: E402
from hsd.model.merge import merge  # noqa: E402

IDS = torch.arange(3, 40)[None]
CONFIG, ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "model.safetensors"
QV = ["q_proj", "v_proj"]
Made = tuple[Path, Any]
"""An adapter's folder, and the logits of the model that was trained."""


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=IDS).logits  # (1, tokens, vocab)


def loaded_base(base: Path, **how: Any) -> Any:
    return load_base(ModelConfig(name=str(base), device="cpu", **how))


def trained(base: Path, folder: Path, **settings: Any) -> Made:
    """Train an adapter as another program does: peft's own layers, moved a little, and saved."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.name_or_path = str(base)
    asked = {"r": 4, "lora_alpha": 8, "target_modules": QV, "task_type": "CAUSAL_LM"}
    adapted = get_peft_model(model, LoraConfig(**(asked | settings)))
    return saved(adapted, folder)


def saved(adapted: Any, folder: Path, **how: Any) -> Made:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.05
    adapted.save_pretrained(folder, **({"save_embedding_layers": False} | how))
    (folder / "README.md").unlink()
    return folder, logits(adapted.eval())


def edited(folder: Path, **changes: Any) -> Path:
    file = folder / CONFIG
    file.write_text(json.dumps(read_json(file) | changes))
    return folder


def reweighted(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    weights = load_file(folder / ADAPTER)
    change(weights)
    save_file(weights, folder / ADAPTER, metadata={"format": "pt"})
    return folder


def refused(base: Path, folder: Path, **how: Any) -> str:
    with pytest.raises(HsdError) as error:
        load_adapter(loaded_base(base, **how), folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_from_its_files(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_adapter(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def with_biases(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama whose attention has biases, as Qwen's has."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attention_bias=True)
    folder = tmp_path_factory.mktemp("tiny") / "biases"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tied(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama whose head is its embedding."""
    folder = shutil.copytree(tiny_llama, tmp_path_factory.mktemp("tiny") / "tied")
    weights = load_file(folder / WEIGHTS)
    del weights["lm_head.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = read_json(folder / "config.json") | {"tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def plain(tiny_llama: Path, tmp_path: Path) -> Path:
    return trained(tiny_llama, tmp_path / "plain")[0]


# Loaded is what was trained

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no task": {"task_type": None},
    "alpha is a fraction": {"lora_alpha": 2.5},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.*v_proj": 3}},
    "one layer": {"layers_to_transform": [1]},
    "excluded": {"exclude_modules": ["layers.0.self_attn.q_proj"]},
    "regular expression": {"target_modules": r".*\.1\..*(q|up)_proj"},
    "embedding": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "head kept": {"modules_to_save": ["lm_head"]},
    "norms kept": {"modules_to_save": ["norm", "input_layernorm"]},
    "tokens trained": {"trainable_token_indices": [4, 7, 9]},
    "biases": {"bias": "all"},
    "biases of layers": {"bias": "lora_only"},
    "lora bias": {"lora_bias": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "random": {"init_lora_weights": False},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "mica": {"init_lora_weights": "mica"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa with dora": {"init_lora_weights": "pissa", "use_dora": True},
    "pissa with biases": {"init_lora_weights": "pissa", "bias": "all"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_loaded_adapter_is_what_was_trained_and_its_base_is_known(
    settings: dict[str, Any], with_biases: Path, tmp_path: Path
) -> None:
    folder, expected = trained(with_biases, tmp_path / "a", **settings)
    model = load_adapter(loaded_base(with_biases), folder)
    assert torch.allclose(logits(model), expected, atol=1e-5)
    untouched = logits(loaded_base(with_biases).model)
    with without_adapter(model):
        is_base = torch.allclose(logits(model), untouched, atol=1e-5)
    assert is_base == (changes_base(read_adapter(folder)) is None)


@pytest.mark.parametrize(
    "named",
    ["dora", "embedding", "head kept", "norms kept", "tokens trained", "lora bias", "mica", "olora",
     "pissa", "pissa with dora", "pissa with biases"],
)  # fmt: skip
def test_a_merge_gives_what_was_trained(named: str, with_biases: Path, tmp_path: Path) -> None:
    folder, expected = trained(with_biases, tmp_path / "a", **SETTINGS[named])
    output = tmp_path / "merged"
    done = merge(MergeConfig(adapter_path=folder, output_dir=output, device="cpu"))
    merged = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32).eval()
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    assert done.figures["adapter_to_base"]["max_logit_difference"] > 0


@pytest.mark.parametrize("settings", [{"modules_to_save": ["lm_head"]}, {"modules_to_save": QV}])
def test_a_head_that_training_untied_is_merged_as_its_own(
    settings: dict[str, Any], tied: Path, tmp_path: Path
) -> None:
    folder, expected = trained(tied, tmp_path / "a", **settings, target_modules=["o_proj"])
    output = tmp_path / "merged"
    merge(MergeConfig(adapter_path=folder, output_dir=output, device="cpu"))
    merged = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32).eval()
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    untied = settings["modules_to_save"] == ["lm_head"]
    assert read_json(output / "config.json")["tie_word_embeddings"] is not untied


def test_tokens_trained_in_a_tied_base_are_merged(tied: Path, tmp_path: Path) -> None:
    folder, expected = trained(tied, tmp_path / "a", trainable_token_indices=[4, 7])
    merge(MergeConfig(adapter_path=folder, output_dir=tmp_path / "merged", device="cpu"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    assert read_json(tmp_path / "merged" / "config.json")["tie_word_embeddings"] is True


def test_a_bias_that_the_base_has_no_place_for_is_not_merged(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder, expected = trained(tiny_llama, tmp_path / "a", lora_bias=True)
    model = load_adapter(loaded_base(tiny_llama), folder)
    assert torch.allclose(logits(model), expected, atol=1e-5)
    with pytest.raises(ModelError, match="where the base has none to merge it into"):
        merge(MergeConfig(adapter_path=folder, output_dir=tmp_path / "merged", device="cpu"))
    assert not (tmp_path / "merged").exists()


def test_a_pissa_adapter_that_its_program_made_plain_is_what_was_trained(
    tiny_llama: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model.name_or_path = str(tiny_llama)
    asked = LoraConfig(
        r=4, target_modules=QV, task_type="CAUSAL_LM", init_lora_weights="pissa_niter_4"
    )
    adapted = get_peft_model(model, asked)
    adapted.peft_config["default"].init_lora_weights = True
    adapted.save_pretrained(tmp_path / "first", save_embedding_layers=False)
    adapted.peft_config["default"].init_lora_weights = "pissa_niter_4"
    how = {"path_initial_model_for_weight_conversion": str(tmp_path / "first")}
    folder, expected = saved(adapted, tmp_path / "a", **how)
    loaded = load_adapter(loaded_base(tiny_llama), folder)
    assert torch.allclose(logits(loaded), expected, atol=1e-4)


def test_embeddings_saved_beside_an_adapter_must_be_the_bases(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder, expected = trained(tiny_llama, tmp_path / "a")
    embedding = load_file(tiny_llama / WEIGHTS)["model.embed_tokens.weight"]
    name = "base_model.model.model.embed_tokens.weight"
    reweighted(folder, lambda weights: weights.update({name: embedding}))
    model = load_adapter(loaded_base(tiny_llama), folder)
    assert torch.allclose(logits(model), expected, atol=1e-5)
    reweighted(folder, lambda weights: weights.update({name: embedding + 0.1}))
    assert f"other values for {name}" in refused(tiny_llama, folder)


# The base that an adapter is compared with


@pytest.mark.parametrize(
    "settings",
    [{}, {"init_lora_weights": "pissa"}, {"bias": "all"}],
    ids=["plain", "pissa", "bias"],
)
def test_the_base_beside_an_adapter_scores_as_the_base_alone(
    settings: dict[str, Any], with_biases: Path, tmp_path: Path
) -> None:
    folder, _ = trained(with_biases, tmp_path / "a", **settings)
    rows = small_runs.jsonl(tmp_path / "rows.jsonl", small_runs.posts(6))
    asked = {"data_file": str(rows), "prompt_template": "baseline", "strategy": "standard"}
    named = ModelConfig(name=str(with_biases), device="cpu", quantization="none")
    beside = EvalConfig(model=named, adapter=folder, output_dir=tmp_path / "both", **asked)
    alone = EvalConfig(model=named, output_dir=tmp_path / "alone", **asked)
    base, adapted = evaluate_with_base(beside)
    plain = evaluate(alone)
    assert [p.score for p in base.predictions] == pytest.approx(
        [p.score for p in plain.predictions], abs=1e-6
    )
    assert read_json(base.folder / "identity.json") == read_json(plain.folder / "identity.json")
    assert [p.score for p in adapted.predictions] != [p.score for p in base.predictions]


def test_a_load_that_changes_the_base_for_no_known_reason_is_refused(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained(tiny_llama, tmp_path / "a", init_lora_weights="pissa")
    monkeypatch.setattr(adapter_module, "changes_base", lambda _: None)
    assert "switched off, the adapter leaves a model whose logits differ" in refused(
        tiny_llama, folder
    )


@pytest.mark.parametrize("init", REWRITES_BASE)
def test_a_base_that_loading_rewrites_is_never_held_in_4_bit(
    init: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder, _ = trained(tiny_llama, tmp_path / "a", init_lora_weights=init)
    config = EvalConfig(model=ModelConfig(name=str(folder)))
    assert subject(config).config.quantization == "none"
    line = refused(tiny_llama, folder, quantization="nf4")
    assert f"init_lora_weights is '{init}'" in line
    assert "Set model.quantization=none" in line


# Kinds that cannot be had again, or are something else


@pytest.mark.parametrize("init", ["pissa_niter_4", "corda", "lora_ga", "loftq", "new_one"])
def test_an_adapter_whose_base_cannot_be_had_again_is_refused(init: str, plain: Path) -> None:
    line = refused_from_its_files(edited(plain, init_lora_weights=init))
    assert f"init_lora_weights is '{init}': " in line
    assert "merged" in line


def test_every_first_value_that_peft_offers_is_kept_rewritten_or_refused() -> None:
    field = LoraConfig.__dataclass_fields__["init_lora_weights"]
    offered = {name.lower() for name in str(field.type).split("'")[1::2]}
    offered = {name.replace("[number of iters]", "4") for name in offered}
    assert len(offered) >= 8
    for name in offered - {*KEEPS_BASE, *REWRITES_BASE}:
        assert name.startswith(tuple(LOST_BASE)), name


@pytest.mark.parametrize("setting", VARIANTS)
def test_another_method_of_a_lora_adapter_is_refused(setting: str, plain: Path) -> None:
    assert setting in LoraConfig.__dataclass_fields__
    assert f"{setting} is set" in refused_from_its_files(edited(plain, **{setting: [1]}))


def test_every_method_of_peft_is_known() -> None:
    fields = LoraConfig.__dataclass_fields__.values()
    assert {f.name for f in fields if f.metadata.get("is_lora_variant")} <= {*VARIANTS, "use_dora"}


def test_settings_of_a_newer_peft_are_refused_where_they_are_set(plain: Path) -> None:
    read_adapter(edited(plain, use_next=False, next_config=None))
    line = refused_from_its_files(edited(plain, use_next=True))
    assert "use_next: a setting that the installed peft does not know" in line


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PROMPT_TUNING"),
        (IA3Config(target_modules=QV, feedforward_modules=[]), "IA3"),
        (LoHaConfig(target_modules=QV), "LOHA"),
    ],
)
def test_an_adapter_that_is_no_lora_is_refused_by_its_kind(
    kind: PeftConfig, named: str, tiny_llama: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    get_peft_model(model, kind).save_pretrained(tmp_path / "a", save_embedding_layers=False)
    line = refused_from_its_files(tmp_path / "a")
    assert f"an adapter of kind {named}; hsd reads LoRA adapters" in line


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architecture": "houlsby"}, "no adapter of peft (no peft_type)"),
        ({"peft_type": "LORA", "task_type": "SEQ_CLS"}, "trained for the task SEQ_CLS"),
        ({"peft_type": "XLORA"}, "of kind XLORA"),
        ({"peft_type": "LORA", "task_type": None}, None),
    ],
)
def test_what_an_adapter_config_says_decides(config: dict[str, Any], said: str | None) -> None:
    found = unreadable(config)
    assert found is None if said is None else said in str(found)


def test_settings_that_peft_cannot_read_are_refused_in_a_line(
    tiny_llama: Path, plain: Path
) -> None:
    edited(plain, target_modules="q_proj", layers_to_transform=[1])
    assert f"{CONFIG}: peft cannot read it: " in refused(tiny_llama, plain)
    edited(plain, target_modules="no_such.*", layers_to_transform=None)
    assert "peft cannot put it on" in refused(tiny_llama, plain)


@pytest.mark.parametrize(
    "settings", [{"use_rslora": True}, {"init_lora_weights": "olora"}, {"alpha_pattern": {"q": 2}}]
)
def test_a_run_goes_on_from_an_adapter_with_its_own_settings_alone(
    settings: dict[str, Any], tiny_llama: Path, plain: Path
) -> None:
    base = loaded_base(tiny_llama)
    fresh = new_adapter(base, LoraSettings(rank=4, alpha=8, target_modules=tuple(QV)), seed=1)
    take_weights(fresh, base, plain)
    with pytest.raises(ModelError, match="a run goes on from an adapter with its own LoRA"):
        take_weights(fresh, base, edited(plain, **settings))


# Weights that do not fit


def _emptied(weights: dict[str, Any]) -> None:
    for name in weights:
        weights[name] = torch.empty(0)


def _flattened(weights: dict[str, Any]) -> None:
    first = next(iter(weights))
    weights[first] = weights[first].flatten()[:7].clone()


def _with_a_head(weights: dict[str, Any]) -> None:
    weights["base_model.model.score.weight"] = torch.ones(2, 64)


def _with_more_tokens(weights: dict[str, Any]) -> None:
    weights["base_model.model.model.embed_tokens.weight"] = torch.ones(403, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_emptied, "8 of its 8 weights are empty or in pieces"),
        (_flattened, "1 of its 8 weights are empty or in pieces"),
        (_with_a_head, "the adapter has a head of its own ('score')"),
        (_with_more_tokens, "a vocabulary of 403 tokens, and the base has 400"),
    ],
)
def test_the_reason_why_weights_do_not_fit_is_named(
    change: Callable[[dict[str, Any]], object], said: str, tiny_llama: Path, plain: Path
) -> None:
    line = refused(tiny_llama, reweighted(plain, change))
    assert said in line
    assert "Is this the base it was trained on?" not in line


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"trainable_token_indices": [4, 402]},
    ],
)
def test_an_adapter_with_more_tokens_than_its_base_is_told_so(
    settings: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    model.resize_token_embeddings(403, mean_resizing=False)
    asked = {"r": 4, "target_modules": QV, "task_type": "CAUSAL_LM"} | settings
    folder, _ = saved(get_peft_model(model, LoraConfig(**asked)), tmp_path / "a")
    line = refused(tiny_llama, folder)
    assert "tokens were added" in line
    assert "Merge it where it was trained" in line


def test_a_pattern_that_reaches_a_tied_head_is_refused(tied: Path, tmp_path: Path) -> None:
    folder, _ = trained(tied, tmp_path / "a", target_modules=r".*(q_proj|lm_head)")
    assert "share their weights in" in refused(tied, folder)


def test_a_pickled_adapter_is_refused(plain: Path) -> None:
    (plain / ADAPTER).rename(plain / "adapter_model.bin")
    line = refused_from_its_files(plain)
    assert "its weights are in adapter_model.bin, and only safetensors adapters are read" in line


# Folders


def test_a_folder_of_adapters_names_them(plain: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(plain, plain.parent / "several" / name)
    line = refused_from_its_files(plain.parent / "several")
    assert "It holds adapters in first, second: give one of them." in line
    with pytest.raises(ModelError, match="It holds adapters in first, second"):
        subject(EvalConfig(model=ModelConfig(name=str(plain.parent / "several"))))


def test_the_base_that_an_adapter_names_but_is_not_here_is_asked_for(
    tiny_llama: Path, plain: Path
) -> None:
    edited(plain, base_model_name_or_path="/home/alice/models/llama")
    with pytest.raises(ModelError) as error:
        subject(EvalConfig(model=ModelConfig(name=str(plain))))
    line = str(error.value)
    assert f"{plain / CONFIG} names the base '/home/alice/models/llama'" in line
    assert f"name it: --model-name BASE --adapter {plain}" in line
    by_hand = EvalConfig(model=ModelConfig(name=str(tiny_llama)), adapter=plain)
    assert subject(by_hand).source.name == str(tiny_llama)
    with pytest.raises(ModelError, match="name it: --base-model BASE"):
        merge(MergeConfig(adapter_path=plain, output_dir=plain.parent / "m", device="cpu"))


def test_a_merged_model_with_an_adapter_config_left_over_is_the_model(
    tiny_llama: Path, plain: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(tiny_llama, tmp_path / "whole")
    shutil.copyfile(plain / CONFIG, whole / CONFIG)
    assert not is_adapter(whole)
    found = subject(EvalConfig(model=ModelConfig(name=str(whole), device="cpu")))
    assert found.adapter is None
    model, _ = found.load()
    assert torch.equal(logits(model), logits(loaded_base(tiny_llama).model))
    assert "a whole model and no adapter" in refused_from_its_files(whole)


def test_a_folder_of_both_a_model_and_an_adapter_is_asked_which(
    tiny_llama: Path, plain: Path, tmp_path: Path
) -> None:
    both = shutil.copytree(tiny_llama, tmp_path / "both")
    for name in (CONFIG, ADAPTER):
        shutil.copyfile(plain / name, both / name)
    with pytest.raises(ModelError, match="holds both a whole model and an adapter"):
        subject(EvalConfig(model=ModelConfig(name=str(both))))
    given = EvalConfig(model=ModelConfig(name=str(tiny_llama)), adapter=both)
    assert subject(given).adapter == both
    base = logits(loaded_base(both).model)
    assert torch.equal(base, logits(loaded_base(tiny_llama).model)), "no adapter on a base"


def test_loading_is_the_same_as_pefts_own(tiny_llama: Path, plain: Path) -> None:
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), plain)
    assert torch.equal(logits(theirs.eval()), logits(load_adapter(loaded_base(tiny_llama), plain)))
