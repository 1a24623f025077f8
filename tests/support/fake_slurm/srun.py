"""srun: becomes its command, which then is the step: what scancel --signal reaches."""

import os
import sys
from pathlib import Path

from fake_slurm import faults, options, runner, store

FLAGS = options.FLAGS | {"verbose"}


def main(argv: list[str]) -> None:
    """Run the first task of a step; a fake step has no other."""
    faults.meet("srun")
    if "SLURM_JOB_ID" not in os.environ:
        faults.fail("srun: error: a fake srun runs in a fake job only")
    asked, command = options.parsed("srun", argv, options.VALUES, FLAGS)
    if not command:
        faults.fail("srun: fatal: No command given to execute.")
    os.environ |= {"SLURM_STEP_ID": "0", "SLURM_STEPID": "0"}
    os.environ |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    os.environ.setdefault("SLURM_NTASKS", "1")
    _redirect(asked)
    steps = store.root() / "steps" / os.environ["SLURM_JOB_ID"]
    steps.mkdir(parents=True, exist_ok=True)
    (steps / str(os.getpid())).touch()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        faults.fail(f"slurmstepd: error: execve(): {command[0]}: {error.strerror}", 2)


def _redirect(asked: dict[str, str]) -> None:
    mode = asked.get("open-mode", os.environ.get("SLURM_OPEN_MODE", "truncate"))
    sys.stdout.flush()
    for option, fd in (("output", 1), ("error", 2)):
        if option in asked:
            path = Path(runner.expanded(asked[option], dict(os.environ)))
            file = path.open("a" if mode.startswith("a") else "w")
            os.dup2(file.fileno(), fd)
            if option == "output" and "error" not in asked:
                os.dup2(1, 2)
