"""Whether a base has an embedding for each token that its tokenizer may give."""

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from hsd.errors import ModelError


def require_embeddings(
    tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str
) -> None:
    """Raise ModelError when a token that posts or the chat template can have has no embedding.

    Control tokens that neither uses may lie beyond: Gemma-3's text models keep one for pictures.
    """
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if not rows:
        return
    used = {token: at for token, at in tokenizer.get_vocab().items() if at >= rows}
    for at, added in tokenizer.added_tokens_decoder.items():
        if added.special and not _is_used(str(added), tokenizer):
            used = {token: place for token, place in used.items() if place != at}
    if used:
        token = min(used, key=lambda one: used[one])
        raise ModelError(
            f"model '{name}': its tokenizer gives '{token}' the number {used[token]}, but the base "
            f"has embeddings for {rows} tokens only ({len(used)} such tokens). Take the tokenizer "
            "that belongs to these weights, or weights whose embeddings were resized to it."
        )


def _is_used(token: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a control token stands in the chat template, or begins, ends or fills rows."""
    roles = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    return token in str(tokenizer.chat_template) or token in roles
