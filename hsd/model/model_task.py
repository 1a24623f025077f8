"""What a checkpoint was made for: hsd asks models that write text, and refuses the others by name.

transformers loads a classifier as a language model all the same: with tied embeddings nothing is
missing, and the head that was learned is left out with a remark.
"""

import re
from pathlib import Path

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hsd.errors import ModelError

WRITES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Ends of class names of models that write text."""

HEADS = {
    "score": "sequence classification or a reward",
    "classifier": "classification",
    "qa_outputs": "question answering",
    "v_head": "the value of a reply (reinforcement learning)",
    "value_head": "the value of a reply (reinforcement learning)",
    "reward_head": "a reward",
    "regression_layer": "a reward",
    "pooler": "embeddings",
}
"""First word of a left-over weight's name -> the task whose head it is."""

SENTENCE_ENCODER = "modules.json"
"""What sentence-transformers writes beside a model, which may well be called ForCausalLM."""


def require_writer(config: PretrainedConfig, name: str) -> None:
    """Raise ModelError when a checkpoint's config says that it was made for another task."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    architectures = [str(one) for one in getattr(config, "architectures", None) or ()]
    if getattr(config, "is_encoder_decoder", False):
        task = "sequence to sequence (an encoder and a decoder)"
    elif architectures and not any(a == known or a.endswith(WRITES) for a in architectures):
        task = task_of(architectures[0])
    elif known is None:
        task = f"what transformers does not load as a language model ({config.model_type})"
    else:
        return
    named = ", ".join(architectures) or config.model_type
    _refuse(name, task, f"config.json names {named}")


def require_no_encoder(parts: Path, name: str) -> None:
    """Raise ModelError when a checkpoint's modules.json is a sentence encoder's."""
    if "sentence_transformers" in parts.read_text(encoding="utf-8", errors="replace"):
        _refuse(name, "sentence embeddings", f"its {SENTENCE_ENCODER} is of sentence-transformers")


def require_no_head(left_over: list[str], name: str) -> None:
    """Raise ModelError when a weight without a place is the head of another task."""
    for key in left_over:
        words = key.split(".")
        if task := next((HEADS[word] for word in words if word in HEADS), None):
            _refuse(name, task, f"its weight {key} is such a head")


def task_of(architecture: str) -> str:
    """Return the task in a class's name: `LlamaForTokenClassification` -> token classification."""
    if found := re.search(r"For([A-Z]\w*)$", architecture):
        words: list[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", found[1])
        return " ".join(word if word.isupper() else word.lower() for word in words)
    if architecture.endswith("Model"):
        return "embeddings (it has no head that writes)"
    return "another task"


def _refuse(name: str, task: str, seen: str) -> None:
    raise ModelError(
        f"model '{name}': its checkpoint was made for {task} ({seen}); hsd asks models that write "
        "text. Take the instruction-tuned language model of the same family."
    )
