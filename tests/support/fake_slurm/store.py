"""The queue: one JSON file in $FAKE_SLURM, changed under a lock.

A job has `id`, `name`, `options` (long names of sbatch), `folder`, `files` (what sbatch got) and
`elements`. An element has `index` (None: the job is no array), `raw` (its own SLURM_JOB_ID, once it
has started), `state`, `reason`, `held`, `restarts`, `pid` (of its runner), `start`, `end`, `code`
("0:0") and `attempts`: what it was before it was requeued.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Element = dict[str, Any]
State = dict[str, Any]

ACTIVE = ("RUNNING", "COMPLETING")
QUEUED = ("PENDING", *ACTIVE)


def root() -> Path:
    """Return the folder of the queue."""
    return Path(os.environ["FAKE_SLURM"])


def read(folder: Path | None = None) -> State:
    """Return the queue as it is now."""
    file = (folder or root()) / "state.json"
    return json.loads(file.read_text()) if file.exists() else {"next": 1001, "jobs": []}


@contextmanager
def changed() -> Iterator[State]:
    """Give the queue, and keep what is changed in it."""
    with (root() / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = read()
        yield state
        new = root() / "state.json.new"
        new.write_text(json.dumps(state, indent=1))
        new.replace(root() / "state.json")
        fcntl.flock(lock, fcntl.LOCK_UN)  # runners that were forked meanwhile hold the file, too


def new_id(state: State) -> int:
    """Return an id that no job has had."""
    state["next"] += 1
    return int(state["next"]) - 1


def job(state: State, number: int) -> Job | None:
    """Return a job by its id."""
    return next((job for job in state["jobs"] if job["id"] == number), None)


def of_cluster(state: State, asked: dict[str, str]) -> list[Job]:
    """Return the jobs of the cluster that is asked for; each has its own, and one has no name."""
    wanted = asked.get("clusters", "")
    return [job for job in state["jobs"] if job["options"].get("clusters", "") == wanted]


def name(job: Job, element: Element) -> str:
    """Return what squeue and sacct call an element: 1001_0, or 1001 of a job without array."""
    return f"{job['id']}" if element["index"] is None else f"{job['id']}_{element['index']}"


def selected(state: State, text: str) -> list[tuple[Job, Element]]:
    """Return the elements that an id means: 1001, 1001_2, 1001_[0-2,5] or an element's own id."""
    number, _, indices = text.partition("_")
    if not number.isdigit():
        return []
    wanted = numbers(indices.strip("[]")) if indices else None
    own = job(state, int(number))
    if own is not None:
        return [(own, e) for e in own["elements"] if wanted is None or e["index"] in wanted]
    return [(j, e) for j in state["jobs"] for e in j["elements"] if e["raw"] == int(number)]


def numbers(text: str) -> list[int]:
    """Return the indices that an array's text means: `0-2,7%4` is 0, 1, 2, 7."""
    found: list[int] = []
    for part in re.sub(r"%\d+$", "", text).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def ended(element: Element) -> bool:
    """Say whether an element is over, for good or bad."""
    return element["state"] not in QUEUED


def again(element: Element, state: str) -> None:
    """Queue an element once more; its attempt so far is kept as `state`."""
    kept = ("start", "end", "code", "raw")
    element["attempts"].append({"state": state} | {key: element[key] for key in kept})
    fresh = {"state": "PENDING", "reason": "BeginTime", "start": None, "end": None, "code": "0:0"}
    element.update(fresh, restarts=element["restarts"] + 1)


def finish(element: Element, state: str, code: str = "0:0") -> None:
    """End an element."""
    element.update(state=state, code=code, end=time.time())
    element["reason"] = "NonZeroExitCode" if state == "FAILED" else "None"


def command(element: Element, state: str, requeue: bool = False, code: str = "0:0") -> None:
    """Have the runner of an element end it as `state`."""
    folder = root() / "orders"
    folder.mkdir(exist_ok=True)
    new = folder / f"{element['raw']}.new"
    new.write_text(json.dumps({"state": state, "requeue": requeue, "code": code}))
    new.replace(folder / str(element["raw"]))
    element["state"] = "COMPLETING"


def order(raw: int) -> dict[str, Any] | None:
    """Return what was commanded of an element, once."""
    file = root() / "orders" / str(raw)
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    file.unlink()
    return dict(json.loads(text))
