"""argv -> the argv that runs it inside a container. Pure: what a dry run prints is what runs.

The supervisor of a job starts the result on the node, so whatever only the node knows (its
GPUs, its job) is passed on by name and never by value.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from containers.container_config import Bind, ContainerConfig, parse_bind
from containers.pinned_image import name_of, pinned
from containers.signals import IGNORING, MARK, signal_command
from hsd.errors import PreflightError

__all__ = ["IMAGE_HSD", "IMAGE_PYTHON", "ContainerConfig", "Inside", "signal_command", "wrap"]

IMAGE_PYTHON = "/opt/hsd/bin/python"
"""The interpreter of the image; what a wrapped command begins with instead of `python`."""
IMAGE_HSD = "/opt/hsd/bin/hsd"
IMAGE_TINI = "/usr/bin/tini"
IMAGE_ENVIRONMENT = {
    "PATH": "/opt/hsd/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
}
"""The Dockerfile's ENV, for a runtime that starts from a folder and has lost it."""
STRAY = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV")
"""Variables of the host that would break the image's Python where the host's are handed on."""
FORWARDED = (
    "CUDA_VISIBLE_DEVICES",  # on a cluster without device cgroups the only fence between jobs
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
)
"""Variables of the node that every runtime passes on when they are set: the manifest's."""
_SYSTEM = frozenset({"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"})
_OF_USR = frozenset({"bin", "sbin", "share", "include", "local", "src", "etc"})
_ON_THE_NODE = re.compile(r"@\w+(:\w+)?@")
"""What the supervisor fills in later, such as @env:HSD_SCRATCH@."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A command and what it needs to find inside."""

    argv: tuple[str, ...]
    cwd: str
    binds: tuple[str, ...] = ()
    """Absolute host paths that are seen at the same path, writable; or `@env:NAME@`, which the
    supervisor fills in. Never a folder of the system, home as a whole, or what holds it."""
    read_only: tuple[str, ...] = ()
    """Absolute host paths that are seen at the same path, to be read."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Paths and switches; everybody on the host can read them, so never a secret."""
    gpus: bool = False
    user: str = "0:0"
    """uid:gid that the outputs shall belong to."""
    name: str | None = None
    """What `signal_command` calls the container of a job; None is a command run by hand."""
    network: bool = False
    """Whether other machines can be reached: downloads, several nodes. Only docker and podman
    can keep a command from it."""
    forward: tuple[str, ...] = FORWARDED
    """Variables that are passed on with the value they have where the container starts."""


def wrap(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """Return the whole command; `inside.argv` itself for the runtime `none`.

    Raises PreflightError for a path that a runtime would misread.
    """
    if config.runtime == "none":
        return inside.argv
    return pinned(config, _RUNTIMES[config.runtime](config, inside))


def _engine(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """Docker and podman: own namespaces, so everything is given.

    --mount and not -v: docker would make a missing folder, as root. --pull never: a node without
    the image must say so, not wait for a registry. tini passes signals on and reaps; it is called
    by name since --init needs a program that hosts lack.
    """
    assert config.image is not None
    return (
        *(config.runtime, "run", "--rm", "--pull", "never"),
        *(("--name", inside.name) if inside.name else ()),
        *("--user", inside.user, *_same_user(config, inside)),
        *("--read-only", "--tmpfs", "/tmp:exec,mode=1777"),  # exec: compiled kernels are loaded
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--network", "host" if inside.network else "none"),
        "--ipc=host",  # NCCL and data loaders need more than the 64 MB of a private /dev/shm
        *_engine_gpus(config, inside),
        *(word for bind in _binds(config, inside) for word in ("--mount", _mount(bind))),
        *("-w", inside.cwd),
        *(
            word
            for name, value in _env(config, inside).items()
            for word in ("-e", f"{name}={value}")
        ),
        *(word for name in _forwarded(inside) for word in ("-e", name)),
        *("--entrypoint", IMAGE_TINI, name_of(config), "--"),
        *_command(inside),
    )


def _same_user(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """Podman of a user maps ids: outputs would belong to a stranger, and SELinux refuse binds."""
    if config.runtime == "docker":
        return ()
    keep = () if inside.user.startswith("0:") else ("--userns", "keep-id")
    return (*keep, "--security-opt", "label=disable")


def _engine_gpus(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    if not inside.gpus:
        return ("-e", "NVIDIA_VISIBLE_DEVICES=void")  # the image asks for all
    return ("--gpus", "all") if config.runtime == "docker" else ("--device", "nvidia.com/gpu=all")


def _apptainer(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """`exec`, not `run`: that would have a shell read the arguments once more.

    --cleanenv lets nothing of the host in, so what is forwarded is renamed for apptainer first.
    """
    assert config.image is not None
    return (
        *("sh", "-c", _forwarding(_forwarded(inside)), "hsd"),
        *("apptainer", "exec", "--no-home", "--cleanenv"),
        *(("--nv",) if inside.gpus else ()),
        *(word for bind in _binds(config, inside) for word in ("--bind", _colons(bind))),
        *("--pwd", inside.cwd),
        *(
            word
            for name, value in _env(config, inside).items()
            for word in ("--env", f"{name}={value}")
        ),
        config.image,
        *_command(inside),
    )


def _forwarding(names: tuple[str, ...]) -> str:
    exports = (
        f'[ -z "${{{name}+set}}" ] || export APPTAINERENV_{name}="${name}"' for name in names
    )
    return "; ".join((*exports, 'exec "$@"'))


def _pyxis(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """A step of the job on this very node, beside the one that starts it.

    --overlap and --mem=0 share what the job has, --cpu-bind=none all of its CPUs; --export=ALL,
    since sbatch may have been told NONE. The image would bring back its own environment, so ours
    is set by `env` inside.
    """
    assert config.image is not None
    gpus = "" if inside.gpus else "export NVIDIA_VISIBLE_DEVICES=void; "
    here = '${SLURMD_NODENAME:+"--nodelist=$SLURMD_NODENAME"}'
    mounts = ",".join(_colons(bind) for bind in _binds(config, inside))
    mark = {MARK: inside.name} if inside.name else {}
    return (
        *("sh", "-c", f'{gpus}exec srun {here} "$@"', "hsd"),
        *("--overlap", "--mem=0", "--nodes=1", "--ntasks=1", "--cpu-bind=none", "--export=ALL"),
        f"--container-image={config.image}",
        *((f"--container-mounts={mounts}",) if mounts else ()),
        f"--container-workdir={inside.cwd}",
        *("--no-container-mount-home", "--no-container-remap-root", "--no-container-entrypoint"),
        *("env", *(word for name in STRAY for word in ("-u", name))),
        *(f"{name}={value}" for name, value in (_env(config, inside) | mark).items()),
        *_command(inside),
    )


def _charliecloud(config: ContainerConfig, inside: Inside) -> tuple[str, ...]:
    """An unpacked image, read-only; the host's environment goes in but for what would break it.

    TMPDIR would be bound over /tmp, and hide a run's folder that is below the host's.
    """
    assert config.image is not None
    _refuse_read_only(config)
    env = IMAGE_ENVIRONMENT | _env(config, inside)
    return (
        *("env", "-u", "TMPDIR", "ch-run", "--env-no-expand"),
        *(f"--unset-env={name}" for name in STRAY),
        *(f"--set-env={name}={value}" for name, value in env.items()),
        *(
            word
            for bind in _binds(config, inside)
            for word in ("-b", f"{bind.source}:{bind.target}")
        ),
        *("--cd", inside.cwd, config.image, "--"),
        *inside.argv,  # ch-run is no Go program: an ignored signal stays ignored
    )


_RUNTIMES: dict[str, Callable[[ContainerConfig, Inside], tuple[str, ...]]] = {
    "docker": _engine,
    "podman": _engine,
    "apptainer": _apptainer,
    "pyxis": _pyxis,
    "charliecloud": _charliecloud,
}


def _command(inside: Inside) -> tuple[str, ...]:
    """Let a job's launcher ignore the stop signal, which its ranks handle and it would die of."""
    return (*IGNORING, *inside.argv) if inside.name else inside.argv


def _binds(config: ContainerConfig, inside: Inside) -> list[Bind]:
    """Return each place once, a folder before what is inside it; the profile's binds win."""
    read = (replace(_same_place(path), read_only=True) for path in inside.read_only)
    binds = (*read, *map(_writable, inside.binds), *map(parse_bind, config.binds))
    places = {bind.target: bind for bind in binds}
    return [places[target] for target in sorted(places)]


def is_of_the_system(path: str) -> bool:
    """Return whether a folder is the machine's own, which no command has to write."""
    parts = PurePosixPath(path).parts[1:]
    if parts[:1] == ("usr",) and len(parts) > 1:  # some clusters have homes at /usr/users
        return parts[1].startswith("lib") or parts[1] in _OF_USR
    return bool(parts) and parts[0] in _SYSTEM


def _writable(path: str) -> Bind:
    home = Path.home()
    if path.startswith("/") and (is_of_the_system(path) or home.is_relative_to(path)):
        raise PreflightError(
            f"container: {path} is not given to a command to write: it is "
            f"{'the system' if is_of_the_system(path) else 'all of your home, or more'}; work in a "
            "folder of its own, or name a bind in [container]."
        )
    return _same_place(path)


def _same_place(path: str) -> Bind:
    plain = _ON_THE_NODE.sub("", path)
    if {":", ","} & set(plain) or not path.startswith(("/", "@")):
        raise PreflightError(
            f"container: '{path}' cannot be bound: expected an absolute path without ':' and ','; "
            "move or link the folder."
        )
    return Bind(path, path)


def _forwarded(inside: Inside) -> tuple[str, ...]:
    """Return what is passed on by name; a value that was given wins."""
    return tuple(name for name in inside.forward if name not in inside.env)


def _refuse_read_only(config: ContainerConfig) -> None:
    for text in config.binds:
        if parse_bind(text).read_only:
            raise PreflightError(
                f"container: charliecloud cannot bind read-only: '{text}'; leave out ':ro'."
            )


def _mount(bind: Bind) -> str:
    return f"type=bind,source={bind.source},target={bind.target}" + (",readonly" * bind.read_only)


def _colons(bind: Bind) -> str:
    return f"{bind.source}:{bind.target}" + (":ro" * bind.read_only)


def _env(config: ContainerConfig, inside: Inside) -> dict[str, str]:
    """Return the variables to set; the manifest takes the image's digest from one of them."""
    digest = {"HSD_IMAGE_DIGEST": config.digest} if config.digest else {}
    for name, value in inside.env.items():
        if "\n" in value:
            raise PreflightError(f"container: {name} has several lines; no runtime passes those.")
    return digest | dict(inside.env)
