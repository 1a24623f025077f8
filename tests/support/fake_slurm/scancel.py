"""scancel: ends jobs, or sends their steps a signal."""

import sys
import time

from fake_slurm import faults, options, processes, schedule, store
from fake_slurm.store import ACTIVE, Element, Job, State

VALUES = options.words("signal name user state partition account clusters")
FLAGS = options.words("quiet verbose batch full hurry")
SHORT = {"s": "signal", "n": "name", "u": "user", "t": "state", "p": "partition", "A": "account"}
SHORT |= {"M": "clusters", "Q": "quiet", "v": "verbose", "b": "batch", "f": "full", "H": "hurry"}


def main(argv: list[str]) -> None:
    """Cancel or signal; as in Slurm an id that is unknown or over is no error without --signal."""
    faults.meet("scancel")
    asked, ids = _parsed(argv)
    code = 0
    with store.changed() as state:
        schedule.advance(state)
        for text in ids:
            for job, element in store.selected(state, text):
                if job not in store.of_cluster(state, asked):
                    continue
                if "signal" in asked and asked["signal"].upper() not in ("KILL", "SIGKILL", "9"):
                    code |= _signal(job, element, asked, text)
                else:
                    _cancel(element)
        for _, element in _filtered(state, asked) if not ids else ():
            _cancel(element)
        schedule.advance(state)
    raise SystemExit(code)


def _parsed(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options may stand behind the ids: `scancel 12_0 --signal USR2`."""
    asked: dict[str, str] = {}
    ids: list[str] = []
    rest = argv
    while rest:
        found, rest = options.parsed("scancel", rest, VALUES, FLAGS, SHORT)
        asked |= found
        ids += rest[:1]
        rest = rest[1:]
    if not ids and not asked:
        faults.fail("scancel: error: No job identification provided")
    return asked, [one for text in ids for one in ([text] if "[" in text else text.split(","))]


def _filtered(state: State, asked: dict[str, str]) -> list[tuple[Job, Element]]:
    jobs = [job for job in state["jobs"] if asked.get("name", job["name"]) == job["name"]]
    pairs = [(job, element) for job in jobs for element in job["elements"]]
    return [(j, e) for j, e in pairs if asked.get("state", e["state"]).upper() == e["state"]]


def _cancel(element: Element) -> None:
    if element["state"] == "PENDING":
        element.update(state="CANCELLED", end=time.time())  # (its reason stays what it was)
    elif element["state"] == "RUNNING":
        store.command(element, "CANCELLED")


def _signal(job: Job, element: Element, asked: dict[str, str], text: str) -> int:
    if element["state"] not in ACTIVE:
        words = f"Kill job error on job id {text}: Invalid job id specified"
        print(f"scancel: error: {words}", file=sys.stderr)
        return 1
    steps = {int(file.name) for file in (store.root() / "steps" / str(element["raw"])).glob("*")}
    if "full" in asked:
        steps = processes.of_job(element["raw"])
    elif "batch" in asked:
        of_job = processes.of_job(element["raw"])
        steps = {pid for pid in of_job if processes.parent(pid) == element["pid"]}
    elif "tree" in faults.of("scancel").get("signal", ""):
        steps = processes.below(steps)
    processes.send(steps, processes.number(asked["signal"].upper()))
    return 0
