"""A sweep as pure data: which commands run in which order, on what, after what.

Train array -> optional merge array -> evaluate array, element by element (`aftercorr`), so that a
cell is evaluated as soon as it is trained, whatever becomes of the others. The untouched base is
evaluated beside them, and the comparison runs when all have ended, well or not (`afterany`).
A stage of more cells than an array may have is several arrays.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.model_config import ModelConfig
from slurm.cluster.profile import Profile
from slurm.run.run_folder import BASELINE, RunFolder
from slurm.sweep.arrays import arrays
from slurm.sweep.base_cells import bases_of
from slurm.sweep.stage import Edge, Stage, Task
from slurm.sweep.sweep import Cell, Sweep

ALL = "all"
"""The cell of the comparison, which is about all of them."""
STAGES = ("train", "merge", "evaluate", BASELINE, "compare")
"""In the order of the work."""
CHAINED = 3
"""In chain mode each queued attempt is a job, needed or not: more than this fill a queue."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be submitted, in the order of submission."""

    name: str
    folder: RunFolder
    stages: tuple[Stage, ...]

    @property
    def gpu_hours(self) -> float:
        """An upper bound, without requeues; chained attempts count once, as the first."""
        return sum(stage.gpu_hours for stage in self.stages if not _is_follow_up(stage))


Wanted = Callable[[str, str], bool]
"""Called with a stage of STAGES and a cell: is it to run?"""


def plan_sweep(
    sweep: Sweep,
    cells: Sequence[Cell],
    profile: Profile,
    folder: RunFolder,
    wanted: Wanted = lambda stage, cell: True,  # noqa: ARG005
    bases: Mapping[str, Cell] | None = None,
) -> Plan:
    """Return what `wanted` leaves of a sweep on a cluster.

    A cell that needs no training any more is evaluated by an array that waits for nothing.
    `bases` are those of the cells by the names that the run has for them.
    """
    stages: list[Stage] = []
    before = ""
    for of in STAGES[:3]:
        if of == "merge" and not sweep.merge:
            continue
        tasks = [_task(of, sweep, cell, folder) for cell in cells if wanted(of, cell.name)]
        stages += arrays(of, tasks, profile, [stage for stage in stages if stage.of == before])
        before = of
    named = bases_of(sweep, cells) if bases is None else bases
    baselines = [
        _base_task(sweep, name, cell, folder)
        for name, cell in named.items()
        if wanted(BASELINE, name)
    ]
    stages += arrays(BASELINE, baselines, profile)
    last = tuple(Edge("afterany", s.name) for s in stages if s.of in ("evaluate", BASELINE))
    if wanted("compare", ALL):
        compare = Task(ALL, (("compare", str(folder.path), "--output", str(folder.comparison_md)),))
        stages.append(Stage("compare", "compare", (compare,), profile.stages.compare, last))
    return Plan(sweep.name, folder, tuple(_chained(stages, profile)))


def _chained(stages: Sequence[Stage], profile: Profile) -> list[Stage]:
    """Queue follow-ups where jobs may not be requeued: each waits for the one before to fail.

    A follow-up that finds its cell done ends at once. What waits for the stage waits for its last
    follow-up, however that ends, and looks for the marker itself. Where SLURM does not drop what
    can never start, a follow-up must wait for any end, or all behind it would wait for ever.
    """
    slurm = profile.slurm
    if slurm is None or slurm.requeue != "chain":
        return list(stages)
    again = "afternotok" if slurm.kill_on_invalid_dep else "afterany"
    result: list[Stage] = []
    last: dict[str, str] = {}
    for stage in stages:
        after = tuple(Edge("afterany", last.get(e.stage, e.stage)) for e in stage.after)
        result.append(replace(stage, after=after))
        attempts = 1 if stage.of == "compare" else min(slurm.max_requeues, CHAINED) + 1
        for number in range(2, attempts + 1):
            name = f"{stage.name}-{number}"
            result.append(replace(stage, name=name, after=(Edge(again, result[-1].name),)))
        last[stage.name] = result[-1].name
    return result


def _is_follow_up(stage: Stage) -> bool:
    return re.search(r"-\d+$", stage.name) is not None


def _task(of: str, sweep: Sweep, cell: Cell, folder: RunFolder) -> Task:
    name = cell.name
    if of == "train":
        return Task(name, (("train", "--config_file", str(folder.config(name))),))
    if of == "merge":
        adapter, merged = str(folder.train(name)), str(folder.merged(name))
        cached = _flag("--cache_dir", cell.config.model.cache_dir)
        return Task(name, (("merge", "--adapter_path", adapter, "--output_dir", merged, *cached),))
    judged = folder.merged(name) if sweep.merge else folder.train(name)
    held = _model_settings(cell.config.model, of_adapter=True)
    asked = _asked(sweep, name, folder)
    return Task(name, (("evaluate", "--model_name", str(judged), *asked, *held),))


def _base_task(sweep: Sweep, name: str, cell: Cell, folder: RunFolder) -> Task:
    config = cell.config
    prompt = ("--prompt_template", config.prompt.template, "--strategy", config.prompt.strategy)
    held = _model_settings(config.model, of_adapter=False)
    asked = _asked(sweep, name, folder)
    return Task(name, (("evaluate", "--model_name", config.model.name, *prompt, *asked, *held),))


def _asked(sweep: Sweep, cell: str, folder: RunFolder) -> list[str]:
    """Return the arguments that say on which rows, where to and how: one command, so one load."""
    files = sweep.evaluate.sets
    # `hsd evaluate` gives several sets a folder each, called as `folder.evaluate` calls it.
    output = folder.evaluate(cell, files[0])
    return [
        *(word for name in files for word in ("--data_file", name)),
        *_flag("--data_dir", sweep.evaluate.data_dir),
        "--output_dir",
        str(output if len(files) == 1 else output.parent),
        *(word for one in evaluation_overrides(sweep) for word in ("--set", one)),
    ]


def evaluation_overrides(sweep: Sweep) -> list[str]:
    """Return what a sweep changes of its evaluations, as `--set` takes it."""
    return [f"{key}={_value(value)}" for key, value in dotted(sweep.evaluate.set).items()]


def _model_settings(model: ModelConfig, *, of_adapter: bool) -> list[str]:
    """Return `--set model.x=y` for what differs from the defaults.

    An adapter knows its base's name, revision and quantisation itself.
    """
    own = {"name"} | ({"revision", "quantization"} if of_adapter else set())
    changed = model.model_dump(mode="json", exclude_defaults=True, exclude=own)
    return [w for key, v in changed.items() for w in ("--set", f"model.{key}={_value(v)}")]


def dotted(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested sections as `{"a.b": value}`."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            result |= dotted(value, f"{above}{key}.")
        else:
            result[f"{above}{key}"] = value
    return result


def _value(value: Any) -> str:
    """Return a value as `--set` reads it back: JSON where it parses, else the text itself."""
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value
    return json.dumps(value)


def _flag(name: str, value: Path | None) -> list[str]:
    return [] if value is None else [name, str(value)]
