"""An adapter's folder before any weight is read: its base, and whether it can be loaded truly.

Adapters come from many programs. What a kind of adapter needs beside its own weights may not be in
its folder: numbers that were drawn at random, activations of its training data. Such a one is
refused by what its adapter_config.json says, since loaded it would be another model, in silence.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt, ValidationError

from hsd.errors import ModelError
from hsd.io.digests import recorded_digests
from hsd.io.files import require_folder
from hsd.io.hashes import sha256_file
from hsd.io.json_reader import read_object
from hsd.io.manifest import ADAPTER, manifest_of

CONFIG = "adapter_config.json"
WEIGHTS = ADAPTER
PICKLED = "adapter_model.bin"

KEEPS_BASE = ("true", "false", "gaussian", "eva", "orthogonal", "mica")
"""`init_lora_weights` that choose first values only; the file's values replace them all."""

REWRITES_BASE = ("pissa", "olora")
"""Those that take their first values out of the base's weights, in one way only. The training saw
what was left of the base, so a load takes them out again."""

CONVERTED = (
    "Save it again where it was trained, with peft's path_initial_model_for_weight_conversion, or "
    "give the model that was merged there."
)
LOST_BASE = {
    "pissa_niter_": "loading takes numbers out of the base's weights by a random method, so each "
    f"load would give another model. {CONVERTED}",
    "corda": "its training took numbers out of the base's weights that depend on texts which are "
    f"not in its folder. {CONVERTED}",
    "lora_ga": "its training took numbers out of the base's weights that depend on gradients which "
    f"are not in its folder. {CONVERTED}",
    "loftq": "its training quantised the base's weights in its own way, and they are not in its "
    "folder. Give the model that was merged where it was trained.",
}
"""Beginnings of `init_lora_weights` whose base cannot be had again, and why."""

VARIANTS = {
    "alora_invocation_tokens": "it works only behind certain tokens",
    "arrow_config": "it chooses among several adapters",
    "kasa_config": "it cuts the base's weights",
    "layer_replication": "it repeats the base's layers",
    "megatron_config": "it needs Megatron's layers",
    "monteclora_config": "it draws random numbers",
    "use_bdlora": "its matrices are in blocks",
    "use_qalora": "it needs a GPTQ base",
    "velora_config": "it computes with compressed inputs",
}
"""Settings that make another method of a LoRA adapter."""


SCALES = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")
"""Settings beside rank and alpha that decide how much an adapter's weights do."""


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter.

    A whole model with an adapter_config.json that a merge left behind is none.
    """
    return (folder / CONFIG).is_file() and (_has_weights(folder) or not is_whole_model(folder))


def is_whole_model(folder: Path) -> bool:
    """Return whether a folder holds a model's config and safetensors weights, not an adapter's."""
    weights = [file for file in folder.glob("*.safetensors") if file.name != WEIGHTS]
    return (folder / "config.json").is_file() and bool(weights)


def holds_adapters(folder: Path) -> list[str]:
    """Return the names of the folders in a folder that hold an adapter."""
    inside = (file.parent for file in folder.glob(f"*/{CONFIG}"))
    return sorted(one.name for one in inside if is_adapter(one))


def read_adapter(folder: Path) -> dict[str, Any]:
    """Return adapter_config.json of a LoRA adapter that can be loaded as it was trained.

    Raises ModelError in one line for a folder without one, for another kind of adapter, and for
    one whose model needs more than its folder holds; PreflightError without the folder.
    """
    config = read_object(require_adapter(folder) / CONFIG)
    if problem := unreadable(config):
        raise ModelError(f"{folder / CONFIG}: {problem}")
    if not (folder / WEIGHTS).is_file() and (folder / PICKLED).is_file():
        raise ModelError(
            f"{folder}: its weights are in {PICKLED}, and only safetensors adapters are read: a "
            "pickle can run code. Save it again with peft's save_pretrained."
        )
    return config


def require_adapter(folder: Path) -> Path:
    """Return a folder that holds an adapter, whatever its kind.

    Raises ModelError for a folder without one; PreflightError without the folder.
    """
    require_folder(folder, "adapter folder")
    if not is_adapter(folder):
        raise ModelError(_no_adapter(folder))
    return folder


def unreadable(config: Mapping[str, Any]) -> str | None:
    """Return why an adapter of this adapter_config.json cannot be loaded truly, None if it can."""
    if odd := _odd(config):
        return odd
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind != "LORA":
        named = f"an adapter of kind {kind}" if kind else "no adapter of peft (no peft_type)"
        return (
            f"this is {named}; hsd reads LoRA adapters (peft_type LORA). Where its program can "
            "merge it into its base, give the merged folder as the model."
        )
    if task not in (None, "CAUSAL_LM"):
        return (
            f"the adapter was trained for the task {task}, with a head that answers in numbers; "
            "hsd reads adapters of language models (task_type CAUSAL_LM)."
        )
    return _lost_base(config) or _variant(config) or _from_the_future(config)


def unlike_scales(config: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return how an adapter's weights do more or less than under the settings `here`."""
    pairs = ((name, config.get(name) or None, here.get(name) or None) for name in SCALES)
    return [f"{name} is {there} there and {own} here" for name, there, own in pairs if there != own]


def rewrites_base(config: Mapping[str, Any]) -> str | None:
    """Return why loading this adapter rewrites the weights of its base's layers, None if not."""
    if _init(config) in REWRITES_BASE:
        return f"init_lora_weights is '{_init(config)}', which takes its values out of the base"
    return None


def learned_inside(config: Mapping[str, Any]) -> str | None:
    """Return which parameters outside of any layer an adapter changes, such as fused experts."""
    if names := config.get("target_parameters"):
        return f"target_parameters changes {', '.join(map(str, names))}"
    return None


def changes_base(config: Mapping[str, Any]) -> str | None:
    """Return why the model with this adapter switched off is not its base, None where it is."""
    if why := rewrites_base(config):
        return why
    if (bias := config.get("bias") or "none") != "none":
        return f"bias is '{bias}': the base's own biases were trained"
    return None


def base_of(folder: Path) -> dict[str, Any]:
    """Return what an adapter's own files say of its base: name, revision, how it was held."""
    read_adapter(folder)
    return named_base(folder)


def named_base(folder: Path) -> dict[str, Any]:
    """Return the same of an adapter that may not be one that can be loaded."""
    config = read_object(folder / CONFIG)
    found = {"name": config.get("base_model_name_or_path"), "revision": config.get("revision")}
    return found | recorded_base(folder)


def recorded_base(folder: Path) -> dict[str, Any]:
    """Return the base as the run's manifest describes it; empty for an adapter made elsewhere."""
    return dict(manifest_of(folder).get("base") or {})


def adapter_digest(folder: Path) -> str:
    """Return the digest of an adapter's weights.

    Raises ModelError when it has none to read, and when weights or settings are not what the
    training that finished here, or saved this checkpoint, wrote.
    """
    try:
        digest = sha256_file(folder / WEIGHTS)
    except OSError:
        raise ModelError(
            f"{folder}: {WEIGHTS} is missing or unreadable; only safetensors adapters are read."
        ) from None
    known = recorded_digests(folder)
    if CONFIG in known:
        _require_as_written(folder / CONFIG, sha256_file(folder / CONFIG), known)
    _require_as_written(folder / WEIGHTS, digest, known)
    return digest


def _require_as_written(file: Path, digest: str, known: Mapping[str, str]) -> None:
    if known.get(file.name, digest) != digest:
        raise ModelError(
            f"{file} is not as its training wrote it (its sha256 is another); put it back, or "
            "train again. Where the change is meant, copy the adapter without its done.json or "
            "complete.json."
        )


class _Settings(BaseModel):
    """The kinds of the settings that hsd or peft reads, of a LoRA adapter."""

    model_config = ConfigDict(strict=True, extra="ignore")

    peft_type: str | None = None
    peft_version: str | None = None
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    r: PositiveInt = 8
    lora_alpha: NonNegativeFloat = 8
    lora_dropout: NonNegativeFloat = 0
    bias: str | None = None
    target_modules: str | list[str] | None = None
    exclude_modules: str | list[str] | None = None
    modules_to_save: list[str] | None = None
    target_parameters: list[str] | None = None
    init_lora_weights: bool | str | None = None
    use_rslora: bool | None = None
    use_dora: bool | None = None
    fan_in_fan_out: bool | None = None
    lora_bias: bool | None = None
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, NonNegativeFloat] | None = None
    layers_to_transform: int | list[int] | None = None
    layers_pattern: str | list[str] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None


def _odd(config: Mapping[str, Any]) -> str | None:
    """Return which setting is of a kind that it cannot be, None where none is."""
    if config.get("peft_type") not in (None, "LORA") and isinstance(config["peft_type"], str):
        return None  # said better
    try:
        _Settings.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{first['loc'][0]}: {first['msg']}."
    return None


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (WEIGHTS, PICKLED))


def _no_adapter(folder: Path) -> str:
    if (folder / CONFIG).is_file():
        return (
            f"{folder}: a whole model and no adapter; its {CONFIG} was left over, as it has no "
            f"{WEIGHTS}. Give it as the model, with --model-name."
        )
    inside = holds_adapters(folder)
    there = f" It holds adapters in {', '.join(inside)}: give one of them." if inside else ""
    return f"{folder}: no adapter here ({CONFIG} is missing).{there}"


def _init(config: Mapping[str, Any]) -> str:
    return str(config.get("init_lora_weights", True)).lower()


def _lost_base(config: Mapping[str, Any]) -> str | None:
    init = _init(config)
    if init in (*KEEPS_BASE, *REWRITES_BASE):
        return None
    why = next((why for begins, why in LOST_BASE.items() if init.startswith(begins)), None)
    why = why or f"hsd does not know what it does to the base. {CONVERTED}"
    return f"init_lora_weights is '{init}': {why}"


def _variant(config: Mapping[str, Any]) -> str | None:
    found = next((key for key in VARIANTS if config.get(key)), None)
    if found is None:
        return None
    return (
        f"{found} is set, so this is another method than plain LoRA ({VARIANTS[found]}), which "
        "hsd does not read."
    )


def _from_the_future(config: Mapping[str, Any]) -> str | None:
    """A newer peft writes settings that this one would leave out with no more than a warning."""
    from peft import LoraConfig  # loads torch, which a look at a folder does not need

    known = {field.name for field in fields(LoraConfig)}
    if unknown := sorted(key for key, value in config.items() if key not in known and value):
        return (
            f"{', '.join(unknown)}: a setting that the installed peft does not know; where it "
            "changes nothing, take it out of the file."
        )
    return None
