"""The text that sbatch gets for a stage, from submitit's own renderer.

What a dry run prints and what is submitted is the same text: dependencies and the hold are options
of the sbatch command, since they hold ids that only the submission knows.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor

from hsd.errors import PreflightError
from hsd.model.launcher import GPUS_ASKED
from slurm.cluster.profile import Profile, SlurmConfig
from slurm.run.folder_owner import guard
from slurm.run.submissions import job_name
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Edge, Stage


class ScriptRenderer(SlurmExecutor):
    """submitit's executor where there may be no SLURM: it renders a script and submits nothing.

    `_make_submission_file_text` and `_submitit_command_str` are private; a test pins what is used.
    """

    @classmethod
    def affinity(cls) -> int:
        """Claim to be on a cluster: the base class refuses to be made where srun is missing."""
        return 2

    def text(self, **parameters: Any) -> str:
        """Return the script of an array whose pickles lie in this executor's folder."""
        self.parameters.update(parameters)
        return str(self._make_submission_file_text(self._submitit_command_str, ""))


def script(plan: Plan, stage: Stage, profile: Profile, folder: Path, exports: Sequence[str]) -> str:
    """Return the script of one stage; `folder` is where its pickles and logs are.

    Raises PreflightError for a run's folder that a log cannot be in.
    """
    assert profile.slurm is not None, "a local profile has no scripts"
    if "%" in str(folder):
        raise PreflightError(
            f"{plan.folder.path}: sbatch and srun read '%' in the name of a log as a pattern; set "
            "shared_root in the profile to a folder without it."
        )
    renderer = ScriptRenderer(folder, python=shlex.quote(profile.python or sys.executable))
    return renderer.text(
        job_name=job_name(plan.name, stage.name),
        map_count=len(stage.tasks),
        setup=[*exports, f"export {GPUS_ASKED}={stage.resources.gpus}", guard(plan.folder.path)],
        wckey=None,  # submitit's own would be refused where wckeys are tracked
        **_resources(stage, profile.slurm),
        **_place(stage, profile.slurm),
    )


def options(after: Sequence[Edge], ids: dict[str, str], slurm: SlurmConfig) -> list[str]:
    """Return the sbatch options that say what a stage waits for. `ids` gives each stage's job."""
    if not after:
        return []
    edges = ",".join(f"{edge.kind}:{ids.get(edge.stage, edge.stage)}" for edge in after)
    # Without it an element whose training failed stays in the queue for ever.
    kill = ["--kill-on-invalid-dep=yes"] if slurm.kill_on_invalid_dep else []
    return [f"--dependency={edges}", *kill]


def _resources(stage: Stage, slurm: SlurmConfig) -> dict[str, Any]:
    resources = stage.resources
    asked: dict[str, Any] = {
        "time": resources.time_min,  # submitit's own default would end a job after 5 minutes
        "nodes": resources.nodes,
        # One task a node, and the launcher makes the ranks: --gpus-per-task would hide peers.
        "ntasks_per_node": 1,
        "cpus_per_task": resources.cpus,
        "mem": f"{round(resources.memory_gb * 1024)}M",
        # srun alone would bind the task to one core since 22.05.
        "srun_args": [f"--cpus-per-task={resources.cpus}", "--kill-on-bad-exit=1"],
        "signal_delay_s": slurm.signal_seconds,
    }
    if resources.gpus:
        kind = f"{slurm.gpu_type}:" if slurm.gpu_type else ""
        if slurm.gpu_request == "gres":
            asked["gres"] = f"gpu:{kind}{resources.gpus}"
        else:
            asked["gpus_per_node"] = f"{kind}{resources.gpus}"
    return asked


def _place(stage: Stage, slurm: SlurmConfig) -> dict[str, Any]:
    requeue = "requeue" if slurm.requeue == "scontrol" else "no-requeue"
    further: dict[str, Any] = {requeue: True, **slurm.extra}
    if slurm.reservation:
        further["reservation"] = slurm.reservation
    return {
        "account": slurm.account,
        "partition": stage.resources.partition or slurm.partition,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "exclude": slurm.exclude,
        "array_parallelism": stage.at_once or len(stage.tasks),
        "additional_parameters": further,
    }
