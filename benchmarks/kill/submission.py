"""`hsd run` killed at each call that it makes to SLURM, before the call does its work and after."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import small_runs
from fake_cluster import Fake, fake_slurm
from ranks import Ended, start_command

from benchmarks.kill.campaign import Outcome

NAME = "run, at each call"
PROFILE = 'shared_root = "{folder}/runs"\n[slurm]\naccount = "hsd"\n'
SWEEP = """
name = "pair"
presets = ["{folder}/a.json", "{folder}/b.json"]
[evaluate]
sets = ["{folder}/test.jsonl"]
"""
Jobs = list[tuple[str, list[str], list[bool]]]
"""Of each job that is left: its name, its elements' states, and which of them are held."""


def submissions(work: Path, share: float, tell: Callable[[str], None]) -> Outcome:
    """Return what came of killing a submission once at every call, and starting it again.

    In the end each stage of the sweep must be queued once, and none held. `share` leaves out calls.
    """
    began = time.monotonic()
    outcome = Outcome(NAME)
    whole, calls = undisturbed(work / "whole")
    every = max(1, round(1 / share))
    for at in range(1, calls + 1, every):
        for when in ("before", "after"):
            outcome.trials += 1
            outcome.kills += 1
            lines = trial(work / f"{at}_{when}", at, when, whole)
            outcome.note(f"killed {when} call {at}: {line}" for line in lines)
            tell(f"{NAME}: {at} of {calls} calls, {len(outcome.wrong)} wrong")
    outcome.seconds = time.monotonic() - began
    return outcome


def undisturbed(folder: Path) -> tuple[Jobs, int]:
    """Return what an undisturbed submission leaves in the queue, and how many calls it makes."""
    fake = _bench(folder)
    end = _run(folder, fake)
    assert end.code == 0, end.said
    return _left(fake), (fake.root / "calls.jsonl").read_text().count("\n")


def trial(folder: Path, at: int, when: str, whole: Jobs) -> Iterator[str]:
    """Kill a submission at a call, start it again, and yield what is wrong in the end."""
    fake = _bench(folder)
    fake.fault(kill_caller={"at": at, "when": when})
    if (code := _run(folder, fake).code) != -9:
        yield f"was not killed, but ended with {code}"
    fake.heal()
    fake.fault(slots=0)
    end = _run(folder, fake)
    if end.code != 0:
        yield f"the same command again ended with {end.code}: {end.said[-200:]}"
    if (left := _left(fake)) != whole:
        yield f"left over or missing: {_names(left)} for {_names(whole)}"


def _names(jobs: Jobs) -> str:
    return ", ".join(f"{name}{' (held)' if any(held) else ''}" for name, _, held in jobs)


def _left(fake: Fake) -> Jobs:
    """Return the jobs that wait; a job that was taken back is none."""
    return sorted(
        (job["name"], [e["state"] for e in job["elements"]], [e["held"] for e in job["elements"]])
        for job in fake.jobs()
        if any(e["state"] == "PENDING" for e in job["elements"])
    )


def _run(folder: Path, fake: Fake) -> Ended:
    path = {"PATH": f"{fake.bin}:{os.environ['PATH']}", "FAKE_SLURM": str(fake.root)}
    arguments = [f"{folder}/pair.toml", f"--cluster={folder}/here.toml"]
    (end,) = start_command("run", folder, arguments, environment=path).ended()
    return end


def _bench(folder: Path) -> Fake:
    """Return a SLURM that starts nothing, with a sweep of two presets and a profile beside it."""
    fake = fake_slurm(folder / "slurm")
    fake.fault(slots=0)
    write_sweep(folder, PROFILE)
    return fake


def write_sweep(folder: Path, profile: str) -> None:
    """Write pair.toml, a sweep of two presets, and the profile here.toml."""
    base = folder / "base"
    base.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (base / name).write_text("{}")
    small_runs.jsonl(folder / "test.jsonl", small_runs.posts(4))
    for name, rank in (("a", 4), ("b", 8)):
        config = small_runs.config(base, folder, lora={"rank": rank})
        tree = config.model_dump(mode="json")
        tree.pop("output_dir")
        (folder / f"{name}.json").write_text(json.dumps(tree))
    (folder / "here.toml").write_text(profile.format(folder=folder))
    (folder / "pair.toml").write_text(SWEEP.format(folder=folder))
