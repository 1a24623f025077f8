"""Which elements may start: holds, dependencies, `%N` of an array."""

import os
import sys
import time
from collections.abc import Callable

from fake_slurm import processes, runner, store
from fake_slurm.faults import faults
from fake_slurm.store import ACTIVE, Element, Job, State


def advance(state: State) -> None:
    """Bring the queue up to now. Every program does it, and every element that ends."""
    moved = True
    while moved:
        moved = False
        for job in state["jobs"]:
            for element in job["elements"]:
                moved |= _step(state, job, element)


def _step(state: State, job: Job, element: Element) -> bool:
    if element["state"] in ACTIVE and element["pid"] and not processes.alive(element["pid"]):
        store.finish(element, "NODE_FAIL")  # somebody killed its runner
        return True
    if element["state"] != "PENDING" or element["held"]:
        return False
    verdict = dependency(state, job, element)
    if verdict == "DependencyNeverSatisfied" and _dies_with_it(job):
        store.finish(element, "CANCELLED")
        return True
    element["reason"] = verdict or _room(state, job) or "None"
    if element["reason"] != "None":
        return False
    _start(state, job, element)
    return True


def _dies_with_it(job: Job) -> bool:
    return bool(job["options"].get("kill-on-invalid-dep") == "yes")


def dependency(state: State, job: Job, element: Element) -> str:
    """Return "" (may start), "Dependency" (must wait) or "DependencyNeverSatisfied"."""
    verdicts = set()
    for part in filter(None, job["options"].get("dependency", "").split(",")):
        kind, *ids = part.split(":")
        verdicts |= {_met(state, kind, text.partition("+")[0], element["index"]) for text in ids}
    for verdict in ("DependencyNeverSatisfied", "Dependency"):
        if verdict in verdicts:
            return verdict
    return ""


def _met(state: State, kind: str, text: str, index: int | None) -> str:
    waited = [element for _, element in store.selected(state, text)]
    if kind == "aftercorr":  # element by element, where both have it
        waited = [element for element in waited if element["index"] == index] or waited
    good = [element["state"] == "COMPLETED" for element in waited]
    over = [store.ended(element) for element in waited]
    if kind == "afternotok" and all(over) and all(good):
        return "DependencyNeverSatisfied"
    if kind in ("afterok", "aftercorr") and any(
        o and not g for o, g in zip(over, good, strict=True)
    ):
        return "DependencyNeverSatisfied"
    if kind == "after":
        over = [element["state"] != "PENDING" for element in waited]
    return "" if all(over) else "Dependency"


def _room(state: State, job: Job) -> str:
    running = [element["state"] in ACTIVE for element in job["elements"]]
    if job["parallelism"] and sum(running) >= job["parallelism"]:
        return "JobArrayTaskLimit"
    everywhere = [e["state"] in ACTIVE for other in state["jobs"] for e in other["elements"]]
    return "Resources" if sum(everywhere) >= faults().get("slots", 1000) else ""


def _start(state: State, job: Job, element: Element) -> None:
    if element["raw"] is None:
        others = [e for e in job["elements"] if e is not element and e["raw"] is None]
        # As in Slurm: only the last element to start has the id of the whole array.
        element["raw"] = store.new_id(state) if others else job["id"]
    element.update(state="RUNNING", reason="None", start=time.time())
    (store.root() / "orders" / str(element["raw"])).unlink(missing_ok=True)
    element["pid"] = _forked(lambda: runner.main(store.name(job, element), advance))


def _forked(act: Callable[[], None]) -> int:
    """Do something in a process of its own, which whoever called sbatch does not wait for."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        nowhere, log = os.open("/dev/null", os.O_RDWR), store.root() / "runners.txt"
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.closerange(3, 256)
        act()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
    finally:
        os._exit(0)
