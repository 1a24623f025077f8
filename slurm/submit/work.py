"""A sweep, from its file to jobs: what is left to do, what it depends on, everything written."""

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hsd.config.train_config import TrainConfig
from hsd.data.data_sets import EMBEDDED_NAMES, STEMS, resolve_path
from hsd.errors import DataError, PreflightError
from hsd.io.hashes import sha256_json
from slurm.cluster.client import programs
from slurm.cluster.environment import exports
from slurm.cluster.limits import with_array_size
from slurm.cluster.profile import Profile, chosen_profile, default_profile, load_profile
from slurm.node.supervisor import Orders, is_done
from slurm.run import submissions
from slurm.run.compared import is_compared
from slurm.run.run_folder import BASELINE, RunFolder, whole_stage
from slurm.run.run_state import RunState, slurm_of, states
from slurm.submit.launch import orders
from slurm.submit.parts import Left, behind_earlier, fitting
from slurm.submit.snapshot import Code, running_code
from slurm.submit.submission import SubmissionBundle, next_submission_number, scripts
from slurm.sweep.base_cells import named_bases
from slurm.sweep.content_hash import (
    Identity,
    absent_rows,
    base_identity,
    content_identity,
    hash_of,
    refuse_changes,
    row_files,
)
from slurm.sweep.plan import ALL, Plan, plan_sweep
from slurm.sweep.stage import Stage, Task
from slurm.sweep.sweep import Cell, Sweep, load_sweep
from slurm.watch.failed_nodes import (
    NodeChoice,
    choose_nodes,
    node_events,
    node_failures,
    well_nodes,
)

REFERENCE = "a100x4"
"""The profile that a dry run is for where nobody has chosen a cluster."""
NO_CLUSTER = (
    f"No cluster was chosen, so this is for the reference cluster {REFERENCE}. Choose yours with "
    "--cluster NAME, or write its profile with `hsd cluster init`."
)
Active = Callable[[str, str], bool]
"""Called with a stage and a cell: does a job do it, or wait to, right now?"""


@dataclass(frozen=True, slots=True)
class Work:
    """A sweep's cells on one cluster, with what each depends on; nothing is written yet."""

    sweep: Sweep
    profile: Profile
    folder: RunFolder
    cells: tuple[Cell, ...]
    bases: Mapping[str, Cell]
    """The untouched bases, each by the name of its evaluation."""
    identities: Mapping[str, Identity]
    """What each cell and each base depends on."""
    code: Path
    """Where the snapshot is, or will be."""
    source: str = ""
    """What a person types for the sweep: a name, or its file."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why rows are not on this machine, by name: such work can be shown, and not submitted."""
    nodes: NodeChoice = NodeChoice()
    """Nodes that its jobs do not go to, as jobs of this run failed because of them."""

    def hash_for(self, stage: str, cell: str) -> str:
        """Return the content hash that the marker of a stage of a cell holds."""
        if cell in self.identities:
            return hash_of(self.identities[cell])
        return sha256_json([stage, cell, sorted(map(hash_of, self.identities.values()))])

    def is_done(self, stage: str, cell: str) -> bool:
        """Return whether a finished marker of this very content is there."""
        return is_done(self.folder.done(cell, stage), self.hash_for(stage, cell))


@dataclass(frozen=True, slots=True)
class Found:
    """What `hsd run` found out before it did anything."""

    work: Work
    left: Left
    code: Code | None
    """The code to copy; None goes on with a copy that is there."""
    aside: tuple[str, ...] = ()
    """Cells whose earlier output is another content's, and is put aside."""
    missing: tuple[str, ...] = ()
    """What a submission needs and this machine lacks, a sentence each; only of a dry run."""
    seen: int | None = None
    """How many lines submissions.jsonl had before it was asked what is left; None: nobody looked.
    With more of them something else is left."""
    is_guess: bool = False
    """Whether nobody chose the cluster: a dry run is for REFERENCE then."""

    def prepared(self) -> SubmissionBundle:
        """Return scripts and orders of what is left. Nothing is written."""
        return prepared(self.work, self.left.plan)


def find_work(
    sweep: str, cluster: str | None, local: bool, only: Sequence[str] = (),
    overrides: Sequence[str] = (), max_parallel: int | None = None, dry_run: bool = False,
    settled: Callable[[RunFolder], object] = lambda folder: None,  # noqa: ARG005
) -> Found:  # fmt: skip
    """Return what is left of a sweep; nothing is written, and only squeue and sacct are asked.

    But for `settled`, which is called first with the run's folder, so that jobs of a killed
    submission are not taken for such as wait.

    Raises PreflightError for whatever is wrong with sweep, profile, cells or files. With `dry_run`
    rows may be elsewhere and no cluster be chosen: the plan is the same, and what is missing said.
    """
    chosen, made = load_sweep(sweep, overrides, only)
    is_guess = dry_run and not (cluster or local or chosen_profile())
    if is_guess:
        cluster = REFERENCE
    profile = _profile(cluster, local, max_parallel, is_guess)
    settled(RunFolder(profile.shared_root / chosen.name))
    code = running_code()
    work = work_on(chosen, made, profile, code, dry_run=dry_run)
    file = Path(sweep).expanduser()
    work = replace(work, source=str(file.absolute()) if file.is_file() else sweep)
    seen = len(submissions.submission_lines(work.folder.path))
    state = states(work.folder.path, slurm_of(work.folder))
    work = replace(work, nodes=nodes_for(state))
    active = live_in(state)
    left = left_to_do(work, active)
    if not is_guess:
        left = fitting(left, work.profile, lambda some: left_to_do(work, active, some))
    left = behind_earlier(left, state)
    return Found(
        work, left, code, missing=tuple(work.absent.values()), seen=seen, is_guess=is_guess
    )


def nodes_for(
    state: RunState, *, all_failed: bool = False, allowed: Sequence[str] = ()
) -> NodeChoice:
    """Return the nodes that further jobs of a run exclude; arguments as of `choose_nodes`."""
    failures = node_failures(state.folder, state.elements)
    events = node_events(state.folder.path)
    well = well_nodes(state.elements)
    return choose_nodes(events, failures, all_failed=all_failed, allowed=allowed, well=well)


def live_in(state: RunState) -> Active:
    """Return who is being worked on, by SLURM's word; of a run on this machine nobody can tell.

    Raises PreflightError when SLURM does not say: what is queued would be queued twice.
    """
    if state.notes and not state.asked and shutil.which("squeue"):
        raise PreflightError(
            f"{state.folder.path}: SLURM does not say which of its jobs are in the queue; try "
            f"again in a minute. {' '.join(state.notes)}"
        )
    live = {
        (whole_stage(one.stage), one.cell)
        for one in state.elements
        if one.live and one.job.partition("_")[0].isdigit()
    }
    return lambda stage, cell: (stage, cell) in live


def _profile(cluster: str | None, local: bool, max_parallel: int | None, is_guess: bool) -> Profile:
    if local and cluster is None:
        cluster = "local"
    profile = load_profile(cluster or default_profile())
    if local:
        return profile.model_copy(update={"slurm": None})
    profile = profile.with_parallelism(max_parallel)
    return profile if is_guess else with_array_size(profile, programs(profile))


def work_on(
    sweep: Sweep, cells: Iterable[Cell], profile: Profile, code: Code, *,
    tree: str | None = None, dry_run: bool = False,
) -> Work:  # fmt: skip
    """Return the work of a sweep. `tree` is the code of a run that goes on with what it has.

    Raises PreflightError when a cell is not what it was submitted as and, unless it is a dry run,
    for files of rows that do not exist.
    """
    folder = RunFolder(profile.shared_root / sweep.name)
    placed = tuple(_placed(cell, folder) for cell in cells)
    absent = absent_rows(placed, sweep) if dry_run else {}
    sweep = pinned_sweep(sweep, absent)
    tree = tree or code.tree
    own = {cell.name: content_identity(cell, sweep, profile, tree, absent) for cell in placed}
    bases = named_bases(sweep, placed, folder)
    identities = own | {name: base_identity(own[cell.name]) for name, cell in bases.items()}
    refuse_changes(folder, identities)
    copy = folder.code / tree[:12]
    return Work(sweep, profile, folder, placed, bases, identities, copy, absent=absent)


def left_to_do(
    work: Work,
    active: Active = lambda stage, cell: False,  # noqa: ARG005
    only: Collection[str] | None = None,
) -> Left:
    """Return the plan of what is neither done nor in the queue; of `only`, when given.

    A cell that is being worked on is left alone, whatever of it is missing.
    """
    # 1. What there could be to do: a cell's stages in their order, and its base's evaluation.
    names = [cell.name for cell in work.cells]
    stages = ("train", *(("merge",) if work.sweep.merge else ()), "evaluate")
    kinds = dict.fromkeys(names, stages) | dict.fromkeys(work.bases, (BASELINE,))
    # 2. Whoever has a job in the queue is left alone, so that nothing is ever queued twice.
    busy = {name for name, own in kinds.items() if any(active(stage, name) for stage in own)}
    # 3. Of the others, the first stage that is not done and all that are made from its output.
    lacking = {
        (stage, name)
        for name, own in kinds.items()
        if name not in busy and (only is None or name in only)
        for stage in _left_of(work, name, own)
    }
    wanted = {name for _, name in lacking}
    new = tuple(name for name in kinds if name in wanted)
    # 4. The comparison is of all cells, so that anything new makes it anew. Where nothing is new,
    #    the one in the queue waits for whoever is busy.
    queued = bool(busy) or active("compare", ALL)
    compare = bool(lacking) or not (queued or is_compared(work.folder))
    planned = plan_sweep(
        work.sweep,
        work.cells,
        work.profile,
        work.folder,
        lambda stage, cell: compare if stage == "compare" else (stage, cell) in lacking,
        work.bases,
    )
    done = tuple(n for n, own in kinds.items() if all(work.is_done(stage, n) for stage in own))
    return Left(planned, new, done, tuple(name for name in kinds if name in busy))


def _left_of(work: Work, cell: str, stages: Sequence[str]) -> Sequence[str]:
    """Return the first stage that is not done and all after it: they are made from its output."""
    done = [work.is_done(stage, cell) for stage in stages]
    return stages[done.index(False) :] if False in done else ()


def prepared(work: Work, planned: Plan) -> SubmissionBundle:
    """Return a plan with its scripts and orders. Nothing is written."""
    number = next_submission_number(work.folder)
    profile = work.profile.without_nodes(work.nodes.names)
    lines = exports(profile, work.folder.path, work.code)
    made = {} if profile.local else scripts(planned, profile, number, lines)
    return SubmissionBundle(
        planned,
        profile,
        number,
        made,
        {s.name: [_orders(work, s, task, number) for task in s.tasks] for s in planned.stages},
        work.code,
    )


def pinned_sweep(sweep: Sweep, absent: Collection[str] = ()) -> Sweep:
    """Return the sweep with the folder of its named rows: jobs run elsewhere."""
    named = [name for name in sweep.evaluate.sets if name in STEMS and name not in absent]
    if not named or sweep.evaluate.data_dir is not None:
        return sweep
    try:
        found = resolve_path(named[0]).absolute().parent
    except DataError as error:
        raise PreflightError(f"{sweep.name}: [evaluate] {error}") from None
    evaluate = sweep.evaluate.model_copy(update={"data_dir": found})
    return sweep.model_copy(update={"evaluate": evaluate})


def _placed(cell: Cell, folder: RunFolder) -> Cell:
    """Return the cell with its output in the run."""
    return replace(
        cell, config=cell.config.model_copy(update={"output_dir": folder.train(cell.name)})
    )


def _orders(work: Work, stage: Stage, task: Task, number: int) -> Orders:
    # A comparison is of what is there when it runs: each submission's is another.
    own = work.hash_for(stage.of, task.cell)
    return orders(
        task,
        stage,
        work.profile,
        work.folder,
        f"{own}-{number}" if stage.of == "compare" else own,
        work.folder.path,
        seen_by(work, task.cell),
        _output(work.folder, stage, task.cell),
    )


def _output(folder: RunFolder, stage: Stage, cell: str) -> Path | None:
    """Return where a stage says how far it is."""
    if stage.of == "train":
        return folder.train(cell)
    return folder.cell(cell) / "evaluate" if stage.of in ("evaluate", BASELINE) else None


def seen_by(work: Work, cell: str) -> list[Path]:
    """Return the paths outside the run that a cell's commands read; a container must see them."""
    base = [work.bases[cell]] if cell in work.bases else []
    chosen = [c for c in work.cells if c.name == cell] or base or list(work.cells)
    return list(dict.fromkeys(path for c in chosen for path in _read_by(c.config, work)))


def _read_by(config: TrainConfig, work: Work) -> Iterable[Path]:
    files = row_files(config, work.sweep, work.absent)
    # The embedded rows come with the code, of which a job has a copy.
    yield from (path.absolute() for name, path in files.items() if name not in EMBEDDED_NAMES)
    for named in (config.model.name, config.prompt.template):
        path = Path(named).expanduser()
        if path.exists():
            yield path.absolute()
    if config.model.cache_dir is not None:
        yield config.model.cache_dir.absolute()
