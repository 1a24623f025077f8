"""`hsd container`: run any hsd command inside an image, print how, or check that it can be."""

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
from hsd.config.settings import flatten
from hsd.errors import PreflightError
from hsd.hub.cache import hf_home
from hsd.secrets import holds_secret, is_secret_name
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import CONTEXT, Command
from jobs.terminal.output import echo, echo_text

GPU = Path("/dev/nvidiactl")
"""Is there where an NVIDIA driver is loaded."""


@click.group(context_settings=CONTEXT)
def container() -> None:
    """Run hsd inside an image: docker, podman, apptainer, pyxis or charliecloud."""


def _image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say inside what; without --cluster they are the whole answer."""
    options = [
        click.option(
            "--cluster",
            metavar="NAME|FILE",
            help="Take the [container] section of this cluster profile; the options below win.",
        ),
        click.option("--runtime", type=click.Choice(get_args(Runtime)), help="What starts it."),
        click.option("--image", help="A tag, a .sif or .sqsh file, or an unpacked folder."),
        click.option("--digest", help="sha256:... that the image must have."),
        click.option(
            "--bind",
            "binds",
            multiple=True,
            metavar="HOST[:INSIDE[:ro]]",
            help="Folder to be seen inside, beside this one and HF_HOME. May be given often.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--gpus/--no-gpus", default=None, help="Hand on the GPUs; by default where there are."
        ),
        click.option(
            "--network/--no-network",
            default=True,
            show_default=True,
            help="Whether docker and podman let the command reach other machines.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="Set a variable inside; never a secret. May be given often.",
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
    hsd container run --cluster a100x4 -- evaluate --model_name runs/train
    """,
)
@_image_options
@_run_options
def run(arguments: tuple[str, ...], **options: Any) -> None:
    """Run `hsd HSD_ARGUMENTS` inside the image, here, as you.

    This folder and HF_HOME are seen inside at the same path; the manifest gets the image's digest.
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
    """Print the command that `run` would start, quoted for a shell; nothing is looked at."""
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
    """Check runtime, image, digest and binds on this machine; print the image's digest."""
    config = _config(**options)
    check_container(config)
    echo(f"{config.runtime}: {config.image}: {found_digest(config) or 'has no digest here'}")


def _config(cluster: str | None, binds: tuple[str, ...], **options: str | None) -> ContainerConfig:
    """Return the profile's section with the options on top. Raises PreflightError for neither."""
    settings = _section(cluster).model_dump(mode="json", exclude_defaults=True)
    settings |= {name: value for name, value in options.items() if value is not None}
    settings["binds"] = [*settings.get("binds", ()), *map(_absolute, binds)]
    config = validated(ContainerConfig, flatten(settings, "flags"))
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
