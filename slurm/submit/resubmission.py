"""A run's failed cells once more: with the code that was queued, changed where one asks for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.config.loading import load_train_config
from hsd.errors import ConfigError, PreflightError, did_you_mean
from hsd.io.json_reader import read_object
from slurm.cluster.client import programs
from slurm.cluster.limits import with_array_size
from slurm.cluster.profile import Profile
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import RunState, slurm_of, states
from slurm.submit.parts import Left, behind_earlier, fitting
from slurm.submit.snapshot import FACTS, Code, running_code
from slurm.submit.work import Found, Work, left_to_do, live_in, nodes_for
from slurm.sweep.absolute_paths import anchored_config
from slurm.sweep.base_cells import named_bases
from slurm.sweep.content_hash import Identity, base_identity, content_identity, refuse_changes
from slurm.sweep.plan import ALL
from slurm.sweep.sweep import Cell, Sweep


def resubmission(
    folder: RunFolder, *, failed: bool = False, only: Sequence[str] = (),
    overrides: Sequence[str] = (), time_min: int | None = None, new_code: bool = False,
    exclude_failed_nodes: bool = False, allow_nodes: Sequence[str] = (),
    max_parallel: int | None = None,
) -> Found:  # fmt: skip
    """Return what is left of a run: neither done nor in the queue, of failed cells alone if asked.

    `overrides` change the configs of those cells, and of finished ones that `only` names; their
    earlier output is then put aside. Nodes are excluded as `choose_nodes` says. Raises
    PreflightError when a cell's data changed since it was submitted.
    """
    facts = folder.facts()
    if facts.get("kind") != "sweep":
        raise PreflightError(f"{folder.path}: not a sweep, but one `hsd {facts.get('kind')}`.")
    profile = Profile.model_validate(facts["profile"])
    profile = with_time(profile, time_min, [name for name in _STAGES if name != "compare"])
    profile = profile.with_parallelism(max_parallel)
    profile = with_array_size(profile, programs(profile))
    seen = len(submissions.submission_lines(folder.path))
    state = states(folder.path, slurm_of(folder))
    nodes = nodes_for(state, all_failed=exclude_failed_nodes, allowed=allow_nodes)
    work = replace(_as_queued(folder, facts, profile), nodes=nodes)
    chosen = _chosen(state, list(work.bases), failed, only)
    active = live_in(state)
    left = left_to_do(work, active, chosen)
    named: list[str] = []
    code = running_code() if new_code else None
    if overrides or code:
        wanted = {*left.new, *(only if overrides else ())} - set(left.active)
        named = [cell.name for cell in work.cells if cell.name in wanted]
        bases = set(work.bases)
        work = _changed(work, named, overrides, code)
        left = left_to_do(work, active, [*chosen, *(work.bases.keys() - bases)])
    left = fitting(left, profile, lambda some: left_to_do(work, active, some))
    left = behind_earlier(left, state)
    aside = _aside(work, left, named) if overrides else ()
    return Found(_with_one_code(work, left, facts), left, code, aside, seen=seen)


def _aside(work: Work, left: Left, changed: Collection[str]) -> tuple[str, ...]:
    """Return the cells that begin anew: not those trained with this very config already."""
    anew = (name for name in changed if not work.is_done("train", name))
    return tuple(name for name in anew if name in left.new)


_STAGES = ("train", "merge", "evaluate", "compare")


def with_time(profile: Profile, time_min: int | None, stages: Sequence[str]) -> Profile:
    """Return the profile with another time limit for some stages.

    Raises PreflightError where a job would be told to stop before it begins.
    """
    if time_min is None:
        return profile
    if profile.slurm and time_min * 60 <= profile.slurm.signal_seconds:
        raise PreflightError(
            f"--time: {time_min} minutes are over before signal_seconds of the profile "
            f"({profile.slurm.signal_seconds}) is; take more time."
        )
    changed = {
        name: getattr(profile.stages, name).model_copy(update={"time_min": time_min})
        for name in stages
    }
    return profile.model_copy(update={"stages": profile.stages.model_copy(update=changed)})


def _chosen(state: RunState, bases: Sequence[str], failed: bool, only: Sequence[str]) -> list[str]:
    """Return the cells to look at. Raises PreflightError for a name that is none of them."""
    names = [cell for cell in dict.fromkeys([*state.cells, *bases]) if cell != ALL]
    for name in only:
        if name not in names:
            raise PreflightError(f"--only {name}: no such cell.{did_you_mean(name, names)}")
    kept = [name for name in names if not only or name in only]
    if failed:
        kept = [name for name in kept if any(e.state == "failed" for e in state.of(name).values())]
    return kept


def _as_queued(folder: RunFolder, facts: Mapping[str, Any], profile: Profile) -> Work:
    """Return the work of a run as it was submitted, each cell with the code that it had."""
    sweep = Sweep.model_validate(facts["sweep"])
    cells = tuple(
        Cell(one["name"], one["preset"], one["changes"], _config(folder, one["name"]))
        for one in facts["cells"]
    )
    bases = named_bases(sweep, cells, folder)
    trees = {name: _tree(folder, name, facts) for name in (*bases, *(c.name for c in cells))}
    own = {cell.name: content_identity(cell, sweep, profile, trees[cell.name]) for cell in cells}
    judged = {
        name: base_identity(own[cell.name]) | {"code": trees[name]} for name, cell in bases.items()
    }
    refuse_changes(folder, own | judged)
    return Work(sweep, profile, folder, cells, bases, own | judged, folder.code / facts["code"])


def _tree(folder: RunFolder, name: str, facts: Mapping[str, Any]) -> str:
    """Return which code a cell was submitted with."""
    file = folder.identity(name)
    found = read_object(file if file.exists() else folder.code / facts["code"] / FACTS)
    return str(found["code" if file.exists() else "tree"])


def _changed(
    work: Work, names: Collection[str], overrides: Sequence[str], code: Code | None
) -> Work:
    """Return the work with other configs, or today's code, for some of its cells."""
    folder, trees = work.folder, {name: own["code"] for name, own in work.identities.items()}
    cells = tuple(
        _overridden(cell, folder, overrides) if cell.name in names and overrides else cell
        for cell in work.cells
    )
    if code:
        undone = [name for name in work.bases if not work.is_done("baseline", name)]
        trees |= dict.fromkeys([*names, *undone], code.tree)
    own: dict[str, Identity] = {
        cell.name: content_identity(cell, work.sweep, work.profile, trees[cell.name])
        for cell in cells
    }
    bases = named_bases(work.sweep, cells, folder)
    judged = {name: base_identity(own[cell.name]) for name, cell in bases.items()}
    judged |= {name: one | {"code": trees[name]} for name, one in judged.items() if name in trees}
    return replace(work, cells=cells, bases=bases, identities=own | judged)


def _overridden(cell: Cell, folder: RunFolder, overrides: Sequence[str]) -> Cell:
    if any(text.partition("=")[0] == "output_dir" for text in overrides):
        raise PreflightError("--set output_dir: every cell has a folder of its own; leave it out.")
    config = anchored_config(_config(folder, cell.name, overrides), Path.cwd())
    changes = cell.changes | dict(text.partition("=")[::2] for text in overrides)
    return Cell(cell.name, cell.preset, changes, config)


def _config(folder: RunFolder, name: str, overrides: Sequence[str] = ()) -> Any:
    try:
        return load_train_config(str(folder.config(name)), overrides)
    except ConfigError as error:
        raise PreflightError(f"cell {name}: {error}") from None


def _with_one_code(work: Work, left: Left, facts: Mapping[str, Any]) -> Work:
    """Return the work with the code of the cells that are left. One array runs one code."""
    codes = {name: work.identities[name]["code"][:12] for name in left.new}
    if len(set(codes.values())) > 1:
        raise PreflightError(
            f"{work.folder.path}: the cells were queued with different code "
            f"({', '.join(f'{name}: {code}' for name, code in codes.items())}); resubmit them one "
            "at a time with --only, or with today's code: --new-code."
        )
    return replace(work, code=work.folder.code / next(iter(codes.values()), facts["code"]))
