"""What a run took, on a terminal and as JSON."""

from typing import Any

from rich.console import Group, RenderableType

from jobs.terminal.console import escape
from jobs.terminal.number_tables import number_table
from slurm.run.run_state import ORDER
from slurm.watch.accounting import Costs, Used


def cost_table(name: str, costs: Costs) -> RenderableType:
    """Return GPU-hours by cell and stage, and all attempts' hours."""
    stages = _stages(costs)
    cells = list(dict.fromkeys(cell for cell, stage in costs.by_stage if stage in stages))
    rows = [_row(cell, costs, stages) for cell in cells]
    total = costs.total
    last = ["total", *("" for _ in stages), str(total.attempts), _hours(total)]
    title = f"{name}: GPU-hours"
    return Group(
        number_table(title, ("cell", *stages, "attempts", "all"), [*rows, last]),
        *map(escape, costs.notes),
    )


def cost_json(costs: Costs) -> dict[str, Any]:
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
        "notes": list(costs.notes),
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
