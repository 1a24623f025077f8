"""What hsd expects of the families of models that it knows; tests hold it against their code.

Nothing is decided by the table alone: attention code is asked of the model's classes, and how an
answer opens and ends is read from the chat template. A family that is not here takes the same
way, with its layers found by their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
QV = ("q_proj", "v_proj")
FUSED = ("experts.gate_up_proj", "experts.down_proj")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How an answer opens before its words, and the token that ends it and is trained."""

    opens: str
    ends: str


@dataclass(frozen=True, slots=True)
class Family:
    """One family. `types` are its `model_type`s, of the text model where there are other parts."""

    name: str
    types: tuple[str, ...]
    attention: tuple[str, ...]
    """What attention does: `full`, `sliding` (a window), `sinks`."""
    code: str
    """The attention code that `model.attention=auto` takes."""
    answers: Mapping[str, AnswerForm]
    """By model or kind of template."""
    qv: tuple[str, ...] = QV
    """Layers that the target `qv` stands for; none where queries and values are one layer."""
    all_attention: tuple[str, ...] = QKVO
    experts: tuple[str, ...] = ()
    """Parameters of fused experts; none in a dense family."""
    refused: tuple[str, ...] = field(default=())
    """What is refused and why, one sentence each."""


FAMILIES = (
    Family(
        name="gpt-oss",
        types=("gpt_oss",),
        attention=("sliding", "full", "sinks"),
        code="eager",
        answers={"harmony": AnswerForm("<|channel|>final<|message|>", "<|return|>")},
        experts=FUSED,
        refused=(
            "flash_attention_2: it gave silent garbage (transformers issue 42736)",
            "target `experts` while they are packed in MXFP4: set model.quantization=none",
        ),
    ),
    Family(
        name="Llama",
        types=("llama",),
        attention=("full",),
        code="sdpa",
        answers={"Llama 3": AnswerForm("", "<|eot_id|>"), "SmolLM2": AnswerForm("", "<|im_end|>")},
        refused=("Llama 2's chat template: its `[INST]` is plain text, which a post may hold",),
    ),
    Family(
        name="Qwen3",
        types=("qwen3",),
        attention=("full",),
        code="sdpa",
        answers={"Qwen3": AnswerForm("<think>\n\n</think>\n\n", "<|im_end|>")},
    ),
    Family(
        name="Qwen3 MoE",
        types=("qwen3_moe",),
        attention=("full",),
        code="sdpa",
        answers={"Qwen3": AnswerForm("<think>\n\n</think>\n\n", "<|im_end|>")},
        experts=FUSED,
        refused=("4 bit: bitsandbytes skips fused experts, which are most of the weights",),
    ),
    Family(
        name="Mistral",
        types=("mistral", "ministral3"),
        attention=("full", "sliding"),
        code="sdpa",
        answers={"Tekken": AnswerForm("", "</s>")},
        refused=("v0.1 and v0.2: their `[INST]` is plain text, which a post may hold",),
    ),
    Family(
        name="Gemma 3",
        types=("gemma3_text",),
        attention=("sliding", "full"),
        code="sdpa",
        answers={"Gemma 3": AnswerForm("", "<end_of_turn>")},
        refused=("layers that see pictures: the text model alone learns",),
    ),
    Family(
        name="Phi-4",
        types=("phi3",),
        attention=("full", "sliding"),
        code="sdpa",
        answers={
            "Phi-4": AnswerForm("", "<|im_end|>"),
            "Phi-4-mini": AnswerForm("", "<|end|>"),
        },
        qv=(),
        all_attention=("qkv_proj", "o_proj"),
        refused=("target `qv`: queries, keys and values are one layer, `qkv_proj`",),
    ),
    Family(
        name="SmolLM3",
        types=("smollm3",),
        attention=("full",),
        code="sdpa",
        answers={"SmolLM3": AnswerForm("", "<|im_end|>")},
    ),
)


def family_of(model_type: str) -> Family | None:
    """Return the family of a text model, None of one that is not in the table."""
    return next((family for family in FAMILIES if model_type in family.types), None)


def unknown_family(model_type: str) -> str | None:
    """Return what to say of a family that is not in the table; None of one that is."""
    if family_of(model_type):
        return None
    return (
        f"The model is of the family '{model_type}', which hsd has no notes on: its layers are "
        "found by their names, and its attention and its answers are read from its code and its "
        "chat template."
    )


def family_line(model_type: str) -> str:
    """Return one sentence on a family: what its attention does, or that nothing is known of it."""
    family = family_of(model_type)
    if family is None:
        return str(unknown_family(model_type))
    return f"Family: {family.name}. Attention: {', '.join(family.attention)}."
