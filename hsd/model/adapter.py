"""LoRA adapters: made, saved, and loaded so that a wrong or empty one is an error."""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import set_seed

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig as LoraSettings
from hsd.errors import ModelError, did_you_mean
from hsd.io.digests import recorded_digests
from hsd.io.files import atomic_file
from hsd.io.json_reader import read_object
from hsd.io.manifest import MANIFEST
from hsd.model.adapter_check import is_packed_by_use, probe, require_effect, require_same
from hsd.model.adapter_folder import (
    CONFIG,
    KEEPS_BASE,
    WEIGHTS,
    adapter_digest,
    base_of,
    changes_base,
    learned_inside,
    read_adapter,
    recorded_base,
    rewrites_base,
    unlike_scales,
)
from hsd.model.adapter_weights import RESIZED, fill_adapter
from hsd.model.base import Base, BaseFiles, find_base
from hsd.model.describe import files_identity, weights_fingerprint
from hsd.model.dora import give_float32_lengths, is_unlearned, lengths, start_anew
from hsd.model.fused_experts import (
    fuse_experts,
    linear_names,
    renames_experts,
    require_known_sides,
    require_unchanged,
)
from hsd.model.lora_targets import LayerNames, require_open_experts, resolve_targets
from hsd.model.nf4_experts import NF4_EXPERTS
from hsd.model.own_tokenizer import template_beside
from hsd.model.patterns import require_patterns
from hsd.model.quantization import PACKED
from hsd.model.text_model import beside_text, layer_names, names_within


def new_adapter(base: Base, settings: LoraSettings, seed: int) -> PeftModel:
    """Return the base with a fresh adapter; only the adapter learns, in float32.

    The seed is set before the first random number, so it fixes the adapter's first values.
    Of a base that sees or hears, the text model alone learns. Raises ModelError when no layer has
    one of the target names.
    """
    config = _fresh_config(base, settings)
    base.model.name_or_path = base.source.name  # what peft records, not where the files lie
    set_seed(seed)
    with _patterns_checked_here():
        model = get_peft_model(base.model, config)
    give_float32_lengths(model)
    start_anew(model)
    # peft takes the base's number format for the adapter on a 4-bit base; bfloat16 has too few
    # digits for small updates.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def _fresh_config(base: Base, settings: LoraSettings) -> LoraConfig:
    """Return peft's config for what the settings ask for."""
    require_open_experts(settings, base.quantization.method, base.source.name)
    left_out = beside_text(base.model)
    names = layer_names(base.model, left_out)
    targets = resolve_targets(settings, names, base.source.name)
    _require_targets(base, targets.modules, names)
    modules = targets.modules
    if modules == "all-linear" and renames_experts(base.model):
        modules = linear_names(base.model, left_out)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        target_parameters=list(targets.parameters) or None,
        exclude_modules=names_within(left_out) if modules else None,
        rank_pattern=dict(settings.rank_pattern or {}),
        alpha_pattern=dict(settings.alpha_pattern or {}),
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.source.name,
        revision=base.source.revision,
    )
    require_unchanged(config, base.model, base.source.name)
    return config


def load_adapter(base: Base, folder: Path) -> PeftModel:
    """Return the base with the folder's adapter on it, proven to be complete and to do something.

    Switched off it is the base, or `changes_base` says why not. Raises ModelError when the adapter
    cannot be loaded as it was trained, was trained on another base, has a weight too many or too
    few, changes nothing, or is not as its training wrote it.
    """
    said = read_adapter(folder)
    if recorded_digests(folder):
        adapter_digest(folder)  # raises where they are not as they were written
    _require_same_base(base, folder)
    _require_plain_weights(base, folder, said)
    _require_tokens(base, folder, said)
    plain = None if is_packed_by_use(base) else probe(base.model)
    require_patterns(said, (name for name, _ in base.model.named_modules()), folder / CONFIG)
    config = _config(folder, base)
    base.model.name_or_path = config.base_model_name_or_path
    _require_targets(base, config.target_modules, layer_names(base.model))
    with _by_peft(f"{folder}: peft cannot put it on {base.source.name}"), _patterns_checked_here():
        model = get_peft_model(base.model, config)
    _require_own_layers(model, base, folder)
    require_known_sides(model, said, folder)
    give_float32_lengths(model)
    fresh = lengths(model)
    fill_adapter(model, folder)
    if is_unlearned(model, fresh):
        raise ModelError(f"{folder}: the adapter changes nothing; it was not trained.")
    with without_adapter(model):
        off = probe(model)
    plain = off if plain is None else plain
    kept = changes_base(said) is None
    if kept:
        require_same(off, plain, base, folder)
    require_effect(probe(model), off if kept else plain, folder)
    return model.requires_grad_(False).eval()  # switching it off and on made it learn


def take_weights(model: PeftModel, base: Base, folder: Path) -> None:
    """Put another adapter's weights into a fresh one, to learn on from them.

    Raises ModelError when it was trained on another base, or has other weights than the fresh one.
    """
    said = read_adapter(folder)
    unlike = unlike_scales(said, vars(model.peft_config["default"]))
    if why := changes_base(said) or "; ".join(unlike):
        raise ModelError(
            f"{folder / CONFIG}: {why}; a run goes on from an adapter with its own LoRA settings "
            "that leaves its base alone, or its first step would be on another model."
        )
    _require_same_base(base, folder)
    require_known_sides(model, said, folder)
    fill_adapter(model, folder)


def merged_adapter(model: PeftModel, folder: Path) -> Any:
    """Return the model with the adapter in its weights, used up.

    Raises ModelError when it has biases that the base has no place for.
    """
    for name, layer in model.named_modules():
        has_bias = isinstance(layer, LoraLayer) and any(layer.lora_bias.values())
        if has_bias and getattr(layer.get_base_layer(), "bias", None) is None:
            raise ModelError(
                f"{folder}: it has a bias for {name} (lora_bias), where the base has none to merge "
                "it into. Evaluate the adapter on its base instead."
            )
    return model.merge_and_unload()


def find_recorded(model: ModelConfig, folder: Path, otherwise: str) -> BaseFiles:
    """Return the base that an adapter's own file names; `otherwise` is how it is given by hand.

    Raises ModelError that says where the name is from: mostly it is a path of another machine.
    """
    try:
        return find_base(model, template_beside(folder))
    except ModelError as error:
        raise ModelError(
            f"{folder / CONFIG} names the base '{model.name}', which cannot be had here "
            f"({str(error).rstrip('.')}). Where the base lies elsewhere, name it: {otherwise}.",
            code=error.code,
        ) from None


@contextmanager
def without_adapter(model: PeftModel) -> Iterator[None]:
    """Within the block the model answers as the untouched base."""
    with model.disable_adapter():
        yield


def _require_targets(base: Base, targets: Any, names: LayerNames) -> None:
    if isinstance(targets, str):
        return
    layers = names.known()
    for target in targets or ():
        if target.rpartition(".")[2] not in layers:
            raise ModelError(
                f"lora.target_modules: '{target}' is no linear layer of {base.source.name}."
                + did_you_mean(target, layers)
            )
        if _is_tied(base, target):
            # Measured: peft merges such an adapter wrongly, with differences of 4-6 in the logits.
            raise ModelError(
                f"lora.target_modules: '{target}' shares its weights with another layer in "
                f"{base.source.name}; such an adapter cannot be merged. Leave it out."
            )


def _is_tied(base: Base, target: str) -> bool:
    tied = getattr(base.model.config, "tie_word_embeddings", False)
    return bool(tied) and target.rpartition(".")[2] in ("lm_head", "embed_tokens")


def _config(folder: Path, base: Base) -> Any:
    """Return peft's config of a checked adapter, to be loaded.

    First values that leave the base alone are all replaced by the file's, and some cannot be made
    without data. Dropout is for training alone, and experts refuse it.
    """
    with _by_peft(f"{folder / CONFIG}: peft cannot read it"):
        config: Any = PeftConfig.from_pretrained(str(folder))
        fuse_experts(config, base.model)
    config.inference_mode, config.lora_dropout = True, 0.0
    if str(config.init_lora_weights).lower() in KEEPS_BASE:
        config.init_lora_weights = True
    return config


@contextmanager
def _by_peft(what: str) -> Iterator[None]:
    """Turn what peft raises for settings and layers that do not go together into one line."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{what}: {reason}") from error


@contextmanager
def _patterns_checked_here() -> Iterator[None]:
    """Silence a warning of peft, which looks for patterns among layers and not among experts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The following \w+_pattern keys", RuntimeWarning)
        yield


def _require_plain_weights(base: Base, folder: Path, said: Mapping[str, Any]) -> None:
    packed = {PACKED: "packed in MXFP4", NF4_EXPERTS: "in NF4"}.get(base.quantization.method)
    if packed and (inside := learned_inside(said)):
        raise ModelError(
            f"{folder / CONFIG}: {inside}, and the base's experts are {packed}. Set "
            "model.quantization=none, which unpacks them."
        )
    why = rewrites_base(said)
    if why and base.quantization.bits:
        raise ModelError(
            f"{folder}: {why}, and a base in 4 bit would be rounded once more. Set "
            "model.quantization=none."
        )


def _require_tokens(base: Base, folder: Path, said: Mapping[str, Any]) -> None:
    trained = said.get("trainable_token_indices") or []
    lists = trained.values() if isinstance(trained, dict) else [trained]
    rows = base.model.get_input_embeddings().weight.shape[0]
    last = max((token for tokens in lists for token in tokens), default=0)
    if last >= rows:
        raise ModelError(
            f"{folder / CONFIG}: token {last} was trained, and the base has {rows}: tokens were "
            f"added. {RESIZED}"
        )


def _require_own_layers(model: PeftModel, base: Base, folder: Path) -> None:
    """Refuse a pattern that reaches a layer which shares its weights (_require_targets)."""
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    reached = any(isinstance(layer, BaseTunerLayer) for layer in layers)
    if reached and _is_tied(base, "lm_head"):
        raise ModelError(
            f"{folder / CONFIG}: target_modules reach the embedding or the head, which share their "
            f"weights in {base.source.name} (tied); such an adapter cannot be merged."
        )


def _require_same_base(base: Base, folder: Path) -> None:
    trained, here = recorded_base(folder), files_identity(base.source)
    known = trained.get("files_sha256")
    if known and known == here["files_sha256"]:
        return
    is_same_form = trained.get("files_form") == here["files_form"]
    if known and here["files_sha256"] and (is_same_form or _is_merged(base)):
        is_other = True
    else:  # of an earlier hsd, or two forms of one base
        printed = trained.get("weights_sha256")
        is_other = bool(printed) and printed != weights_fingerprint(base.model)
    if is_other:
        trained_on = base_of(folder)["name"]
        raise ModelError(
            f"{folder}: this adapter was trained on {trained_on}, and {base.source.name} has "
            "other weights, or the same ones saved anew in other files. Give the base it was "
            "trained on, in the same revision and the same files."
        )


def _is_merged(base: Base) -> bool:
    """Whether an adapter was merged into these weights: that leaves a fingerprint as it was."""
    file = Path(base.source.location) / MANIFEST
    return file.is_file() and read_object(file).get("kind") == "merge"


def write_adapter(model: PeftModel, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json into a folder."""
    # "auto" would ask the hub for the base's config to see whether the vocabulary grew.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's card is an empty form


def export_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapter's two files into a folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".adapter-") as temporary:
        write_adapter(model, Path(temporary))
        move_adapter(Path(temporary), folder)


def move_adapter(source: Path, target: Path) -> None:
    """Put an adapter's files into another folder, each whole or not at all, weights last."""
    for name in (CONFIG, WEIGHTS):
        with (source / name).open("rb") as old, atomic_file(target / name, "wb") as new:
            shutil.copyfileobj(old, new)
