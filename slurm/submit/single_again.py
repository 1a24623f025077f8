"""What is left of a submission of `hsd submit` once more: the job, or those of its shards alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError, did_you_mean
from hsd.io.json_reader import read_object
from slurm.cluster.client import ClusterError, programs
from slurm.cluster.limits import with_array_size
from slurm.cluster.profile import Profile
from slurm.node.events import attempts
from slurm.node.supervisor import is_done
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import RunState, slurm_of, states
from slurm.submit.awaited_job import still_to_wait
from slurm.submit.parts import Left
from slurm.submit.shard_parts import fitting_shards
from slurm.submit.single_job import Single, paths_in, paths_of
from slurm.submit.snapshot import FACTS, require_unchanged
from slurm.submit.submission import SubmissionBundle
from slurm.submit.work import live_in, nodes_for
from slurm.watch.failed_nodes import NodeChoice, remember_nodes


@dataclass(frozen=True, slots=True)
class SingleAgain:
    """The elements that are left, done and in the queue; `single` is of those left."""

    folder: RunFolder
    single: Single
    parts: Left
    """What is submitted now, what later, and what needs nothing."""
    nodes: NodeChoice
    seen: int
    """How many lines submissions.jsonl had before it was asked what is left."""

    @property
    def left(self) -> tuple[str, ...]:
        """The elements to submit now."""
        return self.parts.new

    def prepared(self) -> SubmissionBundle:
        """Return the script and orders of what is left. Nothing is written."""
        return self.single.prepared()

    def after_asking(self) -> "SingleAgain":
        """Return it without the job that it was to wait for, where that has ended well.

        Raises PreflightError where that cannot end well any more.
        """
        job, slurm = self.single.after, programs(self.single.profile)
        try:
            waits = job is not None and still_to_wait(job, slurm)
        except ClusterError:
            raise
        except PreflightError as error:
            raise PreflightError(
                f"{self.folder.path}: {error} Submit the command with another --name and --after."
            ) from None
        return self if waits else replace(self, single=replace(self.single, after=None))

    def write(self) -> None:
        """Write which nodes are excluded; all else is there, and must be as it was."""
        copy = self.folder.code / self.single.tree[:12]
        require_unchanged(copy, "Put it back, or submit the command anew with another --name.")
        remember_nodes(self.folder.path, self.nodes)


def single_again(
    folder: RunFolder, *, failed: bool = False, only: Sequence[str] = (),
    time_min: int | None = None, exclude_failed_nodes: bool = False,
    allow_nodes: Sequence[str] = (), config: TrainConfig | None = None,
    max_parallel: int | None = None,
) -> SingleAgain:  # fmt: skip
    """Return what is neither done nor in the queue; of failed elements alone if asked.

    The code is the copy that was queued. `config` is of a training by an older hsd, which did not
    write down what the training reads. Raises PreflightError for an unknown element.
    """
    facts = folder.facts()
    seen = len(submissions.submission_lines(folder.path))
    state = states(folder.path, slurm_of(folder))
    nodes = nodes_for(state, all_failed=exclude_failed_nodes, allowed=allow_nodes)
    single = _as_queued(folder, facts, nodes, time_min, config)
    single = replace(single, profile=single.profile.with_parallelism(max_parallel))
    tasks = single.tasks()
    names = [task.cell for task in tasks]
    for name in only:
        if name not in names:
            raise PreflightError(f"--only {name}: no such element.{did_you_mean(name, names)}")
    active = live_in(state)
    busy = tuple(name for name in names if active(single.kind, name))
    done = tuple(
        task.cell
        for task in tasks
        if is_done(folder.done(task.cell, single.kind), single.identity(task))
    )
    settled = {*busy, *done}
    left = tuple(
        name
        for name in names
        if name not in settled and (not only or name in only)
        if not failed or _has_failed(state, name)
    )
    single, parts = fitting_shards(replace(single, only=left), done, busy)
    return SingleAgain(folder, single, parts, nodes, seen)


def _as_queued(
    folder: RunFolder,
    facts: Mapping[str, Any],
    nodes: NodeChoice,
    time_min: int | None,
    config: TrainConfig | None,
) -> Single:
    profile = Profile.model_validate(facts["profile"]).without_nodes(nodes.names)
    profile = with_array_size(profile, programs(profile))
    return Single(
        facts["kind"],
        tuple(facts["arguments"]),
        folder.path.name,
        profile.model_copy(update={"shared_root": folder.path.parent}),
        read_object(folder.code / facts["code"] / FACTS)["tree"],
        Path(facts["cwd"]),
        after=None if _has_begun(folder) else facts.get("after"),
        typed_after=facts.get("after"),
        time_min=time_min or _minutes(folder, facts),
        seen=_seen(facts, config),
        shards=facts.get("shards") or 1,
    )


def _has_begun(folder: RunFolder) -> bool:
    """Whether an element has started once: what it was to wait for had ended well by then."""
    files = folder.cells.glob("*/attempts/*.jsonl")
    return any(event["event"] == "started" for file in files for event in attempts(file))


def _minutes(folder: RunFolder, facts: Mapping[str, Any]) -> int | None:
    """Return the time limit; an older hsd wrote the one of --time beside each job alone."""
    if "time_min" in facts:
        return facts["time_min"] or None
    told = submissions.read_submissions(folder.path)
    return told[-1].time_min if told else None


def _seen(facts: Mapping[str, Any], config: TrainConfig | None) -> tuple[Path, ...]:
    """Return what a container must see, as for a new submission where an older hsd did not say."""
    if "seen" in facts:
        return tuple(map(Path, facts["seen"] or ()))
    cwd = Path(facts["cwd"])
    return (*paths_in(facts["arguments"], cwd), *(paths_of(config, cwd) if config else ()))


def _has_failed(state: RunState, name: str) -> bool:
    return any(one.state == "failed" for one in state.of(name).values())
