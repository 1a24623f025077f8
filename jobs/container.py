"""`hsd container`: run any hsd command inside a container, print how, or check that it works."""

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import click

from containers.container_config import ContainerConfig, Runtime
from containers.image_checks import check_container, found_digest
from containers.wrap import IMAGE_HSD, Inside, wrap
from hsd.config.problems import validated
from hsd.config.settings import OPTIONS, flatten
from hsd.errors import PreflightError
from hsd.hub.cache import hf_home
from hsd.secrets import holds_secret, is_secret_name
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import CONTEXT, Command, CommandGroup
from jobs.terminal.output import echo, echo_text

GPU = Path("/dev/nvidiactl")
"""Is there where an NVIDIA driver is loaded."""


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def container() -> None:
    """Run hsd inside a container: docker, podman, apptainer, pyxis or charliecloud."""


def _image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say inside what; without --cluster they are the whole answer."""
    options = [
        click.option(
            "--cluster",
            metavar="NAME|FILE",
            help="Use the [container] section of this profile; the options below override it.",
        ),
        click.option("--runtime", type=click.Choice(get_args(Runtime)), help="Container runtime."),
        click.option("--image", help="Image: a tag, a .sif or .sqsh file, or an unpacked folder."),
        click.option("--digest", help="The sha256:... digest that the image must have."),
        click.option(
            "--bind",
            "binds",
            multiple=True,
            metavar="HOST[:INSIDE[:ro]]",
            help="Another folder that the container may see, besides this one and HF_HOME. May be "
            "repeated.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--gpus/--no-gpus",
            default=None,
            help="Use the GPUs. Default: if there are any.",
        ),
        click.option(
            "--network/--no-network",
            default=True,
            show_default=True,
            help="With docker and podman: whether the command may reach other machines.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="Set a variable inside the container; never a secret. May be repeated.",
        ),
        click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="-- HSD_ARGUMENTS"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@container.command(
    cls=Command,
    examples="""
    hsd container run --runtime docker --image hsd:cuda -- train --config default
    hsd container run --runtime apptainer --image hsd.sif --bind /scratch/models:/models:ro -- demo
    hsd container run --cluster a100x4 -- evaluate --model-name runs/train
    """,
)
@_image_options
@_run_options
def run(arguments: tuple[str, ...], **options: Any) -> None:
    """Run `hsd HSD_ARGUMENTS` inside the image, on this machine and as your user.

    The container sees this folder and HF_HOME at the same paths. The run's manifest records the
    digest of the image.
    """
    inside, config = _inside(arguments, options), _config(**options)
    hf_home().mkdir(parents=True, exist_ok=True)
    check_container(config, inside.binds)
    if config.digest is None:
        config = config.model_copy(update={"digest": found_digest(config)})
    argv = wrap(config, inside)
    # The runtime takes this process's place: signals, terminal and exit code are its own.
    os.execvp(argv[0], argv)


@container.command(
    cls=Command,
    examples="""
    hsd container command --runtime docker --image hsd:cuda --gpus -- train --config default
    """,
)
@_image_options
@_run_options
def command(arguments: tuple[str, ...], **options: Any) -> None:
    """Print the shell command that `run` would start, without checking anything."""
    inside = _inside(arguments, options)
    echo_text(shlex.join(wrap(_config(**options), inside)))


@container.command(
    cls=Command,
    examples="""
    hsd container check --runtime podman --image hsd:cpu
    hsd container check --cluster a100x4
    """,
)
@_image_options
def check(**options: Any) -> None:
    """Check runtime, image, digest and binds on this machine, and print the image's digest."""
    config = _config(**options)
    check_container(config)
    echo(f"{config.runtime}: {config.image}: {found_digest(config) or 'has no digest here'}")


def _config(cluster: str | None, binds: tuple[str, ...], **options: str | None) -> ContainerConfig:
    """Return the profile's section with the options on top. Raises PreflightError for neither."""
    settings = _section(cluster).model_dump(mode="json", exclude_defaults=True)
    settings |= {name: value for name, value in options.items() if value is not None}
    settings["binds"] = [*settings.get("binds", ()), *map(_absolute, binds)]
    config = validated(ContainerConfig, flatten(settings, OPTIONS))
    if config.runtime == "none":
        where = f"profile '{cluster}' has no [container]" if cluster else "no runtime"
        raise PreflightError(
            f"container: {where}; give --runtime docker and --image hsd:cuda, or --cluster NAME "
            "of a profile with a [container] section."
        )
    return config


def _section(cluster: str | None) -> ContainerConfig:
    if cluster is None:
        return ContainerConfig()
    from slurm.cluster.profile import load_profile

    return load_profile(cluster).container


def _absolute(bind: str) -> str:
    """Return the bind with the host's part made absolute: relative to here, as in every command."""
    source, colon, rest = bind.partition(":")
    absolute = Path(source).expanduser().absolute()
    return f"{absolute}{colon}{rest}"


def _inside(arguments: tuple[str, ...], options: dict[str, Any]) -> Inside:
    """Take what is not about the image out of the options, and return it with this folder."""
    gpus: bool | None = options.pop("gpus")
    here, hub = str(Path.cwd()), str(hf_home())
    return Inside(
        argv=(IMAGE_HSD, *arguments),
        cwd=here,
        binds=(here, hub),
        env={"HF_HOME": hub, **_variables(options.pop("variables"))},
        gpus=GPU.exists() if gpus is None else gpus,
        user=f"{os.getuid()}:{os.getgid()}",
        network=options.pop("network"),
    )


def _variables(texts: Iterable[str]) -> dict[str, str]:
    """Return NAME -> value. Raises PreflightError for a secret, which everybody here could read."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise PreflightError(f"--env {text}: expected NAME=VALUE, such as NCCL_DEBUG=INFO.")
        if is_secret_name(name) or holds_secret(value):
            raise PreflightError(
                f"--env {name}: looks like a secret, and every process list shows it; "
                "write it to a file below HF_HOME and give HF_TOKEN_PATH=FILE."
            )
        pairs[name] = value
    return pairs


if __name__ == "__main__":
    run_command(container)
