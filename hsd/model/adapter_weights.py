"""An adapter's weights put into a model that has its places, every one of them and no other."""

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hsd.errors import ModelError
from hsd.model.adapter_folder import WEIGHTS
from hsd.model.fused_experts import fused_weights

HEADS = ("score", "classifier", "classification_head", "qa_outputs", "v_head", "value_head")
"""Names of the layers that answer for other tasks than writing on."""
VOCABULARY = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
"""Names of the layers that have a row for each token, in the families of transformers."""

RESIZED = (
    "Merge it where it was trained, and give the merged folder with its tokenizer as the model."
)
"""What works for an adapter whose vocabulary is longer than its base's."""

Weights = Mapping[str, Tensor]


def fill_adapter(model: PeftModel, folder: Path) -> None:
    """Load an adapter's weights; every one the model has must be in the file, and no other.

    Weights of the base that were saved beside them must be the base's own. Raises ModelError.
    """
    try:
        weights = fused_weights(model, load_file(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read ({error}).") from None
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    # Given parameters, peft does not take a bias of lora_B for a shard of a matrix.
    held = dict(model.named_parameters(remove_duplicate=False))
    # "auto" would ask the hub for the base's config to see whether the vocabulary grew.
    expected = get_peft_model_state_dict(model, held, save_embedding_layers=False)
    beside = {name: held[name] for name in held.keys() & (weights.keys() - expected.keys())}
    problem = (
        _not_gathered(weights)
        or _other_head(weights, expected)
        or _other_vocabulary(weights, {**beside, **expected})
        or _misfit(weights, expected, beside)
        or _changed(weights, beside)
    )
    if problem:
        raise ModelError(f"{folder}: {problem}")
    if broken := sorted(k for k, weight in weights.items() if not weight.isfinite().all()):
        raise ModelError(f"{folder / WEIGHTS}: {broken[0]} holds values that are not numbers.")
    set_peft_model_state_dict(model, {name: weights[name] for name in expected})


def _not_gathered(weights: Weights) -> str | None:
    flat = [name for name, weight in weights.items() if _is_shard(name, weight)]
    if not flat:
        return None
    return (
        f"{len(flat)} of its {len(weights)} weights are empty or in pieces (such as {flat[0]}): it "
        "was saved from DeepSpeed ZeRO-3 or FSDP without being gathered. Save it again where its "
        "checkpoint is, gathered (zero_to_fp32.py, or stage3_gather_16bit_weights_on_model_save)."
    )


def _is_shard(name: str, weight: Tensor) -> bool:
    is_matrix = name.endswith((".lora_A.weight", ".lora_B.weight"))
    return weight.numel() == 0 or (is_matrix and weight.dim() < 2)


def _other_head(weights: Weights, expected: Weights) -> str | None:
    heads = sorted({part for name in weights.keys() - expected.keys() for part in name.split(".")})
    if not (found := next((head for head in HEADS if head in heads), None)):
        return None
    return (
        f"the adapter has a head of its own ('{found}'), so it was trained to classify in numbers; "
        "hsd reads adapters of language models, which answer in words."
    )


def _other_vocabulary(weights: Weights, held: Weights) -> str | None:
    """A layer with a row for each token, which fits but for the number of tokens."""
    for name in sorted(filter(_is_of_vocabulary, weights.keys() & held.keys())):
        here, there = sorted(held[name].shape), sorted(weights[name].shape)
        if here[:-1] == there[:-1] and here[-1] != there[-1]:
            return (
                f"it was trained with a vocabulary of {there[-1]} tokens, and the base has "
                f"{here[-1]} ({name}): tokens were added. {RESIZED}"
            )
    return None


def _is_of_vocabulary(name: str) -> bool:
    parts = set(name.split("."))
    return "lora_A" not in parts and bool(parts & set(VOCABULARY))


def _misfit(weights: Weights, expected: Weights, beside: Weights) -> str | None:
    missing = expected.keys() - weights.keys()
    extra = weights.keys() - expected.keys() - beside.keys()
    held = {**beside, **expected}
    shared = held.keys() & weights.keys()
    misshaped = [name for name in shared if held[name].shape != weights[name].shape]
    if not (missing or extra or misshaped):
        return None
    example = sorted([*missing, *extra, *misshaped])[0]
    return (
        f"the adapter does not fit the base: {len(missing)} weights missing, {len(extra)} left "
        f"over, {len(misshaped)} of another shape (such as {example}). Is this the base it was "
        "trained on?"
    )


def _changed(weights: Weights, beside: Weights) -> str | None:
    """peft saves whole embeddings beside an adapter that targets them; the base has them too."""
    for name, held in sorted(beside.items()):
        if not torch.equal(weights[name].to(held.device, held.dtype), held):
            return (
                f"it carries other values for {name} than the base has. Is this the base it was "
                "trained on? Where the base was trained too, give the merged model."
            )
    return None
