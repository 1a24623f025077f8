"""What `hsd plan` prints, as tables and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from hsd.model.family_table import family_line
from hsd.training.memory_need import LIBRARIES, MemoryNeed
from hsd.training.planned_devices import MAY_FIT
from hsd.training.time_range import FORMULA
from jobs.terminal.console import escape
from jobs.terminal.plain_tables import number_table
from slurm.check.profile_fit import ProfileFit

if TYPE_CHECKING:
    from hsd.training.run_plan import RunPlan

_MOST_DIGITS = 9
_VERDICTS = {
    "yes": "[green]It fits[/]",
    "tight": "[yellow]It may fit[/]",
    "no": "[bold red]It does not fit[/]",
    "unknown": "Whether it fits is not known",
}


def plan_tables(
    plan: "RunPlan", profiles: Sequence[ProfileFit], would_fit: Sequence[str] = ()
) -> RenderableType:
    """Return a plan for a terminal: memory, work, and where it fits.

    `would_fit` are settings that would make it fit.
    """
    held = plan.base.quantization
    return Group(
        escape(f"{plan.config.model.name} on {plan.devices.words}"),
        escape(family_line(plan.base.how.shape.family)),
        escape(f"Weights: {held.method} ({held.reason}). {plan.rows_note}"),
        _memory_table("Training: memory of one device", plan.training),
        _memory_table("Evaluation: memory of one device", plan.evaluation),
        _verdict(plan),
        *([escape(_instead(would_fit))] if would_fit else []),
        number_table("Work", ("", "value"), _work(plan)),
        escape(f"Estimate: {FORMULA}."),
        escape(plan.time.assumptions),
        *([escape(plan.attention_note)] if plan.attention_note else []),
        *_profiles(profiles),
    )


def plan_json(
    plan: "RunPlan", profiles: Sequence[ProfileFit], would_fit: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the same numbers: GB are 1e9 bytes, of one device."""
    step, time, schedule = plan.step, plan.time, plan.schedule
    return {
        "model": plan.config.model.name,
        "devices": asdict(plan.devices),
        "weights": plan.base.quantization.method,
        "fits": plan.devices.fits(plan.need_gb),
        "need_gb": round(plan.need_gb, 3),
        "would_fit": list(would_fit),
        "loading_gb": round(plan.loading_gb, 3),
        "training_gb": _parts(plan.training),
        "evaluation_gb": _parts(plan.evaluation),
        "adapter_parameters": plan.base.how.adapter_parameters,
        "checkpoints_gb": round(plan.checkpoints_gb, 3),
        "steps": schedule.total_steps,
        "steps_per_epoch": schedule.steps_per_epoch,
        "step": {name: round(value, 2) for name, value in asdict(step).items()},
        "estimated_hours": [round(time.shortest_h, 4), round(time.longest_h, 4)],
        "formula": FORMULA,
        "assumptions": [
            time.assumptions,
            plan.rows_note,
            *filter(None, [plan.attention_note]),
        ],
        "profiles": [asdict(one) for one in profiles],
    }


def _memory_table(title: str, need: MemoryNeed) -> RenderableType:
    rows = [(part.name, _gb(part.bytes / 1e9)) for part in need.parts if part.bytes]
    rows += [(LIBRARIES, _gb(need.libraries_gb)), ("total", _gb(need.total_gb))]
    return number_table(title, ("part", "GB"), rows)


def _verdict(plan: "RunPlan") -> str:
    devices = plan.devices
    loads = plan.loading_gb > plan.training.total_gb
    loading = ", while the base is loaded" if loads else ""
    sure = (
        "An estimate: no GPU was measured." if devices.is_gpu else "Measured: right to about 10 %."
    )
    verdict = _VERDICTS[devices.fits(plan.need_gb)]
    return f"{verdict}: {_of(plan.need_gb, devices.memory_gb)} GB{loading}. {sure}"


def _instead(would_fit: Sequence[str]) -> str:
    may = "may" if MAY_FIT in would_fit[0] else "would"
    return f"It {may} fit with {', or '.join(would_fit)}."


def _of(need_gb: float, has_gb: float | None) -> str:
    """Return `7.50 of 8.00`, with as many more digits as tell the two apart."""
    if not has_gb:
        return _gb(need_gb)
    need, has = _gb(need_gb), _gb(has_gb)
    digits = 3
    while need == has and need_gb != has_gb and digits <= _MOST_DIGITS:
        need, has = f"{need_gb:.{digits}f}", f"{has_gb:.{digits}f}"
        digits += 1
    return f"{need} of {has}"


def _work(plan: "RunPlan") -> list[tuple[str, str]]:
    step, time, schedule = plan.step, plan.time, plan.schedule
    return [
        ("optimiser steps", f"{schedule.total_steps:,}"),
        ("rows a step", f"{schedule.rows_per_step:,}"),
        ("tokens a step and device", f"{step.tokens:,.0f}"),
        ("the same without sharing prompts", f"{step.tokens_unshared:,.0f}"),
        ("tokens that prompts share", f"{step.prefix:,}"),
        ("pieces a step", f"{step.pieces:.1f}"),
        ("expected gain of sharing", f"{step.gain:.1f}x"),
        ("parameters of the adapter", f"{plan.base.how.adapter_parameters:,}"),
        ("disk for checkpoints", f"{_gb(plan.checkpoints_gb)} GB"),
        ("time (estimate)", _range(_duration(time.shortest_h), _duration(time.longest_h))),
    ]


def _profiles(profiles: Sequence[ProfileFit]) -> list[RenderableType]:
    rows = [(one.name, one.devices, one.fits) for one in profiles]
    return [number_table("Cluster profiles", ("profile", "train on", "fits"), rows)] if rows else []


def _parts(need: MemoryNeed) -> dict[str, float]:
    parts = {part.name: round(part.bytes / 1e9, 4) for part in need.parts}
    return {**parts, LIBRARIES: need.libraries_gb, "total": round(need.total_gb, 3)}


def _range(shortest: str, longest: str) -> str:
    return shortest if shortest == longest else f"{shortest} to {longest}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return "less than a minute"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def _gb(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.01 else "under 0.01"
