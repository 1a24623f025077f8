"""Measurements as the Markdown that README quotes."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cases import ALL_ROWS, COMMANDS, SHARE, TITLES
from benchmarks.ratios import (
    Record,
    agreement,
    growth,
    loss_difference,
    of,
    row_seconds,
    speedup,
    spread,
)

MARK = "—"


def render(records: Sequence[Record], about: Mapping[str, Any]) -> str:
    """Return the whole report: where it was measured, then a table for each case."""
    names = list(dict.fromkeys(r["case"] for r in records))
    parts = ["# What hsd costs beside its peers", _about(about)]
    for case in sorted(names, key=_place):
        kind = case.split("/")[0]
        if kind == "train":
            parts.append(_training(records, case))
        elif kind == "evaluate":
            parts.append(_evaluation(records, case))
    parts += [_twice(records, names), _processes(records), _start(records)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _place(case: str) -> tuple[str, bool, int, int]:
    kind, prefix, posts, rows = (*case.split("/"), "", "0", "0")[:4]
    return ({"train": "0", "evaluate": "1"}.get(kind, "2"), posts == "real",
            int(prefix or 0) if prefix.isdigit() else 0, int(rows))  # fmt: skip


def _about(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join(
        [
            f"`{about['command']}`, {about['date']}, {about['processor']}, "
            f"{about['threads']} thread(s), float32, {about['model']}.",
            f"{versions}.",
            "",
            "CPU seconds, contenders in turn, each measurement in a process of its own.",
            "`times hsd` is CPU time a row against hsd's in the same round: the median, and the",
            "least and greatest of several rounds. `extra` is the peak of memory above the loaded",
            "model and libraries.",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(record: Record) -> str:
    kind, _, posts, rows = record["case"].split("/")
    what = f"one optimiser step of {rows} rows" if kind == "train" else f"{rows} rows"
    where = f"{posts} posts of {record['shortest']}–{record['longest']} tokens"
    verb = "Training" if kind == "train" else "Evaluation"
    return f"## {verb}: {what}, {record['prefix']} shared tokens, {where}"


def _training(records: Sequence[Record], case: str) -> str:
    mine = [r for r in records if r["case"] == case]
    if {r["contender"] for r in mine} == {"hsd"}:
        return ""  # measured for the rows' growth alone
    rows = [
        [*_costs(records, case, name, "hsd"), _error(records, case, name)]
        for name in _present(mine)
    ]
    difference = loss_difference(records, case)
    same = (
        f"Largest relative difference between the losses: {difference:.0e}."
        if difference is not None
        else ""
    )
    head = ["", "CPU s", "times hsd", "peak MiB", "extra MiB", "gradient error"]
    return f"{_title(mine[0])}\n\n{_table(head, rows)}\n\n{same}".strip()


def _evaluation(records: Sequence[Record], case: str) -> str:
    mine = [r for r in records if r["case"] == case]
    present = _present(mine)
    if set(present) <= {"hsd_generate", "hsd_score"}:
        return ""
    rows = []
    for name in present:
        title, seconds, _, *memory = _costs(records, case, name, "hsd_generate")
        against = [_ratio(speedup(records, case, name, ours)) for ours in ALL_ROWS]
        count, share = str(rows_of(records, case, name)), _share(records, case, name)
        rows.append([title, count, seconds, *against, *memory, share])
    head = ["", "rows", "CPU s a row", "times hsd generate", "times hsd score",
            "peak MiB", "extra MiB", "same answers"]  # fmt: skip
    note = (
        f"Contenders whose cost a row does not depend on how many there are answer every {SHARE}th "
        "row, other ones in each round. `same answers`: of writers, the text that hsd generate "
        f"wrote; of the others, the label that hsd score found.{_deciding(records, case)}"
    )
    return f"{_title(mine[0])}\n\n{_table(head, rows)}\n\n{note}"


def _deciding(records: Sequence[Record], case: str) -> str:
    """Return what of hsd's time is the shared prompt and the start-up check, once a run."""
    found = []
    for name in ALL_ROWS:
        own = of(records, case, name).values()
        seconds = spread(r["deciding_s"] for r in own if "deciding_s" in r)
        if seconds:
            found.append(f"{TITLES[name]} {seconds.middle:.1f}")
    told = " Once a run, and within hsd's time: the shared prompt and the self-test, CPU s: "
    return f"{told}{', '.join(found)}." if found else ""


def rows_of(records: Sequence[Record], case: str, name: str) -> int:
    """Return how many rows a contender answered in a round."""
    return int(next(iter(of(records, case, name).values()))["rows"])


def _present(records: Sequence[Record]) -> list[str]:
    """Return the contenders of a case in the order of their titles."""
    there = {r["contender"] for r in records}
    return [name for name in TITLES if name in there]


def _costs(records: Sequence[Record], case: str, name: str, base: str) -> list[str]:
    own = list(of(records, case, name).values())
    training = case.startswith("train")
    seconds = spread(r["cpu_s"] if training else row_seconds(r) for r in own)
    memory = [spread(r[field] for r in own) for field in ("peak_mib", "extra_mib")]
    return [
        TITLES[name],
        f"{seconds.middle:.3g}" if seconds else MARK,
        _ratio(speedup(records, case, name, base)),
        *(f"{m.middle:.0f}" if m else MARK for m in memory),
    ]


def _ratio(value: Any) -> str:
    return str(value) if value else MARK


def _error(records: Sequence[Record], case: str, name: str) -> str:
    found = [r["gradient_error"] for r in of(records, case, name).values() if "gradient_error" in r]
    return f"{max(found):.1e}" if found else MARK


def _share(records: Sequence[Record], case: str, name: str) -> str:
    wrote = any("replies" in r for r in of(records, case, name).values())
    field, base = ("replies", "hsd_generate") if wrote else ("labels", "hsd_score")
    share = agreement(records, case, field, name, base)
    return MARK if share is None or name == base else f"{share:.1%}"


def _twice(records: Sequence[Record], names: Sequence[str]) -> str:
    """The growth from a case to the one of twice its rows."""
    rows = []
    for case in names:
        *place, count = case.split("/")
        if len(place) != 3 or (large := "/".join([*place, str(2 * int(count))])) not in names:
            continue
        for contender in _present([r for r in records if r["case"] == large]):
            grown = [
                growth(records, case, large, contender, f)
                for f in ("cpu_s", "peak_mib", "extra_mib")
            ]
            if all(grown):
                rows.append(
                    [
                        f"{TITLES[contender]} ({place[0]})",
                        f"{count} → {2 * int(count)}",
                        *map(str, grown),
                    ]
                )
    head = ["", "rows", "times the CPU s", "times the peak", "times the extra"]
    return f"## Twice the rows\n\n{_table(head, rows)}" if rows else ""


def _processes(records: Sequence[Record]) -> str:
    mine = [r for r in records if r["case"] == "process"]
    if not mine:
        return ""
    rows = []
    for name in [n for n in COMMANDS if of(mine, "process", n)]:
        base = "hsd_train" if name in ("hsd_train", "trl_script") else "hsd_evaluate"
        own = list(of(mine, "process", name).values())
        figures = [spread(r[field] for r in own) for field in ("wall_s", "cpu_s", "peak_mib")]
        rows.append([COMMANDS[name], *(f"{f.middle:.0f}" if f else MARK for f in figures),
                     _ratio(speedup(mine, "process", name, base))])  # fmt: skip
    head = ["", "wall s", "CPU s", "peak MiB", "times hsd's CPU s"]
    title = f"## Whole commands on {mine[0]['rows']} rows, cold start included"
    return f"{title}\n\n{_table(head, rows)}"


def _start(records: Sequence[Record]) -> str:
    mine = [r for r in records if r["case"] == "start"]
    rows = []
    for record in mine:
        what = (
            f"{record['rows']} rows ({record['tokens']} tokens) read, tokenised and planned"
            if record["contender"] == "planning"
            else "`hsd --help`"
        )
        rows.append([what, *(f"{record[f]:.2f}" for f in ("cpu_s", "wall_s"))])
    head = ["", "CPU s", "wall s"]
    return f"## Before the first step\n\n{_table(head, rows)}" if rows else ""
