"""Gradients to hold ours against: each row whole and alone, through the model as it comes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from hsd.prompts.render import Encoded
from hsd.training.objective import Objective

Gradients = dict[str, torch.Tensor]

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["fp32", "fp64"]
)
FAMILIES = pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])


def one_by_one(model: Any, rows: Sequence[Encoded]) -> Gradients:
    """Return the gradient of the token-mean loss, from whole rows without padding or batches."""
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    total: Gradients = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row in rows:
        ids = torch.tensor([row.prompt + row.answer])
        logits = model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
        loss = cross_entropy(logits, torch.tensor(row.answer), reduction="sum")
        for name, gradient in zip(
            weights, torch.autograd.grad(loss, list(weights.values())), strict=True
        ):
            total[name] += gradient
    tokens = sum(len(row.answer) for row in rows)
    return {name: gradient / tokens for name, gradient in total.items()}


def labels_one_by_one(model: Any, rows: Sequence[Encoded], objective: Objective) -> Gradients:
    """Return the gradient of a `label` objective; each label of each row is a row of its own."""
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    total: Gradients = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    tokens = sum(len(row.answer) for row in rows)
    for row in rows:
        assert row.target is not None
        opening = row.answer[: row.target.opening]
        labels = torch.stack([_said(model, row.prompt + opening, t) for t in row.target.tails])
        share = row.target.hate * (1 - objective.label_smoothing) + objective.label_smoothing / 2
        likelier = labels - torch.logsumexp(labels, 0)
        label = -row.target.weight * (share * likelier[0] + (1 - share) * likelier[1])
        answer = -_said(model, row.prompt, row.answer)
        loss = objective.answer_weight * answer / tokens
        loss = loss + objective.label_weight * label / len(rows)
        for name, gradient in zip(
            weights, torch.autograd.grad(loss, list(weights.values())), strict=True
        ):
            total[name] += gradient
    return total


def _said(model: Any, before: Sequence[int], words: Sequence[int]) -> torch.Tensor:
    """Return the log-probability of words after what stands before them."""
    logits = model(input_ids=torch.tensor([[*before, *words]])).logits[0, len(before) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(words)[:, None]).sum()


def collected(model: Any) -> Gradients:
    """Return the gradients that lie in the model now, and take them out."""
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return found


def relative_error(ours: Gradients, theirs: Gradients) -> float:
    """Return the norm of the difference over the norm of `theirs`, all weights together."""
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([g[name].flatten() for name in sorted(g)]) for g in (ours, theirs))
    return float((a - b).norm() / b.norm())


def moved(model: Any, dtype: torch.dtype) -> Any:
    """Return a model with its adapter away from its start, where half of the gradients are zero."""
    model = model.to(dtype)
    if dtype == torch.float64:
        model.config._experts_implementation = "eager"  # the grouped kernel takes no float64
    generator = torch.Generator().manual_seed(7)
    for name, weight in model.named_parameters():
        if "lora_B" in name and weight.device.type != "meta":
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return model


@pytest.fixture
def exact_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let RMSNorm work in the format of its input; transformers' own always goes by float32."""

    def forward(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return norm.weight * (hidden * scale)

    def more_than_one(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + norm.eps)
        return (1 + norm.weight) * (hidden * scale)

    for norm in (LlamaRMSNorm, GptOssRMSNorm, MistralRMSNorm, Qwen3RMSNorm):
        monkeypatch.setattr(norm, "forward", forward)
    monkeypatch.setattr(Gemma3RMSNorm, "forward", more_than_one)
