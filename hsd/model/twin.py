"""A small exact twin of a loaded model: its class and its config, few narrow layers, in float32.

Whether a model follows the masks and positions that it is given is a matter of its code, and in 16
or 4 bit rounding hides the answer: SmolLM2 made to ignore its positions was as far off (.14 nats)
as when it followed them. On the twin the same code is off by .00001 or by several nats, whatever
the weights, the number format and the device of the model that it stands for.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from transformers import PretrainedConfig

from hsd.errors import ModelError
from hsd.model.flex_mask import FLEX
from hsd.prompts.render import Encoded

ROWS, PREFIX_TOKENS = 16, 24

WINDOW = 16
"""A twin's sliding window, at most; most rows are longer."""

VOCABULARY, HIDDEN, WIDTH, KEY_HEADS, QUERIES = 256, 256, 128, 2, 2
"""At most so many tokens, numbers a token, inner numbers of feed-forward layers, heads for keys,
and queries for each."""

EXPERTS = 4
"""All of them answer each token: which are the best few would be for rounding to say."""

AT_MOST = (
    (VOCABULARY, ("vocab_size", "vocab_size_per_layer_input")),
    (VOCABULARY - 1, ("pad_token_id", "bos_token_id")),
    (WIDTH, ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size")),
    (WINDOW, ("sliding_window", "window_size")),
    (1, ("n_group", "topk_group")),
)

NUMBER_OF_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
EXPERTS_A_TOKEN = ("num_experts_per_tok", "top_k_experts")

OTHER_DEPTHS = ("num_hidden_layers", "depth", "num_blocks")
"""What the parts of a model that see or hear call their number of layers."""

BY_CHANCE = ("dropout", "pdrop", "jitter")
"""What a model that learns leaves to chance is named so."""

UNFIT = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
"""What architectures raise that cannot be made so small."""


def twin_of(model: Any) -> Any:
    """Return the twin on the CPU; its weights are random and always the same.

    Raises ModelError where none can be made, or none would speak for the model.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    _require_own_code(base)
    attention = base.config.get_text_config()._attn_implementation
    if attention == FLEX:  # of which a CPU has no gradient; masks are the same by test
        attention = "eager"
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            twin = type(base)._from_config(
                shrunk(base.config), dtype=torch.float32, attn_implementation=attention
            )
            for weight in twin.parameters():
                if weight.dim() > 1:  # larger than models start with, so that all it sees matters
                    torch.nn.init.normal_(weight, std=2 / weight.shape[-1] ** 0.5)
            twin.eval()(input_ids=torch.tensor([[3, 4]]))  # some find out only now
    except UNFIT as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(f"no small twin of it can be made to check it on ({reason})") from error
    return twin


def shrunk(config: Any) -> Any:
    """Return a model's config with one layer of each kind, two at least, all of them narrow.

    What decides on masks and positions stays: kinds of layers, rotary scaling, sinks, a window.
    """
    config = deepcopy(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    text = config.get_text_config()
    for part in (getattr(config, name) for name in config.sub_configs):
        if part is not None and part is not text:
            _set_at_most(part, OTHER_DEPTHS, 1)
    # A head of its own: tied to embeddings this large it would say each token again, for certain.
    config.tie_word_embeddings = text.tie_word_embeddings = False
    _keep_kinds(text)
    _narrow(text)
    for name, value in vars(text).items():
        if isinstance(value, float) and any(word in name for word in BY_CHANCE):
            setattr(text, name, 0.0)
    return config


def made_up_rows() -> list[Encoded]:
    """Return rows of random ids behind one prefix, as different in length as real ones."""
    dice = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        drawn: list[int] = torch.randint(3, VOCABULARY - 1, (count,), generator=dice).tolist()
        return drawn

    prefix = ids(PREFIX_TOKENS)
    return [
        Encoded(f"made-up {n}", [*prefix, *ids(4 + 7 * n % 24)], ids(3 + n % 6))
        for n in range(ROWS)
    ]


def _require_own_code(base: Any) -> None:
    """Refuse a model whose code is not its class's: a twin has nothing but the class's."""
    names = [name for name, module in base.named_modules() if "forward" in vars(module)]
    if names:
        raise ModelError(
            f"the forward of {names[0] or 'the loaded model'} was replaced after loading, so that "
            "a twin of its class does not speak for it"
        )


def _keep_kinds(text: PretrainedConfig) -> None:
    """Cut the layers to the first of each kind; kinds differ in any list that has them all."""
    count, shared = text.num_hidden_layers, getattr(text, "num_kv_shared_layers", None) or 0
    lists = {n: v for n, v in vars(text).items() if isinstance(v, list) and len(v) == count}
    own = {int(n): v for n, v in (text.to_dict().get("per_layer_config") or {}).items()}
    kinds: dict[str, int] = {}
    for layer in range(count):
        traits = [*(v[layer] for v in lists.values()), own.get(layer), layer >= count - shared]
        kinds.setdefault(repr(traits), layer)
    kept = list(kinds.values())
    if len(kept) == 1:
        kept *= 2  # what a token saw has to reach another one
    text.per_layer_config = None
    text.num_hidden_layers = len(kept)
    for name, value in lists.items():
        setattr(text, name, [value[layer] for layer in kept])
    if shared:
        text.num_kv_shared_layers = sum(layer >= count - shared for layer in kept)
    if own:
        text.per_layer_config = {n: own[layer] for n, layer in enumerate(kept) if layer in own}


def _narrow(text: PretrainedConfig) -> None:
    for most, names in AT_MOST:
        _set_at_most(text, names, most)
    text.eos_token_id = None
    _set_at_most(text, NUMBER_OF_EXPERTS, EXPERTS)
    experts = next((n for name in NUMBER_OF_EXPERTS if (n := getattr(text, name, None))), None)
    for name in EXPERTS_A_TOKEN:
        if experts and getattr(text, name, None):
            setattr(text, name, experts)
    _narrow_heads(text)


def _narrow_heads(text: PretrainedConfig) -> None:
    """Leave few heads. Each keeps its width, which rotary positions and their scaling go by."""
    layer = text.per_layer_config[0]  # the config itself where layers are alike
    heads, hidden = layer.num_attention_heads, layer.hidden_size
    key_heads = getattr(layer, "num_key_value_heads", None) or heads
    width = getattr(layer, "head_dim", None) or hidden // heads
    is_free = hidden != heads * width  # where it is more or less than the heads, it may be so
    if "num_key_value_heads" not in (text.per_layer_attributes or ()):
        kept = min(KEY_HEADS, key_heads)
        _set_at_most(text, ("num_key_value_heads",), kept)
        text.num_attention_heads = heads = kept * min(QUERIES, heads // key_heads)
    text.hidden_size = min(hidden, HIDDEN) if is_free else heads * width


def _set_at_most(config: PretrainedConfig, names: Iterable[str], most: int) -> None:
    for name in names:
        if name in (config.per_layer_attributes or ()):
            continue
        value = getattr(config, name, None)
        if isinstance(value, int):
            setattr(config, name, min(value, most))
        elif isinstance(value, list) and all(isinstance(one, int) for one in value):
            setattr(config, name, [min(one, most) for one in value])
