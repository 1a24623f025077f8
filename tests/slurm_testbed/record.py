"""Record what a cluster's programs print of every kind of job that hsd has to read.

    . /tmp/hsd-slurm/env.sh; PYTHONPATH=. python tests/slurm_testbed/record.py tests/recorded/24.11

tests/test_slurm_versions.py reads the recordings. Names of jobs are those that the tests ask for.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from slurm.check.checks_queue import PARTITION_FORMAT
from slurm.cluster.client import ACCOUNTING_FIELDS, QUEUE_FORMAT
from slurm.cluster.cluster_facts import SINFO_FORMAT

FOLDER = Path("/tmp/hsd-recorded")
SCRIPT = "#!/bin/bash\n#SBATCH --output=/dev/null\n{body}\n"
STEPS = {"done": "true", "code3": "exit 3", "code75": "exit 75", "code130": "exit 130"}
STEPS |= {"killed": "kill -KILL $$", "terminated": "kill -TERM $$", "crashed": "kill -SEGV $$"}
ASKED = ("--gres=gpu:a100:2", "--comment=hsd-1")
SETTLE_S, ENDED_S = 15, 90


def said(*argv: str) -> str:
    """Return what a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def submit(name: str, body: str, *options: str) -> str:
    """Submit a job and return its id."""
    script = FOLDER / f"{name}.sh"
    script.write_text(SCRIPT.format(body=body))
    place = f"--chdir={FOLDER}"
    return said("sbatch", "--parsable", f"--job-name={name}", place, *options, str(script)).strip()


def jobs() -> list[str]:
    """Submit one of each kind; return their ids once all are where they are to be recorded."""
    ids = [submit(name, f"srun bash -c '{step}'", *ASKED) for name, step in STEPS.items()]
    ids.append(submit("by_script", "kill -KILL $$", *ASKED))
    ids.append(submit("array", "srun bash -c 'exit $SLURM_ARRAY_TASK_ID'", "--array=0-1", *ASKED))
    after = f"--dependency=aftercorr:{ids[-1]}"
    ids.append(submit("after", "true", "--array=0-1", after, "--kill-on-invalid-dep=yes"))
    ids.append(submit("never", "true", f"--dependency=afterok:{ids[1]}"))
    ids.append(submit("waits", "true", "--hold", "--array=0-4%2"))
    for name in ("running", "cancelled", "requeued"):
        ids.append(submit(name, "sleep 600", "--time=1-00:00:00", *ASKED))
    time.sleep(SETTLE_S)
    said("scancel", ids[-2])
    said("scontrol", "requeue", ids[-1])
    for _ in range(ENDED_S):
        time.sleep(1)
        ended = said("sacct", "-n", "-P", "-X", "--format=State", "-j", ",".join(ids[:8]))
        if not {"PENDING", "RUNNING", "COMPLETING"} & set(ended.split()):
            break
    time.sleep(SETTLE_S)
    return ids


def record(to: Path) -> None:
    """Write what each program prints to a file of its own."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    ids = jobs()
    listed = ",".join(ids)
    asked = {
        "squeue": ("-h", "--array", "--states=all", "-o", QUEUE_FORMAT, "-j", listed),
        "sacct": ("-D", "-n", "-P", "-X", f"--format={ACCOUNTING_FIELDS}", "-j", listed),
        "scontrol": ("show", "job", "-o"),
        "sinfo": ("-h", "-e", "-o", SINFO_FORMAT),
        "sinfo_partitions": ("-h", "-o", PARTITION_FORMAT),
        "scontrol_partition": ("show", "partition", "--oneliner"),
    }
    to.mkdir(parents=True, exist_ok=True)
    for name, argv in asked.items():
        (to / f"{name}.txt").write_text(said(name.partition("_")[0], *argv))
    said("scancel", *ids)
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
