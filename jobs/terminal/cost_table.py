"""What a run took, on a terminal and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hsd.counted import counted
from jobs.terminal.console import escape
from jobs.terminal.plain_tables import number_table
from slurm.run.run_state import ORDER
from slurm.watch.accounting import Costs, Used
from slurm.watch.booked import StageUse, profile_lines
from slurm.watch.losses import CAUSES, Parts, summed


def cost_table(name: str, costs: Costs, uses: Sequence[StageUse] = ()) -> RenderableType:
    """Return GPU-hours by cell and stage, all attempts' hours, and what was used of the booked."""
    stages = _stages(costs)
    cells = list(dict.fromkeys(cell for cell, stage in costs.by_stage if stage in stages))
    rows = [_row(cell, costs, stages) for cell in cells]
    total = costs.total
    last = ["total", *("" for _ in stages), str(total.attempts), _hours(total)]
    title = f"{name}: GPU-hours"
    return Group(
        number_table(title, ("cell", *stages, "attempts", "all"), [*rows, last]),
        *cause_table(costs, stages),
        *map(escape, costs.notes),
        *use_table(uses),
    )


def cause_table(costs: Costs, stages: Sequence[str]) -> list[RenderableType]:
    """Return where the hours went, by stage; [] where there are none."""
    if not stages:
        return []
    has_gpus = costs.total.gpu_hours > 0
    rows = [_cause_row(stage, costs, has_gpus, stage) for stage in stages]
    rows.append(_cause_row("total", costs, has_gpus))
    header = ("stage", *CAUSES, "all", "waited")
    title = f"Where the {'GPU-hours' if has_gpus else 'hours'} went"
    return [number_table(title, header, rows)]


def runs_table(runs: Mapping[str, Costs]) -> RenderableType:
    """Return where the hours of several runs went, a line for each, and their total."""
    has_gpus = any(costs.total.gpu_hours > 0 for costs in runs.values())
    rows = [_cause_row(name, costs, has_gpus) for name, costs in runs.items()]
    known = [s for costs in runs.values() if (s := costs.waited_s()) is not None]
    total = summed(costs.causes() for costs in runs.values())
    rows.append(_hours_row("total", total, sum(known) if known else None, has_gpus))
    title = f"Where the {'GPU-hours' if has_gpus else 'hours'} went"
    table = number_table(title, ("run", *CAUSES, "all", "waited"), rows)
    notes = [f"{name}: {note}" for name, costs in runs.items() for note in costs.notes]
    return Group(table, *map(escape, notes))


def _cause_row(name: str, costs: Costs, has_gpus: bool, stage: str | None = None) -> list[str]:
    return _hours_row(name, costs.causes(stage), costs.waited_s(stage), has_gpus)


def _hours_row(name: str, parts: Parts, waited: float | None, has_gpus: bool) -> list[str]:
    hours = [part.gpus if has_gpus else part.jobs for part in parts.values()]
    return [
        name, *(f"{one:.2f}" if one else "-" for one in hours), f"{sum(hours):.2f}",
        "-" if waited is None else f"{waited / 3600:.2f}",
    ]  # fmt: skip


def use_table(uses: Sequence[StageUse]) -> list[RenderableType]:
    """Return what stages used of what they booked, and what would do; [] where nobody knows."""
    if not uses:
        return []
    header = ("stage", "attempts", "memory, GB", "cores", "GPUs busy", "GPU memory, GB")
    rows = [
        [
            use.stage,
            str(use.attempts),
            _of(use.memory_gb, use.booked.memory_gb),
            _of(use.cores, use.booked.cpus),
            "-" if use.gpu_percent is None else f"{use.gpu_percent:.0f} %",
            _of(use.gpu_memory_gb, use.gpu_total_gb),
        ]
        for use in uses
    ]
    found: list[RenderableType] = [number_table("Used, of what was booked", header, rows)]
    if told := sum(use.by_sacct for use in uses):
        found.append(
            f"Of {counted(told, 'attempt')} sacct alone knows; its memory counts mapped files too."
        )
    if lines := profile_lines(uses):
        found.append("In the profile, this would do:")
        found.append(Text("\n".join(lines)))
    return found


def _of(used: float | None, booked: float | None) -> str:
    return "-" if used is None or booked is None else f"{used:.1f} of {booked:g}"


def cost_json(costs: Costs, uses: Sequence[StageUse] = ()) -> dict[str, Any]:
    """Return the same numbers, with seconds of wall time."""
    return {
        "gpu_hours": round(costs.total.gpu_hours, 4),
        "attempts": costs.total.attempts,
        "cells": [
            {
                "cell": cell,
                "stage": stage,
                "attempts": used.attempts,
                "elapsed_s": round(used.elapsed_s, 1),
                "gpu_hours": round(used.gpu_hours, 4),
            }
            for (cell, stage), used in costs.by_stage.items()
        ],
        "causes": [_cause_facts(stage, costs) for stage in (*_stages(costs), None)],
        "used": [
            {
                "stage": use.stage,
                "attempts": use.attempts,
                "booked": {"memory_gb": use.booked.memory_gb, "cpus": use.booked.cpus},
                "memory_gb": use.memory_gb,
                "cores": use.cores,
                "gpu_percent": use.gpu_percent,
                "gpu_memory_gb": use.gpu_memory_gb,
                "gpu_total_gb": use.gpu_total_gb,
                "by_sacct": use.by_sacct,
            }
            for use in uses
        ],
        "profile": profile_lines(uses),
        "notes": list(costs.notes),
    }


def _cause_facts(stage: str | None, costs: Costs) -> dict[str, Any]:
    """Return where the hours of a stage went; None is the whole run."""
    waited = costs.waited_s(stage)
    return {
        "stage": stage,
        "waited_h": None if waited is None else round(waited / 3600, 4),
        **{
            f"{cause.replace('-', '')}": {"hours": round(h.jobs, 4), "gpu_hours": round(h.gpus, 4)}
            for cause, h in costs.causes(stage).items()
        },
    }


def _stages(costs: Costs) -> list[str]:
    found = {stage for (_, stage), used in costs.by_stage.items() if used.attempts}
    return [stage for stage in ORDER if stage in found]


def _row(cell: str, costs: Costs, stages: list[str]) -> list[str]:
    used = [costs.by_stage.get((cell, stage)) for stage in stages]
    whole = costs.of_cell(cell)
    return [cell, *(_hours(one) for one in used), str(whole.attempts), _hours(whole)]


def _hours(used: Used | None) -> str:
    return f"{used.gpu_hours:.2f}" if used and used.attempts else "-"
