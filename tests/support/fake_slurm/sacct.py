"""sacct: every attempt of every job."""

import time
from collections.abc import Iterator
from typing import Any

from fake_slurm import faults, formats, options, resources, schedule, store
from fake_slurm.formats import moment

VALUES = options.words("jobs format starttime endtime user state name units delimiter clusters")
FLAGS = options.words("duplicates parsable2 parsable noheader allocations allusers noconvert")
SHORT = {"j": "jobs", "o": "format", "S": "starttime", "E": "endtime", "u": "user", "s": "state"}
SHORT |= {"D": "duplicates", "P": "parsable2", "p": "parsable", "n": "noheader", "X": "allocations"}
SHORT |= {"a": "allusers", "M": "clusters"}
USUAL = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
NAMES = """
    JobID JobIDRaw JobName State ExitCode DerivedExitCode Elapsed ElapsedRaw Start End Submit
    Eligible NodeList NNodes AllocTRES ReqTRES AllocCPUS NCPUS ReqMem MaxRSS TotalCPU Partition
    Account Cluster User QOS Reason Timelimit TimelimitRaw Comment
"""

Row = dict[str, Any]


def main(argv: list[str]) -> None:
    """Print what accounting knows."""
    faults.meet("sacct")
    if "disabled" in faults.of("sacct"):
        faults.fail("Slurm accounting storage is disabled")
    asked, _ = options.parsed("sacct", argv, VALUES, FLAGS, SHORT)
    columns = [_column(text) for text in asked.get("format", USUAL).split(",")]
    with store.changed() as state:
        schedule.advance(state)
    empty = "empty" in faults.of("sacct")
    rows = [] if empty else [row for job, e in _found(state, asked) for row in _rows(job, e, asked)]
    heads = [] if "noheader" in asked else [{name: name for name in NAMES.split()}]
    for row in heads + rows:
        print(_line([str(row[column]) for column in columns], asked))


def _column(text: str) -> str:
    name = text.partition("%")[0].lower()
    found = next((known for known in NAMES.split() if known.lower() == name), None)
    if found is None:
        faults.fail(f'sacct: error: Invalid field requested: "{text}"')
    return str(found)


def _line(cells: list[str], asked: dict[str, str]) -> str:
    if "parsable2" in asked or "parsable" in asked:
        mark = asked.get("delimiter", "|")
        return mark.join(cells) + (mark if "parsable" in asked else "")
    return "".join(f"{cell[:10]:>10} " for cell in cells)


def _found(state: store.State, asked: dict[str, str]) -> list[tuple[store.Job, store.Element]]:
    jobs = store.of_cluster(state, asked)
    if "jobs" not in asked:
        return [(job, element) for job in jobs for element in job["elements"]]
    found = [pair for text in asked["jobs"].split(",") for pair in store.selected(state, text)]
    return [(job, element) for job, element in found if job in jobs]


def _rows(job: store.Job, element: store.Element, asked: dict[str, str]) -> Iterator[Row]:
    if element["raw"] is None and element["index"] is not None:
        waiting = [e for e in job["elements"] if e["raw"] is None]
        if element is not waiting[0]:
            return  # they share a line
        name = f"{job['id']}_[{formats.span([e['index'] for e in waiting])}]"
    else:
        name = store.name(job, element)
    attempts = element["attempts"] if "duplicates" in asked else []
    for attempt in [*attempts, element]:
        row = _row(job, element, attempt, name)
        yield row
        if "allocations" not in asked and attempt["start"] is not None:
            for step in ("batch", "0"):
                ids = {"JobID": f"{name}.{step}", "JobIDRaw": f"{attempt['raw']}.{step}"}
                words = {"JobName": step, "State": row["State"].split(" ")[0], "User": ""}
                none = dict.fromkeys(("Partition", "Timelimit", "TimelimitRaw", "ReqTRES"), "")
                yield row | ids | words | none | {"MaxRSS": "1024K", "TotalCPU": "00:01.000"}


def _row(job: store.Job, element: store.Element, attempt: Row, name: str) -> Row:
    start, end, wanted = attempt["start"], attempt["end"], job["options"]
    ran = 0 if start is None else int((end or time.time()) - start)
    state = "RUNNING" if attempt["state"] == "COMPLETING" else attempt["state"]
    state = faults.of("squeue").get("state", state)
    return {
        "JobID": name,
        "JobIDRaw": attempt["raw"] or job["id"],
        "JobName": job["name"],
        "State": f"{state} by 0" if state == "CANCELLED" else state,
        "ExitCode": attempt["code"],
        "DerivedExitCode": "0:0",
        "Elapsed": resources.clock(ran),
        "ElapsedRaw": ran,
        "Start": moment(start, "Unknown" if end is None else "None"),
        "End": moment(end, "Unknown"),
        "Submit": moment(job["submitted"]),
        "Eligible": moment(start or job["submitted"]),
        "NodeList": resources.node_list(job) if start is not None else "None assigned",
        "NNodes": resources.number(wanted, "nodes"),
        "AllocTRES": resources.tres(job) if start is not None else "",
        "ReqTRES": resources.tres(job),
        "AllocCPUS": resources.cpus(wanted),
        "NCPUS": resources.cpus(wanted),
        "ReqMem": resources.memory(wanted),
        "MaxRSS": "",
        "TotalCPU": "00:02.000",
        "Partition": wanted.get("partition", "gpu"),
        "Account": wanted.get("account", "hsd"),
        "Cluster": "fake",
        "User": job["user"],
        "QOS": wanted.get("qos", "normal"),
        "Reason": element["reason"],
        "Timelimit": resources.clock(60 * resources.minutes(job)),
        "TimelimitRaw": resources.minutes(job),
        "Comment": "",  # (22.05 keeps no comment without AccountingStoreFlags=job_comment)
    }
