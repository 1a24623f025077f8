"""Runs one attempt of one element, as slurmd and slurmstepd do, and says how it ended."""

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_slurm import processes, resources, store
from fake_slurm.faults import faults

NO_OUTPUT = "0:53"  # Slurm's exit code of a job whose --output cannot be opened; there is no log

# What slurmstepd writes into the job's stderr when it ends it.
BECAUSE = {
    "CANCELLED": "",
    "REQUEUED": " DUE TO JOB REQUEUE",
    "TIMEOUT": " DUE TO TIME LIMIT",
    "PREEMPTED": " DUE TO PREEMPTION",
    "NODE_FAIL": " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
}


def main(name: str, advance: Callable[[store.State], None]) -> None:
    """Run the element `name`, record its end, and `advance` what waited for it."""
    with store.changed() as state:  # whoever starts this writes the queue first
        ((job, element),) = store.selected(state, name)
    asked, code = _attempt(job, element)
    if asked and asked["requeue"]:
        time.sleep(faults().get("requeue_wait_s", 0))
    with store.changed() as state:
        ((job, element),) = store.selected(state, name)
        _record(element, asked or store.order(element["raw"]), code)
        advance(state)


def _attempt(job: store.Job, element: store.Element) -> tuple[dict[str, Any] | None, str]:
    """Run the script, and return the order that ended it, if any, and its exit code."""
    import subprocess  # (slow to import, and only runners need it)

    try:
        out, error = _output(job, element, "output"), _output(job, element, "error")
    except OSError:
        return None, NO_OUTPUT
    with out, error:
        batch = subprocess.Popen(
            [job["files"] + "/script", *job["arguments"]],
            cwd=job["folder"],
            env=environment(job, element),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            start_new_session=True,
        )
        asked = _watch(batch, element["raw"])
        if asked and asked["state"] in BECAUSE:
            when = time.strftime("%Y-%m-%dT%H:%M:%S")
            words = f"CANCELLED AT {when}{BECAUSE[asked['state']]}"
            error.write(f"slurmstepd-fake1: error: *** JOB {element['raw']} ON fake1 {words} ***\n")
    code = batch.returncode
    return asked, f"{code}:0" if code >= 0 else f"0:{-code}"


def _watch(batch: Any, raw: int) -> dict[str, Any] | None:
    """Wait for the script's end, or for the order to end it, which is carried out."""
    while (asked := store.order(raw)) is None:
        if batch.poll() is not None:
            return None
        time.sleep(0.02)
    end = time.monotonic() + faults().get("kill_wait_s", 1)
    processes.send(processes.of_job(raw), signal.SIGTERM)
    while processes.of_job(raw) and time.monotonic() < end:
        batch.poll()  # reaps it
        time.sleep(0.02)
    processes.send(processes.of_job(raw), signal.SIGKILL)
    batch.wait()
    return asked


def _record(element: store.Element, asked: dict[str, Any] | None, code: str) -> None:
    if asked is None:
        store.finish(element, "COMPLETED" if code == "0:0" else "FAILED", code)
        if code == NO_OUTPUT:
            element["reason"] = "JobLaunchFailure"
        return
    store.finish(element, asked["state"], asked["code"])
    if asked["requeue"]:
        store.again(element, asked["state"])


def _output(job: store.Job, element: store.Element, which: str) -> Any:
    options = job["options"]
    pattern = options.get("output") or (
        "slurm-%j.out" if element["index"] is None else "slurm-%A_%a.out"
    )
    pattern = options.get("error", pattern) if which == "error" else pattern
    # The two are one file where there is no --error, and a restart must not cut what was there.
    both = which == "error" and "error" not in options
    append = both or options.get("open-mode", "").startswith("a")
    path = Path(job["folder"], expanded(pattern, environment(job, element)))
    return path.open("a" if append else "w", buffering=1)


def expanded(pattern: str, job: dict[str, str]) -> str:
    """Return a file name with its %A, %a, %j, ... replaced."""
    words = {
        "A": job.get("SLURM_ARRAY_JOB_ID", job["SLURM_JOB_ID"]),
        "a": job.get("SLURM_ARRAY_TASK_ID", "4294967294"),
        "j": job["SLURM_JOB_ID"],
        "x": job["SLURM_JOB_NAME"],
        "u": job["SLURM_JOB_USER"],
        "N": job["SLURMD_NODENAME"],
        "n": "0",
        "s": "0",
        "t": job.get("SLURM_PROCID", "0"),
        "%": "%",
    }
    return re.sub(r"%\d*([AajxuNnst%])", lambda found: words[found[1]], pattern)


def environment(job: store.Job, element: store.Element) -> dict[str, str]:
    """Return what sbatch was called with, as far as --export lets it, and SLURM's own variables."""
    submitted = json.loads(Path(job["files"], "environment.json").read_text())
    given = _exported(submitted, job["options"].get("export", "ALL"))
    return given | _slurm(job, element) | {"FAKE_SLURM": str(store.root())}


def _exported(submitted: dict[str, str], export: str) -> dict[str, str]:
    names = export.split(",")
    if "ALL" in names:
        kept = dict(submitted)
    else:
        own = ("PATH", "HOME", "USER", "SHELL", *names)
        kept = {key: value for key, value in submitted.items() if key in own}
    return kept | dict(name.split("=", 1) for name in names if "=" in name)


def _slurm(job: store.Job, element: store.Element) -> dict[str, str]:
    options, (gpus, _), raw = job["options"], resources.gpus(job["options"]), str(element["raw"])
    nodes = str(resources.number(options, "nodes"))
    found = {
        "SLURM_JOB_ID": raw,
        "SLURM_JOBID": raw,
        "SLURM_JOB_NAME": job["name"],
        "SLURM_JOB_PARTITION": options.get("partition", "gpu"),
        "SLURM_JOB_ACCOUNT": options.get("account", "hsd"),
        "SLURM_JOB_USER": job["user"],
        "SLURM_JOB_NODELIST": resources.node_list(job),
        "SLURM_NODELIST": resources.node_list(job),
        "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NNODES": nodes,
        "SLURM_CPUS_ON_NODE": str(resources.number(options, "cpus-per-task")),
        "SLURM_SUBMIT_DIR": job["folder"],
        "SLURM_CLUSTER_NAME": "fake",
        "SLURMD_NODENAME": "fake1",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "TMPDIR": "/tmp",
    }
    if "cpus-per-task" in options:
        found["SLURM_CPUS_PER_TASK"] = options["cpus-per-task"]
    if options.get("open-mode", "").startswith("a"):
        found["SLURM_OPEN_MODE"] = "a"
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = found["SLURM_JOB_GPUS"] = ",".join(map(str, range(gpus)))
        found["SLURM_GPUS_ON_NODE"] = str(gpus)
    if element["restarts"]:  # absent in a first attempt, as in Slurm
        found["SLURM_RESTART_COUNT"] = str(element["restarts"])
    return found | _array(job, element)


def _array(job: store.Job, element: store.Element) -> dict[str, str]:
    if element["index"] is None:
        return {}
    indices = [e["index"] for e in job["elements"]]
    return {
        "SLURM_ARRAY_JOB_ID": str(job["id"]),
        "SLURM_ARRAY_TASK_ID": str(element["index"]),
        "SLURM_ARRAY_TASK_COUNT": str(len(indices)),
        "SLURM_ARRAY_TASK_MIN": str(min(indices)),
        "SLURM_ARRAY_TASK_MAX": str(max(indices)),
    }
