"""Whether a planned training fits, and what would make it fit: before it is queued or loaded."""

import logging
from collections.abc import Iterator
from typing import Any

from hsd.config.train_config import TrainConfig
from hsd.errors import HsdError, PreflightError
from hsd.model.memory import free_gb
from hsd.model.nf4_experts import NF4_EXPERTS
from hsd.training.planned_base import SIZES_UNKNOWN, base_on, planned_base
from hsd.training.planned_devices import MAY_FIT, PlannedDevices
from hsd.training.planned_rows import PlannedRows
from hsd.training.run_plan import RunPlan, plan_with
from hsd.training.training_plan import TrainingPlan

log = logging.getLogger(__name__)


def refuse_hopeless(plan: TrainingPlan) -> str | None:
    """Return a doubt about a run that may not fit where it was placed, None without one.

    Raises PreflightError where it cannot: more than planned_devices.REFUSED times what is free.
    """
    planned = _planned_here(plan)
    if planned is None or planned.devices.fits(planned.need_gb) in ("yes", "unknown"):
        return None
    has = f"{planned.devices.memory_gb:.1f} GB are free on {plan.placement.device}"
    said = f"model '{plan.source.name}': {need_sentence(planned, has)}"
    if planned.devices.is_hopeless(planned.need_gb):
        raise PreflightError(f"{said}.")
    return f"{said}. The plan is an estimate, so it is tried."


def need_sentence(plan: RunPlan, has: str) -> str:
    """Return what a training needs, what there is, and what would fit; no full stop."""
    weights = next(part.bytes for part in plan.training.parts) / 1e9
    ways = changes_that_fit(plan)
    instead = f"set {', or '.join(ways)}" if ways else "take a smaller base or more memory"
    return (
        f"the training needs about {plan.need_gb:.1f} GB ({weights:.1f} for the weights), and "
        f"{has}; {instead}"
    )


def changes_that_fit(plan: RunPlan) -> list[str]:
    """Return settings that alone would make a training fit, each with what it would need.

    What only may fit says so, and comes last.
    """
    found: list[str] = []
    known: set[tuple[str, str]] = set()
    for said, config in _changes(plan.config):
        try:
            base = planned_base(config, plan.devices, plan.base.attention)
        except HsdError:
            continue  # a base that takes no 4 bit
        need_gb = plan_with(config, plan.devices, base, plan.rows).need_gb
        verdict = plan.devices.fits(need_gb)
        fits = need_gb < plan.need_gb and verdict in ("yes", "tight")
        same = base.quantization.method, config.training.model_dump_json()
        if fits and same not in known:  # for packed experts two settings mean the same
            known.add(same)
            doubt = MAY_FIT if verdict == "tight" else ""
            found.append(f"{said} (about {need_gb:.1f} GB{doubt})")
    return sorted(found, key=lambda way: MAY_FIT in way)


def _changes(config: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    """Yield what may be changed, in words and done; none of it changes what a step learns.

    But a smaller rank does: for fused experts, whose adapter is most of the memory.
    """
    training, rows = config.training, config.training.own_rows
    if config.model.quantization != "nf4":
        yield "model.quantization=nf4", _with(config, model={"quantization": "nf4"})
    if config.model.quantization != NF4_EXPERTS:
        experts = {"quantization": NF4_EXPERTS}
        yield f"model.quantization={NF4_EXPERTS}", _with(config, model=experts)
    if training.gradient_checkpointing is False:
        again = {"gradient_checkpointing": True}
        yield "training.gradient_checkpointing=true", _with(config, training=again)
    if training.batch_size > 1:
        small = {"batch_size": 1, "accumulation": rows}
        said = f"training.batch_size=1 and training.accumulation={rows}"
        yield said, _with(config, training=small)
    rank = config.lora.rank if config.lora.learns_experts else 1
    while (rank := rank // 2) > 0:  # the first that fits is named
        yield f"lora.rank={rank}", _with(config, lora={"rank": rank})


def _with(config: TrainConfig, **sections: dict[str, Any]) -> TrainConfig:
    changed = {n: getattr(config, n).model_copy(update=part) for n, part in sections.items()}
    return config.model_copy(update=changed)


def _planned_here(plan: TrainingPlan) -> RunPlan | None:
    """Return the plan of a run where it was placed; None where memory is not asked.

    A base whose sizes cannot be read is loaded as ever: no estimate stops what may work.
    """
    try:
        return _planned(plan)
    except SIZES_UNKNOWN as error:
        log.info("its memory was not planned: %s", error)
        return None


def _planned(plan: TrainingPlan) -> RunPlan | None:
    config, placement, rows = plan.config, plan.placement, plan.rows
    source, where = plan.source, (placement.device, placement.dtype)
    base = base_on(config, source.config, source, *where, plan.attention)
    stored = getattr(plan.source.config, "dtype", None)
    free = free_gb(placement, base.quantization, stored)
    if free is None:
        return None
    devices = PlannedDevices(1, free, is_gpu=placement.device != "cpu")
    known = PlannedRows(rows.train, len(rows.train), len(rows.validation), "")
    return plan_with(config, devices, base, known)
