"""LoRA adapters: made, saved, and loaded so that a wrong or empty one is an error."""

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import set_seed
from transformers.pytorch_utils import Conv1D

from hsd.config.train import LoraConfig as LoraSettings
from hsd.errors import ModelError, did_you_mean
from hsd.model.describe import weights_fingerprint
from hsd.model.load import Base
from hsd.runs import ADAPTER, MANIFEST, atomic_file, read_json, require_folder, sha256_file

log = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = ADAPTER


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a LoRA adapter."""
    return (folder / CONFIG).is_file()


def new_adapter(base: Base, settings: LoraSettings, seed: int) -> PeftModel:
    """Return the base with a fresh adapter; only the adapter learns, in float32.

    The seed is set before the first random number, so it fixes the adapter's first values.
    Of a base that sees or hears, the text model alone learns. Raises ModelError when no layer has
    one of the target names.
    """
    targets = settings.target_modules
    left_out = _beside_text(base.model)
    _require_targets(base, targets, left_out)
    base.model.name_or_path = base.source.name  # what peft records, not where the files lie
    set_seed(seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_pattern(left_out),
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.source.name,
        revision=base.source.revision,
    )
    model = get_peft_model(base.model, config)
    # peft takes the base's number format for the adapter on a 4-bit base; bfloat16 has too few
    # digits for small updates.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def load_adapter(base: Base, folder: Path) -> PeftModel:
    """Return the base with the folder's adapter on it, proven to be complete and to do something.

    Raises ModelError when the adapter was trained on another base, when a weight is missing or
    left over, or when it changes nothing.
    """
    require_folder(folder, "adapter folder")
    if not is_adapter(folder):
        raise ModelError(f"{folder}: no adapter here ({CONFIG} is missing).")
    _require_same_base(base, folder)
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    base.model.name_or_path = config.base_model_name_or_path
    _require_targets(base, config.target_modules)
    model = get_peft_model(base.model, config)
    fill_adapter(model, folder)
    _require_effect(model, base, folder)
    return model.requires_grad_(False).eval()  # switching it off and on made it learn


def take_weights(model: PeftModel, base: Base, folder: Path) -> None:
    """Put another adapter's weights into a fresh one, to learn on from them.

    Raises ModelError when it was trained on another base, or has other weights than the fresh one.
    """
    _require_same_base(base, folder)
    fill_adapter(model, folder)


def base_of(folder: Path) -> dict[str, Any]:
    """Return what an adapter's own files say of its base: name, revision, how it was held."""
    require_folder(folder, "adapter folder")
    config = read_json(folder / CONFIG)
    found = {"name": config.get("base_model_name_or_path"), "revision": config.get("revision")}
    return found | recorded_base(folder)


def recorded_base(folder: Path) -> dict[str, Any]:
    """Return the base as the run's manifest describes it; empty for an adapter made elsewhere."""
    manifest = folder / MANIFEST
    content = read_json(manifest) if manifest.exists() else {}
    return dict(content.get("base", {}))


@contextmanager
def without_adapter(model: PeftModel) -> Iterator[None]:
    """Within the block the model answers as the untouched base."""
    with model.disable_adapter():
        yield


def _beside_text(model: Any) -> list[str]:
    """Return the names of a base's parts beside its text model: what sees, hears, or joins them.

    Text gives them no gradient, but they would be counted, decayed and exported.
    """
    if model.config.get_text_config() is model.config:
        return []
    text = [model.get_decoder(), model.get_output_embeddings()]
    own = {name for name, module in model.named_modules() if any(module is part for part in text)}
    around = {name.rsplit(".", count)[0] for name in own for count in range(1, name.count(".") + 1)}
    return [
        name
        for name, _ in model.named_modules()
        if name and name not in own | around and name.rpartition(".")[0] in {"", *around}
    ]


def _pattern(names: Sequence[str]) -> str | None:
    """Return what excludes modules and all within them, in peft's form; None for none."""
    return "|".join(rf"{re.escape(name)}(\..*)?" for name in names) or None


def _require_targets(base: Base, targets: Any, left_out: Sequence[str] = ()) -> None:
    if isinstance(targets, str):
        return
    beside = re.compile(_pattern(left_out) or r"(?!)")
    layers = {
        name.rpartition(".")[2]
        for name, module in base.model.named_modules()
        if _can_learn(module) and not beside.fullmatch(name)
    }
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


def _can_learn(module: torch.nn.Module) -> bool:
    return isinstance(module, (torch.nn.Linear, torch.nn.Embedding, Conv1D))


def _is_tied(base: Base, target: str) -> bool:
    tied = getattr(base.model.config, "tie_word_embeddings", False)
    return bool(tied) and target.rpartition(".")[2] in ("lm_head", "embed_tokens")


def _require_same_base(base: Base, folder: Path) -> None:
    recorded = recorded_base(folder).get("weights_sha256")
    if recorded and recorded != weights_fingerprint(base.model):
        trained_on = base_of(folder)["name"]
        raise ModelError(
            f"{folder}: this adapter was trained on {trained_on}, and {base.source.name} has "
            "other weights. Give the base it was trained on, in the same revision."
        )


def adapter_digest(folder: Path) -> str:
    """Return the digest of an adapter's weights. Raises ModelError when it has none to read."""
    try:
        return sha256_file(folder / WEIGHTS)
    except OSError:
        raise ModelError(
            f"{folder}: {WEIGHTS} is missing or unreadable; only safetensors adapters are read."
        ) from None


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


def fill_adapter(model: PeftModel, folder: Path) -> None:
    """Load an adapter's weights; every one the model has must be in the file, and no other."""
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read ({error}).") from None
    expected = get_peft_model_state_dict(model)
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    misshaped = [
        k for k in expected.keys() & weights.keys() if expected[k].shape != weights[k].shape
    ]
    if missing or extra or misshaped:
        example = sorted([*missing, *extra, *misshaped])[0]
        raise ModelError(
            f"{folder}: the adapter does not fit the base: {len(missing)} weights missing, "
            f"{len(extra)} left over, {len(misshaped)} of another shape (such as {example}). "
            "Is this the base it was trained on?"
        )
    if broken := sorted(k for k, weight in weights.items() if not weight.isfinite().all()):
        raise ModelError(f"{folder / WEIGHTS}: {broken[0]} holds values that are not numbers.")
    set_peft_model_state_dict(model, weights)


def _require_effect(model: PeftModel, base: Base, folder: Path) -> None:
    """Compare logits with and without the adapter on a few tokens."""
    probe = torch.arange(3, 11, device=base.placement.device)[None]  # (1, 8): any tokens will do
    with torch.inference_mode():
        adapted = model(input_ids=probe).logits
        with without_adapter(model):
            plain = model(input_ids=probe).logits
    difference = (adapted - plain).abs().max().item()
    log.info("adapter %s: largest logit difference to the base %.4g", folder, difference)
    if difference == 0.0 or difference != difference:
        what = "changes nothing" if difference == 0.0 else "gives logits that are not numbers"
        raise ModelError(
            f"{folder}: the adapter {what}; it was not trained, or its files are damaged."
        )
