"""One command as one job, or as an array of shards: `hsd submit`, for what is no sweep."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from hsd.config.strict_toml import KEPT_SECRET
from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.hashes import sha256_json
from hsd.io.provenance import now
from hsd.io.shard import Shard, shard_of
from hsd.secrets import holds_secret
from slurm.cluster.environment import exports
from slurm.cluster.profile import Profile
from slurm.cluster.stage_config import ASKS_FOR
from slurm.node.supervisor import Orders
from slurm.run import submissions
from slurm.run.run_folder import RunFolder, remember
from slurm.submit.launch import orders
from slurm.submit.resubmission import with_time
from slurm.submit.snapshot import Code, write_snapshot
from slurm.submit.submission import SubmissionBundle, next_submission_number, scripts
from slurm.submit.write_run import private
from slurm.sweep.absolute_paths import anchored_config
from slurm.sweep.arrays import arrays
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Edge, Stage, Task
from slurm.sweep.sweep_config import NAME

SHARDED = ("evaluate", "predict")
"""Commands that take --shard: an element of an array answers its own part of the rows."""


@dataclass(frozen=True, slots=True)
class Single:
    """One command of hsd's, to be run where it was submitted, with a copy of today's code."""

    kind: str
    arguments: tuple[str, ...]
    name: str
    profile: Profile
    code: Code | str
    """What is copied for the job; only its digest where the copy is there."""
    cwd: Path
    after: str | None = None
    typed_after: str | None = None
    """What --after said; `after` is None once that job has ended well."""
    time_min: int | None = None
    seen: tuple[Path, ...] = ()
    """Paths that a container must see beside `cwd`."""
    shards: int = 1
    """How many elements share the command's rows."""
    only: tuple[str, ...] | None = None
    """The elements to submit again, by name; None is a new submission of all."""
    later: tuple[str, ...] = ()
    """Elements that do not fit into the queue now, by name."""

    @property
    def word(self) -> str:
        """What one of its elements is called."""
        return "shard" if self.shards > 1 else "job"

    @property
    def tree(self) -> str:
        """Digest of the code."""
        return self.code if isinstance(self.code, str) else self.code.tree

    @property
    def folder(self) -> RunFolder:
        """Where scripts, logs and events go; the command's own output goes where it says."""
        return RunFolder(self.profile.shared_root / self.name)

    def plan(self) -> Plan:
        """Return the plan of one array, or of several, with a task for each shard."""
        asks_for = ASKS_FOR.get(self.kind, self.kind)
        profile = with_time(self.profile, self.time_min, [asks_for])
        after = (Edge("afterok", self.after),) if self.after else ()
        tasks = [one for one in self.tasks() if one.cell in self.now()]
        made = arrays(self.kind, tasks, profile)
        stages = tuple(replace(stage, after=(*after, *stage.after)) for stage in made)
        return Plan(self.name, self.folder, stages)

    def tasks(self) -> list[Task]:
        """Return what each element does: the command itself, or its part of the rows."""
        command = (self.kind, *self.arguments)
        if self.shards == 1:
            return [Task(self.kind, (command,))]
        parts = [Shard(index, self.shards) for index in range(self.shards)]
        return [
            Task(f"shard-{part.name}", ((*command, "--shard", f"{part.index}/{part.count}"),))
            for part in parts
        ]

    def now(self) -> tuple[str, ...]:
        """Return the elements to submit now, by name."""
        names = [task.cell for task in self.tasks()] if self.only is None else self.only
        return tuple(name for name in names if name not in self.later)

    @property
    def output(self) -> Path | None:
        """Where a training or an evaluation says how far it is; None where its config says so."""
        folder = _given(self.arguments, "--output-dir", "--output_dir")
        return self.cwd / folder if folder is not None else None

    def identity(self, task: Task) -> str:
        """Return the content hash that an element's marker holds, of its command and the code."""
        (command,) = task.commands
        return sha256_json([*command, self.tree])

    def prepared(self) -> SubmissionBundle:
        """Return it with its script. Raises PreflightError when the name is taken, or is none."""
        if not re.fullmatch(NAME, self.name):
            raise PreflightError(
                f"--name {self.name}: expected letters, digits, '.', '_' and '-'; its folder is "
                "called so."
            )
        if any(map(holds_secret, self.arguments)):
            raise PreflightError(f"hsd {self.kind}: an argument {KEPT_SECRET}.")
        if self.only is None and submissions.read_submissions(self.folder.path):
            raise PreflightError(
                f"{self.folder.path}: a run of this name is there; choose another --name."
            )
        plan, copy = self.plan(), self.folder.code / self.tree[:12]
        number = next_submission_number(self.folder)
        lines = exports(self.profile, self.folder.path, copy)
        return SubmissionBundle(
            plan,
            self.profile,
            number,
            scripts(plan, self.profile, number, lines),
            {s.name: [self._orders(s, task) for task in s.tasks] for s in plan.stages},
            copy,
        )

    def _orders(self, stage: Stage, task: Task) -> Orders:
        return orders(
            task, stage, self.profile, self.folder, self.identity(task), self.cwd,
            (self.cwd, *self.seen), self.output, shard_of(_given(task.commands[0], "--shard")),
        )  # fmt: skip

    def write(self) -> None:
        """Write what the job reads."""
        assert not isinstance(self.code, str), "the copy is there"
        with private(self.folder.path):
            write_snapshot(self.code, self.folder.code)
            write_json(self.folder.run_json, self._facts())
        with suppress(OSError):  # a home that is full must not keep a job from starting
            remember(self.folder.path)

    def is_command_of(self, facts: Mapping[str, Any]) -> bool:
        """Whether a run's facts are those of this very command, whatever its name."""
        return all(facts.get(key) == value for key, value in self._command().items())

    def _command(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "arguments": list(self.arguments),
            "cwd": str(self.cwd),
            "after": self.typed_after,
            "time_min": self.time_min,
            "shards": self.shards,
        }

    def _facts(self) -> dict[str, Any]:
        return {
            **self._command(),
            "name": self.name,
            "profile": self.profile.model_dump(mode="json"),
            "code": self.tree[:12],
            "seen": list(map(str, self.seen)),
            "cells": [{"name": task.cell} for task in self.tasks()],
            "created": now(),
        }


def killed_before(single: Single) -> list[RunFolder]:
    """Return the runs of this command, or of its name, whose submission was killed half way.

    A name is made of the time, so that the same command again has another one.
    """
    root = single.profile.shared_root
    found = [file.parent for file in sorted(root.glob(f"*/{submissions.SUBMISSIONS}"))]
    killed = [RunFolder(folder) for folder in found if submissions.unsettled(folder)]
    return [run for run in killed if run.path == single.folder.path or _is_of(run, single)]


def _is_of(run: RunFolder, single: Single) -> bool:
    try:
        return single.is_command_of(run.facts())
    except PreflightError:  # a run without run.json is a matter of its own name's commands
        return False


def _given(arguments: Sequence[str], *names: str) -> str | None:
    """Return the last value of an option, by any of its names."""
    words = [word for text in arguments for word in text.split("=", 1)]
    found = [value for name, value in pairwise(words) if name in names]
    return found[-1] if found else None


def paths_in(arguments: Sequence[str], cwd: Path) -> tuple[Path, ...]:
    """Return the existing files and folders that arguments name, for a container to see."""
    words = [part for text in arguments for part in (text, text.partition("=")[2]) if part]
    found = [cwd / word for word in words if not word.startswith("-") and (cwd / word).exists()]
    return tuple(dict.fromkeys(found))


def paths_of(config: TrainConfig, cwd: Path) -> tuple[Path, ...]:
    """Return the existing files and folders that a training reads; its config's file names them."""
    tree = anchored_config(config, cwd)
    named = (tree.data.train_file, tree.data.validation_file, tree.model.name, tree.prompt.template)
    others = (tree.model.cache_dir, tree.training.init_from)
    paths = [Path(path) for path in (*named, *others) if path and str(path).startswith("/")]
    return tuple(dict.fromkeys(path for path in paths if path.exists()))
