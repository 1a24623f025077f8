"""Whether the rows of a sweep can be read, as its jobs will read them: labels, splits, ids."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hsd.checks import Check, Look
from hsd.config.loading import load_eval_config
from hsd.config.train_config import TrainConfig
from hsd.counted import counted
from hsd.data.data_sets import NAMES, resolve_path
from hsd.errors import DataError
from hsd.evaluation.read_sets import read_sets
from hsd.io.hashes import sha256_json
from hsd.io.progress import Say
from hsd.training.lesson import Lesson
from hsd.training.row_facts import Split
from hsd.training.training_files import RowSource, contract_asked, require_apart
from slurm.run.run_folder import BASELINE
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.content_hash import absent_rows
from slurm.sweep.plan import evaluation_overrides
from slurm.sweep.sweep import Cell, Sweep


def looks(prepared: SubmissionBundle, cells: Sequence[Cell], sweep: Sweep) -> list[Look]:
    """Return what is to be read for what a plan works on, each once.

    Rows that are not on this machine are left to whoever says so.
    """
    absent = absent_rows(cells, sweep)
    work = {stage.of: {task.cell for task in stage.tasks} for stage in prepared.plan.stages}
    trained = [cell.config for cell in cells if cell.name in work.get("train", ())]
    here = [one for one in trained if not absent.keys() & {*_files(one)} and _has_groups(one)]
    distinct = {sha256_json(_read(config)): config for config in here}
    found: list[Look] = [
        ("training rows", partial(training_rows, config)) for config in distinct.values()
    ]
    if work.keys() & {"evaluate", BASELINE} and not absent.keys() & {*sweep.evaluate.sets}:
        found.append(("evaluation rows", lambda: [evaluation_rows(sweep)]))
    return found


def are_here(config: TrainConfig) -> bool:
    """Return whether a training's rows and groups are on this machine: nodes may have others."""
    try:
        for name in _files(config):
            resolve_path(name)
    except DataError:
        return False
    return _has_groups(config)


def require_files(names: Sequence[str], say: Say, *, is_awaited: bool) -> None:
    """Refuse rows that a job of this folder will not find. Raises DataError.

    `say` gets a sentence where they may still be there: nodes may have other absolute paths and
    named sets, and another job that `is_awaited` may make the file.
    """
    for name in names:
        try:
            resolve_path(name)
        except DataError as error:
            if not (is_awaited or name in NAMES or Path(name).expanduser().is_absolute()):
                raise
            say(f"Not here yet, so the rows were not checked: {error}")


def training_rows(config: TrainConfig) -> list[Check]:
    """Read the rows of a training. Raises DataError, as the training would."""
    rows = require_readable(config)
    return [Check("training rows", True, ", ".join(f"{n:,} of {split}" for split, n in rows))]


def require_readable(config: TrainConfig) -> list[tuple[str, int]]:
    """Return how many rows each split of a training has.

    Raises DataError, as the training would.
    """
    contract = contract_asked(config)
    splits: list[Split] = ["train", "validation"] if config.data.validation_file else ["train"]
    rows = {one: list(RowSource.of(config, one).lessons(contract)) for one in splits}
    posts = {split: _posts(lessons) for split, lessons in rows.items()}
    require_apart(posts["train"], posts.get("validation", []))
    return [(split, len(lessons)) for split, lessons in rows.items()]


def evaluation_rows(sweep: Sweep) -> Check:
    """Read the sets that the cells are evaluated on. Raises DataError, as the evaluation would."""
    overrides = evaluation_overrides(sweep)
    configs = [load_eval_config(overrides, data_file=name) for name in sweep.evaluate.sets]
    rows = sum(len(one.examples) for one in read_sets(configs, sweep.evaluate.data_dir))
    return Check("evaluation rows", True, f"{rows:,} of {counted(len(configs), 'set')}")


def _posts(lessons: Sequence[Lesson]) -> list[tuple[str, str]]:
    """Return ids and posts; of a chat that somebody else wrote no post is known."""
    return [(one.chat.id, one.chat.post) for one in lessons if one.chat.post is not None]


def _files(config: TrainConfig) -> list[str]:
    return [name for name in (config.data.train_file, config.data.validation_file) if name]


def _has_groups(config: TrainConfig) -> bool:
    groups = config.data.groups
    return not groups or not groups.endswith(".toml") or Path(groups).expanduser().exists()


def _read(config: TrainConfig) -> dict[str, object]:
    """Return what decides which rows are read, and in which words."""
    sections = {name: getattr(config, name).model_dump(mode="json") for name in ("data", "prompt")}
    drawn = config.data.max_train_rows or config.data.max_validation_rows
    return {**sections, "seed": config.seed if drawn else None}
