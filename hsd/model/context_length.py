"""How long a base's context is."""

from transformers import PretrainedConfig


def positions_of(config: PretrainedConfig) -> int | None:
    """Return how many positions a base was made for; None where its config does not say.

    A base of several kinds of input says it of its text model.
    """
    found: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found
