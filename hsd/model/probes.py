"""Short prompts with a known answer, on which two models are compared logit by logit."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hsd.data.data_sets import resolve
from hsd.data.sampling import label_balanced
from hsd.example import LABELS, Example
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Renderer, fork

POSTS = "embedded:validation"
"""Mild synthetic posts; no training on the embedded rows learns from them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt with its answer, compared at every position that predicts an answer token."""

    ids: tuple[int, ...]
    """Prompt and answer, without the stop token that nothing follows."""
    positions: int
    """How many of the last positions are compared."""
    fork: int
    """The one of them that predicts the label: up to it both answers are the same."""
    labels: tuple[int, int]
    """The tokens for hate and normal at the fork."""

    def lead(self, logits: Tensor) -> float:
        """Return by how much hate leads normal in this probe's logits (positions, vocab)."""
        hate, normal = self.labels
        return float(logits[self.fork, hate] - logits[self.fork, normal])


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two models agree on the same probes."""

    probes: int
    positions: int
    max_logit_difference: float
    rms_logit_difference: float
    """Root of the mean square over all logits."""
    kl: float
    """Mean over the positions of KL(first || second), in nats."""
    top_token_agreement: float
    label_agreement: float
    flipped_lead: float
    """Largest lead of one label over the other, in logits of the first model, on a probe where
    the second prefers the other label; 0 where none does."""

    def facts(self) -> dict[str, Any]:
        """Return the figures for the manifest."""
        return asdict(self)


def make_probes(
    tokenizer: Any, contract: Contract, number: int, max_length: int | None
) -> list[Probe]:
    """Return `number` probes asked as the contract says, half of them with the answer hate."""
    renderer = Renderer(tokenizer, contract)
    posts = label_balanced(resolve(POSTS), number, seed=0)
    return [_probe(renderer, contract, post, max_length) for post in posts]


def _probe(renderer: Renderer, contract: Contract, post: Example, max_length: int | None) -> Probe:
    asked = {
        label: renderer.encode(make_chat(contract.strategy, post.id, post.text, label), max_length)
        for label in LABELS
    }
    hate, normal = (asked[label].answer for label in LABELS)
    at = fork(hate, normal)
    true = asked[post.label]
    ids = (*true.prompt, *true.answer[:-1])
    return Probe(ids, len(true.answer), at, (hate[at], normal[at]))


def answer_logits(
    model: Any, probes: Sequence[Probe], note: Callable[[], None] = lambda: None
) -> list[Tensor]:
    """Return each probe's logits (positions, vocab) in float32 on the CPU; `note` hears of each."""
    device = next(model.parameters()).device
    found = []
    for probe in probes:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([probe.ids], device=device)).logits
        found.append(logits[0, -probe.positions :].float().cpu())
        note()
    return found


def agreement(
    probes: Sequence[Probe], first: Sequence[Tensor], second: Sequence[Tensor]
) -> Agreement:
    """Return how far two models' logits agree; `first` is the one that `second` should be like."""
    pairs = [(a.double(), b.double()) for a, b in zip(first, second, strict=True)]
    kl = [(a.softmax(-1) * (a.log_softmax(-1) - b.log_softmax(-1))).sum(-1) for a, b in pairs]
    tops = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in pairs])
    leads = [(p.lead(a), p.lead(b)) for p, (a, b) in zip(probes, pairs, strict=True)]
    flipped = [abs(before) for before, after in leads if (before > 0) != (after > 0)]
    differences = torch.cat([a - b for a, b in pairs])  # (positions, vocab)
    return Agreement(
        probes=len(pairs),
        positions=tops.numel(),
        max_logit_difference=differences.abs().max().item(),
        rms_logit_difference=differences.square().mean().sqrt().item(),
        kl=torch.cat(kl).mean().item(),
        top_token_agreement=tops.float().mean().item(),
        label_agreement=1 - len(flipped) / len(pairs),
        flipped_lead=max(flipped, default=0.0),
    )
