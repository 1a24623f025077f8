"""squeue: the jobs that wait or run."""

import sys
import time
from itertools import groupby
from typing import Any

from fake_slurm import faults, formats, options, resources, schedule, store
from fake_slurm.formats import moment
from fake_slurm.store import ACTIVE, Element, Job

VALUES = options.words("jobs format states user name partition sort account clusters")
FLAGS = options.words("noheader array all me long start")
SHORT = {"j": "jobs", "o": "format", "t": "states", "u": "user", "n": "name", "p": "partition"}
SHORT |= {"S": "sort", "A": "account", "M": "clusters", "h": "noheader", "r": "array", "a": "all"}
USUAL = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
LETTERS = {"PENDING": "PD", "RUNNING": "R", "COMPLETING": "CG", "COMPLETED": "CD", "FAILED": "F"}
LETTERS |= {"CANCELLED": "CA", "TIMEOUT": "TO", "NODE_FAIL": "NF", "OUT_OF_MEMORY": "OOM"}

Row = tuple[Job, list[Element]]
"""A job and those of its elements that are shown in one line."""


def main(argv: list[str]) -> None:
    """Print the queue."""
    faults.meet("squeue")
    asked, _ = options.parsed("squeue", argv, VALUES, FLAGS, SHORT)
    with store.changed() as state:
        schedule.advance(state)
    found = _found(state, asked)
    shown = [(job, element) for job, element in found if _wanted(job, element, asked)]
    rows = _rows(shown, "array" in asked)
    sys.stdout.write(
        formats.table(asked.get("format", USUAL), COLUMNS, rows, "noheader" not in asked)
    )


def _found(state: store.State, asked: dict[str, str]) -> list[tuple[Job, Element]]:
    jobs = store.of_cluster(state, asked)
    known = [(job, element) for job in jobs for element in job["elements"]]
    if faults.faults().get("forgets"):
        known = [(job, element) for job, element in known if not store.ended(element)]
    if "jobs" not in asked:
        return known
    ids = asked["jobs"].split(",") if "[" not in asked["jobs"] else [asked["jobs"]]
    wanted = [(job["id"], e["index"]) for text in ids for job, e in store.selected(state, text)]
    found = [(job, e) for job, e in known if (job["id"], e["index"]) in wanted]
    if not found and len(ids) == 1:  # of several ids, the unknown ones are passed over
        faults.fail("slurm_load_jobs error: Invalid job id specified")
    return found


def _wanted(job: Job, element: Element, asked: dict[str, str]) -> bool:
    states = asked.get("states", ",".join(store.QUEUED)).upper().split(",")
    of_name = "name" not in asked or job["name"] in asked["name"].split(",")
    short = LETTERS.get(element["state"], "")
    return of_name and ("ALL" in states or element["state"] in states or short in states)


def _rows(shown: list[tuple[Job, Element]], each: bool) -> list[Row]:
    """Put an array's elements that have not started into one row per reason, as squeue does."""

    def together(pair: tuple[Job, Element]) -> tuple[Any, ...]:
        job, element = pair
        alone = each or element["raw"] is not None or element["index"] is None
        return (job["id"], element["index"] if alone else None, element["reason"], element["state"])

    if each:  # as Slurm does: one that waits is called 7_0 here, and not 7_[0%2]
        shown = [(job, {**e, "raw": e["raw"] or job["id"]}) for job, e in shown]
    groups = [[*group] for _, group in groupby(shown, together)]
    return [(group[0][0], [element for _, element in group]) for group in groups]


def _index(row: Row) -> str:
    job, elements = row
    if elements[0]["index"] is None:
        return "N/A"
    limit = f"%{job['parallelism']}" if job["parallelism"] and _whole(row) else ""
    return formats.span([element["index"] for element in elements]) + limit


def _whole(row: Row) -> bool:
    return row[1][0]["raw"] is None


def _name(row: Row) -> str:
    job, elements = row
    if elements[0]["index"] is None or elements[0]["raw"] is not None:
        return store.name(job, elements[0])
    return f"{job['id']}_[{_index(row)}]"


def _state(row: Row) -> str:
    spoilt, element = faults.of("squeue").get("state"), row[1][0]
    return str(spoilt if spoilt and not store.ended(element) else element["state"])


def _reason(row: Row) -> str:
    element = row[1][0]
    spoilt = faults.of("squeue").get("reason")
    return str(spoilt if spoilt and element["state"] == "PENDING" else element["reason"])


def _nodes(row: Row) -> str:
    return resources.node_list(row[0]) if row[1][0]["state"] in ACTIVE else ""


def _ran(row: Row) -> float:
    start, end = row[1][0]["start"], row[1][0]["end"]
    return 0 if start is None else (end or time.time()) - start


def _dependency(row: Row) -> str:
    waits = row[1][0]["reason"].startswith("Dependency") or row[1][0]["held"]
    text = row[0]["options"].get("dependency")
    return f"{text}_*(unfulfilled)" if text and waits else "(null)"


def _priority(row: Row) -> int:
    return 0 if row[1][0]["held"] else 1


def _tres(row: Row) -> str:
    count, kind = resources.gpus(row[0]["options"])
    return f"gres:gpu:{kind + ':' if kind else ''}{count}" if count else "N/A"


def _end(row: Row) -> str:
    element = row[1][0]
    planned = element["start"] and element["start"] + 60 * resources.minutes(row[0])
    return moment(element["end"] or planned)


COLUMNS = {
    "i": ("JOBID", _name),
    "A": ("JOBID", lambda row: row[1][0]["raw"] or row[0]["id"]),
    "F": ("ARRAY_JOB_ID", lambda row: row[0]["id"]),
    "K": ("ARRAY_TASK_ID", _index),
    "j": ("NAME", lambda row: row[0]["name"]),
    "k": ("COMMENT", lambda row: row[0]["options"].get("comment", "(null)")),
    "P": ("PARTITION", lambda row: row[0]["options"].get("partition", "gpu")),
    "u": ("USER", lambda row: row[0]["user"]),
    "T": ("STATE", _state),
    "t": ("ST", lambda row: LETTERS.get(_state(row), _state(row)[:2])),
    "r": ("REASON", _reason),
    "R": ("NODELIST(REASON)", lambda row: _nodes(row) or f"({_reason(row)})"),
    "N": ("NODELIST", _nodes),
    "M": ("TIME", lambda row: resources.short_clock(_ran(row))),
    "l": ("TIME_LIMIT", lambda row: resources.short_clock(60 * resources.minutes(row[0]))),
    "L": (
        "TIME_LEFT",
        lambda row: resources.short_clock(60 * resources.minutes(row[0]) - _ran(row)),
    ),
    "S": ("START_TIME", lambda row: moment(row[1][0]["start"])),
    "e": ("END_TIME", _end),
    "V": ("SUBMIT_TIME", lambda row: moment(row[0]["submitted"])),
    "E": ("DEPENDENCY", _dependency),
    "D": ("NODES", lambda row: resources.number(row[0]["options"], "nodes")),
    "C": ("CPUS", lambda row: resources.cpus(row[0]["options"])),
    "a": ("ACCOUNT", lambda row: row[0]["options"].get("account", "hsd")),
    "q": ("QOS", lambda row: row[0]["options"].get("qos", "normal")),
    "b": ("TRES_PER_NODE", _tres),
    "Q": ("PRIORITY", _priority),
    "m": ("MIN_MEMORY", lambda row: resources.memory(row[0]["options"])),
    "Z": ("WORK_DIR", lambda row: row[0]["folder"]),
}
