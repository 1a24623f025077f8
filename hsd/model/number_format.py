"""In which numbers a base is computed here: what has to stay the same while one run goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsd.config.model_config import ModelConfig
from hsd.errors import PreflightError
from hsd.io.run_identity import identity_of
from hsd.model import quantization
from hsd.model.adapter_folder import recorded_base
from hsd.model.base import BaseFiles
from hsd.model.families import attention_for
from hsd.model.placement import Placement, four_bit_compute, place

NumberFormat = dict[str, Any]
"""What became of each `auto`: device (cpu or cuda), dtype, quantization, double_quantization and
compute_dtype (both None without 4 bit) and attention."""

FIELDS = ("device", "dtype", "quantization", "double_quantization", "attention")
"""The fields of ModelConfig that decide it."""


def number_format(
    config: ModelConfig, source: BaseFiles, placement: Placement | None = None
) -> NumberFormat:
    """Return how `load_base` would hold and compute a base here; no weights are read.

    Raises ModelError or PreflightError where it would refuse to.
    """
    placement = placement or place(config)
    compute = four_bit_compute(placement)
    how = quantization.choose_quantization(config, source.config, placement.device, compute)
    hollow = quantization.skeleton(source.config)
    return {
        "device": _kind(placement.device),
        "dtype": _name(placement.dtype),
        "quantization": how.method,
        "double_quantization": how.double,
        "compute_dtype": how.compute_dtype,
        "attention": attention_for(hollow, config.attention, placement.device).code,
    }


def recorded_format(base: Mapping[str, Any]) -> NumberFormat:
    """Return what a manifest says of the base's number format; empty where it says nothing.

    For runs that began before it was a part of their identity.
    """
    if "placement" not in base:
        return {}
    names = ("dtype", "quantization", "double_quantization", "attention")
    known = {name: base[name] for name in names if name in base}
    return {"device": _kind(base["placement"]["device"]), **known}


def began_in(folder: Path) -> NumberFormat:
    """Return the number format of the training in a folder; empty where none began, or says it."""
    known = identity_of(folder) or {}
    if known.get("kind") != "train":
        return {}
    return known.get("number_format") or recorded_format(recorded_base(folder))


def as_asked(config: ModelConfig, known: NumberFormat) -> NumberFormat:
    """Return a known format with what `config` asks for laid over it; `auto` asks for nothing."""
    asked = {name: getattr(config, name) for name in ("device", "dtype", "attention")}
    changes = {name: value for name, value in asked.items() if value != "auto"}
    held = known.get("quantization")
    if not quantization.is_kept(config.quantization, held):
        changes["quantization"] = config.quantization
    if quantization.in_4bit(held):
        changes["double_quantization"] = config.double_quantization
    return {**known, **changes}


def how_to_keep(known: NumberFormat, now: NumberFormat) -> str:
    """Return what to do so that a base is computed as it was: `set model.device=cpu`."""
    differing = [name for name in FIELDS if name in known and known[name] != now[name]]
    if "device" in differing and known["device"] == "cuda":
        return "run it where torch sees a GPU like the one it began on"
    if not differing:
        return "run it on a GPU like the one it began on"
    values = {name: known[name] for name in differing}
    if "quantization" in values:
        values["quantization"] = quantization.again(known["quantization"])
    if values.get("double_quantization", "") is None:
        del values["double_quantization"]  # nothing is in 4 bit then
    return "set " + " ".join(f"model.{n}={_word(value)}" for n, value in values.items())


def require_alike(every: Sequence[NumberFormat]) -> None:
    """Raise PreflightError when one of the processes, in their order, has another number format.

    A step's gradient is one sum over all of them, and a report one table of all their rows.
    """
    for rank, other in enumerate(every):
        if other != every[0]:
            raise PreflightError(
                "the processes would hold the base in different number formats (rank 0: "
                f"{_words(every[0])}; rank {rank}: {_words(other)}); use GPUs of one kind, or set "
                "model.dtype=float32 and model.quantization=none, which all can."
            )


def _words(numbers: NumberFormat) -> str:
    return f"{numbers['dtype']} on {numbers['device']}, quantization {numbers['quantization']}"


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
