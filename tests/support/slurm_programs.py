"""Stand-ins for SLURM's programs: shell scripts that print what a real one would."""

from pathlib import Path

ACCEPTS = 'echo "sbatch: Job 9 to start at 2026-01-02T03:04:05 using 1 processors" >&2'
QUEUES = "gpu*|up|1-00:00:00 short|up|10:00 old|down|infinite"
"""Partitions: the default with a day, one with ten minutes, one that is down."""
NODES = "gpu*|4|16|64000|gpu:a100:4|1-00:00:00|up low|2|8|32000|(null)|infinite|up"
PROGRAMS = {
    "sbatch": f'case "$1" in --version) echo "slurm-wlm 22.05.8";; *) {ACCEPTS};; esac',
    "scontrol": 'case "$1" in ping) echo "Slurmctld(primary) at head is UP";; '
    '*) echo "MaxArraySize = 1001"; echo "JobRequeue = 1";; esac',
    "sinfo": f"""case "$*" in
    *%f*) echo "a100,ib"; echo "(null)";;
    *%G*) for line in {" ".join(f"'{one}'" for one in NODES.split())}; do echo "$line"; done;;
    *) for line in {" ".join(f"'{one}'" for one in QUEUES.split())}; do echo "$line"; done;;
    esac""",
    "sacct": "exit 0",
}


def write_programs(folder: Path, ran: Path, **scripts: str) -> Path:
    """Write the programs, `scripts` in place of their own; what is called is noted in `ran`."""
    folder.mkdir(exist_ok=True)
    for name, body in (PROGRAMS | scripts).items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "{name} $*" >> {ran}\n{body}\n')
        file.chmod(0o755)
    return ran
