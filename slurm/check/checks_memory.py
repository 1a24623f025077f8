"""Whether trainings fit on the GPUs that a profile asks for, by the numbers of `hsd plan`."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hsd.checks import Check, Look, doubts, refuse
from hsd.config.train_config import TrainConfig
from hsd.hub.base_models import weights_gb
from hsd.io.json_reader import read_object
from hsd.io.progress import Say
from hsd.training.planned_devices import PlannedDevices
from slurm.check.checks_bases import base_folder, environment
from slurm.check.profile_fit import devices_of
from slurm.cluster.profile import Profile
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.absolute_paths import anchored_config
from slurm.sweep.sweep import Cell

EASY = 0.3
"""A base whose files are less than this share of a GPU's memory is not planned: even unpacked from
MXFP4 (3 times its files) or held in float32 (twice) its weights fit. `hsd plan` loads torch, which
takes seconds."""
_LONGEST_PLAN_S = 120
_DOES_NOT_FIT = 3
_ROOT = Path(__file__).resolve().parents[2]


def looks(prepared: SubmissionBundle, cells: Sequence[Cell]) -> list[Look]:
    """Return what is to be planned: each kind of training once."""
    work = {
        task.cell for stage in prepared.plan.stages if stage.of == "train" for task in stage.tasks
    }
    trained = {cell.name: cell.config for cell in cells if cell.name in work}
    return looks_at(prepared.profile, trained)


def looks_at(profile: Profile, trained: Mapping[str, TrainConfig]) -> list[Look]:
    """Return what is to be planned for trainings by their names: each kind once."""
    devices, environ = devices_of(profile), environment(profile)
    if profile.local or not (devices.is_gpu and devices.memory_gb):
        return []
    kinds: dict[str, str] = {}
    for name, config in trained.items():
        if _may_be_too_large(config, devices, environ):
            kinds.setdefault(_kind(config), name)
    certain = _is_certain(profile)
    return [
        (_named(name), partial(_look, name, trained[name], devices, environ, certain))
        for name in kinds.values()
    ]


def require_fit(config: TrainConfig, profile: Profile, say: Say) -> None:
    """Refuse a single training that cannot fit beyond doubt; `say` gets a doubt as a sentence.

    Raises PreflightError.
    """
    trained = {"the training": anchored_config(config, Path.cwd())}  # planned in another folder
    checks = [check for _, look in looks_at(profile, trained) for check in look()]
    refuse(checks)
    for check in doubts(checks):
        say(f"{check.sentence}.")


def memory_check(
    name: str, plan: Mapping[str, Any], devices: PlannedDevices, *, certain: bool = True
) -> Check:
    """Judge a plan: refused only where it cannot fit beyond doubt (planned_devices.REFUSED)."""
    need_gb = float(plan["need_gb"])
    line = f"the training needs about {need_gb:.1f} GB, of {devices.words} (estimate)"
    if devices.fits(need_gb) == "yes":
        return Check(name, True, line)
    ways = plan["would_fit"]
    fix = (
        f"set {', or '.join(ways)}" if ways else "take larger GPUs or a smaller base; see hsd plan"
    )
    return Check(name, False if certain and devices.is_hopeless(need_gb) else None, line, fix)


def _look(
    name: str,
    config: TrainConfig,
    devices: PlannedDevices,
    environ: Mapping[str, str],
    certain: bool,
) -> list[Check]:
    found = planned(config, devices, environ)
    if isinstance(found, str):
        return [Check(_named(name), None, f"could not be planned: {found}")]
    return [memory_check(_named(name), found, devices, certain=certain)]


def planned(
    config: TrainConfig, devices: PlannedDevices, environ: Mapping[str, str]
) -> dict[str, Any] | str:
    """Return what `hsd plan --json` says, in a process of its own: it loads torch. Or why not."""
    with tempfile.TemporaryDirectory(prefix="hsd-plan-") as folder:
        settings, answer = Path(folder) / "config.json", Path(folder) / "plan.json"
        settings.write_text(config.model_dump_json(), encoding="utf-8")
        where = f"{devices.count}x{devices.memory_gb:g}"
        command = [sys.executable, "-m", "jobs.memory_plan", "--config", str(settings)]
        try:
            with answer.open("wb") as out:
                done = subprocess.run(
                    [*command, "--gpus", where, "--json"],
                    stdout=out, stderr=subprocess.PIPE, text=True, check=False, cwd=_ROOT,
                    timeout=_LONGEST_PLAN_S,
                    env={**environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no answer after {_LONGEST_PLAN_S} s"
        if done.returncode not in (0, _DOES_NOT_FIT) or not answer.stat().st_size:
            said = done.stderr.strip().splitlines()
            return said[-1].rstrip(".") if said else f"ended with {done.returncode}"
        return read_object(answer)


def _may_be_too_large(
    config: TrainConfig, devices: PlannedDevices, environ: Mapping[str, str]
) -> bool:
    folder = base_folder(config.model, environ)
    return folder is not None and weights_gb(folder) > EASY * (devices.memory_gb or 0)


def _is_certain(profile: Profile) -> bool:
    """Return whether a GPU's name says its memory: there are RTX cards of 24, 48 and 96 GB."""
    kind = (profile.slurm.gpu_type or "" if profile.slurm else "").lower()
    return "rtx" not in kind or "gb" in kind


def _kind(config: TrainConfig) -> str:
    """Return what decides the memory, as text; cells that differ in a learning rate are alike."""
    sized = {"batch_size", "accumulation", "gradient_checkpointing", "prefix_sharing", "objective"}
    return config.model_dump_json(
        include={
            "model": True, "lora": True, "data": {"train_file", "max_length"}, "prompt": True,
            "training": sized,
        }
    )  # fmt: skip


def _named(name: str) -> str:
    return f"memory of {name}"
