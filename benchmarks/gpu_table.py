"""The rows of `python -m benchmarks.gpu` as tables, and the gains between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu_peak import FORMULA

Row = Mapping[str, Any]
TRAIN = {
    "seconds_per_step": "s a step",
    "rows_per_s": "rows/s",
    "row_tokens_per_s": "tokens of rows/s",
    "computed_tokens_per_s": "computed tokens/s",
    "tflops": "TFLOPS",
    "mfu": "MFU",
    "peak_gb": "peak, GB",
    "plan_gb": "hsd plan, GB",
    "error": "error",
}
ON, OFF, WITHOUT = (
    "sharing on, checkpointing on",
    "sharing off, checkpointing on",
    "sharing on, checkpointing off",
)


def gains(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return how many times faster a step is with sharing, and without checkpointing."""
    found: list[dict[str, Any]] = []
    for part in dict.fromkeys(row["part"] for row in rows):
        took = {r["variant"]: r.get("seconds_per_step") for r in rows if r["part"] == part}
        for name, slower, faster in (
            ("gain of sharing", OFF, ON),
            ("gain of no checkpointing", ON, WITHOUT),
        ):
            before, after = took.get(slower), took.get(faster)
            if before and after:
                found.append({"part": part, "variant": name, "times_as_fast": before / after})
    return found


def table(rows: Sequence[Row]) -> str:
    """Return all rows as Markdown: steps and scores in one table, the rest in lines."""
    lines = [
        f"| part | variant | {' | '.join(TRAIN.values())} |",
        f"| --- | --- |{' --- |' * len(TRAIN)}",
    ]
    others: list[str] = []
    for row in rows:
        if "seconds_per_step" in row or "rows_per_s" in row or "error" in row:
            cells = (_cell(row.get(name)) for name in TRAIN)
            lines.append(f"| {row['part']} | {row['variant']} | {' | '.join(cells)} |")
        else:
            facts = (f"{k} {_cell(v)}" for k, v in row.items() if k not in ("part", "variant"))
            others.append(f"{row['part']}, {row['variant']}: {', '.join(facts)}")
    return "\n".join([*lines, "", *others, FORMULA + "."])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")
