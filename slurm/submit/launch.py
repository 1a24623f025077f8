"""hsd's commands as a job runs them: the interpreter, the launcher of the ranks, the container."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from containers.wrap import (
    FORWARDED,
    IMAGE_PYTHON,
    Inside,
    is_of_the_system,
    signal_command,
    wrap,
)
from hsd.data.hatexplain import DIVISIONS
from hsd.hub.cache import hf_home
from hsd.io.progress_file import progress_name
from hsd.io.shard import Shard
from hsd.model.launcher import GPUS_ASKED
from hsd.prompts.contract import FILE as CONTRACT
from slurm.cluster.profile import Profile
from slurm.node.job_context import verbatim
from slurm.node.supervisor import Orders
from slurm.run.run_folder import RunFolder
from slurm.sweep.stage import Stage, Task

_IGNORING = 'trap "" USR2 TERM; export PET_SIGNALS_TO_HANDLE=SIGINT; exec "$@"'
"""torchrun has no handler for SIGUSR2 and ends its ranks 30 s after a SIGTERM. So it ignores both,
and the ranks, which inherit that, set handlers of their own."""
_OF_THE_JOB = ("TMPDIR", "HF_DATASETS_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
"""What the script exports, and a container must be told; the supervisor fills in the values."""
_BY_NAME = (*FORWARDED, "SLURM_JOB_NODELIST", "SLURM_JOB_PARTITION", "SLURM_CLUSTER_NAME")
"""What SLURM may have set. An empty CUDA_VISIBLE_DEVICES would hide all GPUs where it has not."""
_OF_HSD = (
    "HF_HUB_OFFLINE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONPATH", "HSD_RUN", "HSD_JOB",
    GPUS_ASKED,
)  # fmt: skip


def orders(
    task: Task, stage: Stage, profile: Profile, folder: RunFolder, identity: str,
    cwd: Path, seen: Iterable[Path] = (), output: Path | None = None,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> Orders:  # fmt: skip
    """Return what the supervisor does for one element of an array.

    `seen` are paths that a container must see beside the run's folder: data, models. Files are
    given to be read, folders to be written. `output` is where the commands write their progress,
    each `shard` of a command's rows its own.
    """
    slurm = profile.slurm
    name = f"hsd-@job@-{stage.name}"
    return Orders(
        commands=tuple(
            in_container(
                profile, stage, _launched(command, stage, profile), cwd, folder, seen, name
            )
            for command in task.commands
        ),
        cwd=str(cwd),
        attempts=str(folder.attempts(task.cell, stage.of)),
        done=str(folder.done(task.cell, stage.of)),
        identity=identity,
        requeue=slurm.requeue if slurm else "",
        max_requeues=slurm.max_requeues if slurm else 0,
        tell=signal_command(profile.container, name) or (),
        progress=(str(output), f"**/{progress_name(shard)}") if output else ("", ""),
    )


def _launched(command: Sequence[str], stage: Stage, profile: Profile) -> tuple[str, ...]:
    """Return the processes of one node: the command itself, or torchrun with several."""
    inside = profile.container.runtime != "none"
    python = IMAGE_PYTHON if inside else profile.python or sys.executable
    program = ("-m", f"jobs.{command[0]}", *map(verbatim, command[1:]))
    ranks, nodes = stage.resources.ranks, stage.resources.nodes
    if command[0] not in ("train", "evaluate", "predict") or ranks * nodes == 1:
        return (python, *program)
    meet = (
        ("--standalone",)  # a free port: jobs share nodes
        if nodes == 1
        else (
            *("--nnodes", str(nodes), "--node_rank", "@node_rank@"),
            *("--master_addr", "@first_node@", "--master_port", "@port@"),
        )
    )
    launcher = (python, "-m", "torch.distributed.run", *meet, "--nproc_per_node", str(ranks))
    return ("sh", "-c", _IGNORING, "sh", *launcher, *program)


def in_container(
    profile: Profile, stage: Stage, argv: tuple[str, ...], cwd: Path,
    folder: RunFolder, seen: Iterable[Path], name: str,
) -> tuple[str, ...]:  # fmt: skip
    """Return the command in the profile's container; as it is where there is none."""
    if profile.container.runtime == "none":
        return argv
    hub = hf_home({**os.environ, **profile.env.set})
    secrets = {key: Path(path).expanduser() for key, path in profile.secrets.items()}
    # The run's own folder is made when all was checked; of the others only what is there.
    there = [path for path in (hub, *seen, *secrets.values()) if path.exists()]
    read = [path for path in there if not path.is_dir() or is_of_the_system(str(path))]
    if profile.container.runtime == "charliecloud":  # its image has folders to bind at, all or none
        there = [path.parent if path in seen and path in read else path for path in there]
        read = []
    paths = [folder.path, cwd, *(path for path in there if path not in read)]
    around = (folder.path, cwd)  # what is in these can be seen, and may be written anew
    read = [path for path in read if not any(path.is_relative_to(one) for one in around)]
    beside = {path.parent / name for path in read for name in (DIVISIONS, CONTRACT)}
    read += sorted(file for file in beside if file.exists() and file not in read)
    known = {variable: f"@env:{variable}@" for variable in (*_OF_HSD, *_OF_THE_JOB)}
    own = {key: str(path) for key, path in secrets.items()}
    given = {"HF_HOME": str(hub), **profile.env.set, **own}
    return wrap(
        profile.container,
        Inside(
            argv=argv,
            cwd=verbatim(str(cwd)),
            binds=(*dict.fromkeys(verbatim(str(path)) for path in paths), "@env:HSD_SCRATCH@"),
            read_only=tuple(dict.fromkeys(verbatim(str(path)) for path in read)),
            env={**known, **{name: verbatim(text) for name, text in given.items()}},
            gpus=stage.resources.gpus > 0,
            user=f"{os.getuid()}:{os.getgid()}",
            name=name,
            network=profile.compute_internet,
            forward=_BY_NAME,
        ),
    )
