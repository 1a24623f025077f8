"""What sbatch gets of the caller's environment, and what a job's script exports.

A job inherits what sbatch was started with, and SLURM keeps a copy. So secrets are taken out
before, and what a surrounding job left behind: an inherited CPU binding made jobs 3x slower.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hsd.errors import PreflightError
from hsd.secrets import is_secret_name, without_secrets

if TYPE_CHECKING:
    from slurm.cluster.profile import Profile

_INHERITED = re.compile(
    r"^(SLURM|SBATCH|SALLOC|SRUN|SUBMITIT"
    r"|SQUEUE|SACCT|SINFO|SCANCEL|SCONTROL)_"  # SQUEUE_STATES would hide jobs from us
)
_KEPT = frozenset({"SLURM_CONF"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ATTEMPT = "=== hsd: attempt "
"""How a line of a job's logs begins that stands before everything of one attempt."""
ATTEMPT_LINE = (
    f'"{ATTEMPT}$((${{SLURM_RESTART_COUNT:-0}} + 1)) on $(hostname) at $(date -u +%FT%TZ) ==="'
)
_SCRATCH = "hsd-$SLURM_JOB_ID"
_CACHES = {
    "HF_DATASETS_CACHE": "datasets",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TMPDIR": "tmp",
}


def scrubbed(environ: Mapping[str, str], keep: Iterable[str] = ()) -> dict[str, str]:
    """Return what SLURM's programs may see: no secrets, nothing of a job around this process.

    `keep` are names to pass all the same; one that looks like a secret's is never kept.
    """
    wanted = _KEPT | set(keep)
    return {
        name: value
        for name, value in without_secrets(environ).items()
        if name in wanted or not _INHERITED.match(name)
    }


def exports(profile: "Profile", run_folder: Path, code: Path) -> list[str]:
    """Return the shell lines that a job's script begins with.

    Raises PreflightError for a value in [env.set] whose name looks like a secret's.
    """
    _refuse_secrets(profile)
    given = dict(profile.env.set)
    places = {name: str(Path(path).expanduser()) for name, path in profile.secrets.items()}
    fixed = {
        "HSD_RUN": str(run_folder),
        "HSD_JOB": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",  # the working folder must not shadow a package
        "PYTHONPATH": str(code),
    } | ({} if profile.compute_internet else {"HF_HUB_OFFLINE": "1"})
    return [
        "umask 077",
        "ulimit -c 0",  # a core file is as big as the model
        # Without a trap bash dies of a signal at once, and the job with it, while ranks still save.
        "trap : TERM USR2",
        f"echo {ATTEMPT_LINE}; echo {ATTEMPT_LINE} >&2",  # logs are appended to by each attempt
        *_assignments(fixed),
        *_scratch(profile.node_local),
        *_assignments(given | places),
        *profile.setup,
    ]


def _refuse_secrets(profile: "Profile") -> None:
    for name, value in profile.env.set.items():
        if value and is_secret_name(name):
            raise PreflightError(
                f"[env.set] {name}: looks like a secret, and a job's script can be read by others; "
                f'write it to a file with mode 0600 and name that: [secrets] {name}_PATH = "FILE".'
            )


def _assignments(values: Mapping[str, str]) -> list[str]:
    for name in values:
        if not _NAME.fullmatch(name):
            raise PreflightError(f"'{name}' is no name of a variable; expected such as HF_HOME.")
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def _scratch(node_local: str) -> list[str]:
    """Return lines that make a folder for the caches of this job alone, and remove it at the end.

    Caches hold code that is loaded, and job ids are easy to guess: a folder that somebody else has
    made first is refused. One of ours is of an earlier attempt that was killed here. Only what is
    made here is removed, and only the whole job's folder: never node_local itself.
    """
    above = _expandable(node_local)
    folders = " ".join(f'"$HSD_SCRATCH/{name}"' for name in _CACHES.values())
    return [
        f'export HSD_SCRATCH="{above}/{_SCRATCH}"',
        f'mkdir -p "{above or "/"}"',
        # mkdir does not follow a link, and without -p it makes no use of what is there.
        '{ mkdir -m 700 "$HSD_SCRATCH" 2>/dev/null || { [ ! -L "$HSD_SCRATCH" ] && '
        '[ -d "$HSD_SCRATCH" ] && [ -O "$HSD_SCRATCH" ] && chmod 700 "$HSD_SCRATCH"; }; } && '
        f"mkdir -p {folders} || "
        "{ echo \"Error: $HSD_SCRATCH: cannot be made on $(hostname), or is somebody else's;"
        ' set node_local in the profile to a folder that every node has, best one of yours." >&2;'
        " exit 3; }",
        "trap 'rm -rf -- \"$HSD_SCRATCH\"' EXIT",
        *(f'export {name}="$HSD_SCRATCH/{folder}"' for name, folder in _CACHES.items()),
    ]


def _expandable(text: str) -> str:
    """Return text for double quotes in which $NAME and ${NAME} alone are the node's to fill in."""
    quoted = re.sub(r'[\\"`]', r"\\\g<0>", text.rstrip("/"))
    return re.sub(r"\$(?!\w|\{\w+\})", r"\\$", quoted)
