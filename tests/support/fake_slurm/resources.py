"""What a job asked for, in numbers and as a TRES text."""

import re
from typing import Any

GPUS_OF_A_NODE = 4
PARTITIONS = ("gpu", "low")


def gpus(options: dict[str, str]) -> tuple[int, str]:
    """Return the GPUs per node and their type ("" for any)."""
    text = options.get("gpus-per-node") or ""
    found = re.search(r"gpu(?::([a-z]\w*))?(?::(\d+))?", options.get("gres", ""))
    if text:
        kind, _, count = text.rpartition(":")
        return int(count), kind
    return (int(found[2] or 1), found[1] or "") if found else (0, "")


def number(options: dict[str, str], key: str, otherwise: int = 1) -> int:
    """Return an option that is a number."""
    return int(options.get(key, otherwise))


def memory(options: dict[str, str]) -> str:
    """Return the memory of a node as Slurm writes it: 4G, 1536M."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", options.get("mem", "256M"))
    size, unit = (int(found[1]), found[2] or "M") if found else (256, "M")
    return f"{size // 1024}G" if unit == "M" and size % 1024 == 0 and size else f"{size}{unit}"


def cpus(options: dict[str, str]) -> int:
    """Return the cores of all tasks."""
    nodes = number(options, "nodes")
    tasks = number(options, "ntasks", nodes * number(options, "ntasks-per-node"))
    return tasks * number(options, "cpus-per-task")


def tres(job: dict[str, Any]) -> str:
    """Return a job's resources as sacct shows them."""
    options = job["options"]
    nodes, (each, kind), cores = number(options, "nodes"), gpus(options), cpus(options)
    parts = [f"billing={cores}", f"cpu={cores}"]
    if each:
        parts += [f"gres/gpu:{kind}={each * nodes}"] if kind else []
        parts += [f"gres/gpu={each * nodes}"]
    return ",".join([*parts, f"mem={memory(options)}", f"node={nodes}"])


def node_list(job: dict[str, Any]) -> str:
    """Return the nodes that the job runs on."""
    nodes = number(job["options"], "nodes")
    return "fake1" if nodes == 1 else f"fake[1-{nodes}]"


def minutes(job: dict[str, Any]) -> int:
    """Return a job's time limit: of `90`, `1:30:00`, `1-12:00:00` the minutes."""
    text = job["options"].get("time", "5")
    days, dash, rest = text.rpartition("-")
    clock = [int(part) for part in rest.split(":")]
    if dash:
        hours, mins = [*clock, 0][:2]
        return int(days) * 1440 + hours * 60 + mins
    return clock[0] * 60 + clock[1] if len(clock) == 3 else clock[0]


def clock(seconds: float) -> str:
    """Return a time as sacct and scontrol write it: 00:01:30, 1-02:00:00."""
    day, left = divmod(int(seconds), 86400)
    text = f"{left // 3600:02}:{left // 60 % 60:02}:{left % 60:02}"
    return f"{day}-{text}" if day else text


def short_clock(seconds: float) -> str:
    """Return a time as squeue writes it: 1:30, 1:00:00."""
    text = clock(seconds)
    return text if "-" in text else re.sub(r"^0(0:0?)?", "", text)
