"""What a fine-tuned sentence encoder says of posts."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hsd.config.model_config import ModelConfig
from hsd.io.progress import Progress, silent
from hsd.metrics.baselines import Training
from hsd.model.placement import place
from hsd.training.sentence_encoder import (
    EncoderSettings,
    SentenceClassifier,
    learned_encoder,
    read_encoder,
)


@dataclass(frozen=True, slots=True)
class EncoderScores:
    """P(hate) of each text, and what it took to get there."""

    scores: list[float]
    parameters: int
    train_seconds: float
    score_seconds: float
    device: str

    def cost(self) -> dict[str, Any]:
        """Return all but the scores, for the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "scores"}


def encoder_scores(
    training: Training,
    texts: Sequence[str],
    settings: EncoderSettings,
    progress: Progress = silent,
) -> EncoderScores:
    """Return what an encoder that learned the training posts says of other texts.

    It learns them once: the next who asks for the same takes it from the cache. Raises ModelError
    when the encoder cannot be loaded.
    """
    device = place(ModelConfig()).device
    tokenizer, model, took = read_encoder(learned_encoder(training, settings, device, progress))
    started = time.monotonic()
    scores = _scores(model.to(device), tokenizer, texts, settings, progress)
    return EncoderScores(
        scores=scores,
        parameters=sum(weight.numel() for weight in model.parameters()),
        train_seconds=took,
        score_seconds=round(time.monotonic() - started, 1),
        device=device,
    )


def _scores(
    model: SentenceClassifier,
    tokenizer: Any,
    texts: Sequence[str],
    settings: EncoderSettings,
    progress: Progress,
) -> list[float]:
    """Return P(hate) in the order of the texts; those of like length are scored together."""
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = [0.0] * len(texts)
    device = model.head.weight.device
    for start in range(0, len(order), settings.batch_size):
        batch = order[start : start + settings.batch_size]
        encoded = tokenizer(
            [texts[at] for at in batch],
            truncation=True,
            max_length=settings.max_length,
            padding=True,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            said = model(encoded["input_ids"], encoded["attention_mask"])["logits"]
        for at, score in zip(batch, said.double().softmax(-1)[:, 1].tolist(), strict=True):
            found[at] = score
        progress(min(start + len(batch), len(order)), len(order), "posts scored by the encoder")
    return found
