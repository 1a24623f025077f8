"""A profile: what hsd must know about one cluster. Read from TOML, strictly."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from containers.wrap import ContainerConfig
from hsd.config.config_files import read_config_file
from hsd.config.problems import refusal
from hsd.config.settings import Settings, flatten
from hsd.config.strict import Folder, Strict, Text
from hsd.config.strict_toml import (
    TomlFile,
    find_toml,
    known,
    looks_secret,
    refused_before_work,
    typed,
)
from hsd.config.substitute import substituted
from hsd.errors import PreflightError
from slurm.cluster.sbatch_options import wrong_options
from slurm.cluster.stage_config import EnvConfig, SlurmConfig, StageConfig, StagesConfig

__all__ = [
    "Profile",
    "SlurmConfig",
    "StageConfig",
    "chosen_profile",
    "default_profile",
    "load_profile",
    "own_file",
    "profile_file",
    "profile_names",
    "profile_schema",
]
VARIABLE = "HSD_CLUSTER"
_SHIPPED = Path(__file__).parents[1] / "profiles"
_OF_THE_NODE = {("node_local",), ("setup",)}
"""A `${VAR}` in these is for the shell of a job, on its node."""


class Profile(Strict):
    """One cluster, or this machine."""

    description: str = ""
    """One sentence for `hsd cluster list`."""
    shared_root: Folder = Path("runs")
    """Folder for runs. All nodes must see it at this path."""
    node_local: Text = "/tmp"
    """A fast local folder on each node, for the caches of a job; may contain `$TMPDIR` or another
    variable of the node."""
    compute_internet: bool = False
    """Whether nodes can reach the hub. If not, jobs get HF_HUB_OFFLINE=1: run `hsd fetch` first."""
    setup: tuple[Text, ...] = ()
    """Shell lines at the start of each job, such as `module load cuda`."""
    python: str = ""
    """Python on the nodes; empty means the Python that runs hsd."""
    slurm: SlurmConfig | None = None
    """Without this section there is no scheduler: stages run one after another on this machine."""
    stages: StagesConfig = StagesConfig()
    container: ContainerConfig = ContainerConfig()
    env: EnvConfig = EnvConfig()
    secrets: dict[str, Folder] = {}
    """NAME = path of a file that only you may read. Jobs get the path in NAME, not the content."""

    @property
    def local(self) -> bool:
        """Whether there is no scheduler."""
        return self.slurm is None

    def without_nodes(self, nodes: Sequence[str]) -> "Profile":
        """Return the profile whose jobs also exclude these nodes."""
        if self.slurm is None or not nodes:
            return self
        exclude = ",".join(filter(None, (self.slurm.exclude, *nodes)))
        return self.model_copy(update={"slurm": self.slurm.model_copy(update={"exclude": exclude})})

    def with_parallelism(self, most: int | None) -> "Profile":
        """Return the profile with so many cells of a stage at once at most; None: as it is."""
        if self.slurm is None or most is None:
            return self
        slurm = self.slurm.model_copy(update={"array_parallelism": most})
        return self.model_copy(update={"slurm": slurm})


def load_profile(name_or_file: str) -> Profile:
    """Return the profile of a name (your own before shipped ones) or of a file's path.

    Raises ConfigError for a name that nothing has, and PreflightError, one line, listing
    everything that is wrong.
    """
    source = find_toml("profile", name_or_file, _folders())
    with refused_before_work():
        settings = _resolved(flatten(read_config_file(source.file, source.place), source.place))
        profile = _typed(settings, source)
        if problems := [
            *_leaks(settings),
            *(f"{source.place}: {line}" for line in _extra(profile)),
            *_too_short(profile, source),
            *_too_wide(profile, source),
        ]:
            raise refusal(problems)
    # Not resolve(): a node may know the folder by its link's name only.
    places = {"shared_root": profile.shared_root.absolute(), "python": _program(profile.python)}
    return profile.model_copy(update=places)


def default_profile(environ: Mapping[str, str] | None = None) -> str:
    """Return the name or file to use where no --cluster is given.

    Raises PreflightError, saying what would work, where nobody has chosen one.
    """
    if chosen := chosen_profile(environ):
        return chosen
    raise PreflightError(
        f"which cluster? Give --cluster NAME (or set {VARIABLE}), with one of "
        f"{', '.join(profile_names())}, or a file that `hsd cluster init` wrote. On this machine "
        "`hsd run SWEEP --local` needs none."
    )


def chosen_profile(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the same, and None where nobody has chosen."""
    own = own_file(None)
    named = (os.environ if environ is None else environ).get(VARIABLE)
    return named or (str(own) if own.is_file() else None)


def profile_names() -> list[str]:
    """Return the names of your own and the shipped profiles."""
    return list(known(_folders()))


def profile_schema() -> dict[str, Any]:
    """Return the JSON schema of a profile."""
    return Profile.model_json_schema()


def user_folder() -> Path:
    """Return the folder of your own profiles: cluster.toml, the default, and clusters/NAME.toml."""
    return Path("~/.config/hsd").expanduser()


def own_file(name: str | None) -> Path:
    """Return where your own profile of a name is; without one that of the default cluster."""
    if name is None:
        return user_folder() / "cluster.toml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise PreflightError(
            f"profile '{name}': expected a name of letters, digits, '.', '_', '-'."
        )
    return user_folder() / "clusters" / f"{name}.toml"


def profile_file(name_or_file: str) -> Path:
    """Return the file that a name or path leads to. Raises PreflightError."""
    return find_toml("profile", name_or_file, _folders()).file


def _folders() -> tuple[Path, Path]:
    return user_folder() / "clusters", _SHIPPED


def _typed(settings: Settings, source: TomlFile) -> Profile:
    try:
        return typed(Profile, settings)
    except PreflightError as error:  # of the container, whose fields must fit one another
        raise PreflightError(f"{source.place}: {error}") from None


def _program(name: str) -> str:
    """Return a program's absolute path; a bare name is looked up on the node."""
    return str(Path(name).expanduser().absolute()) if "/" in name else name


def _resolved(settings: Settings) -> Settings:
    here = {path: setting for path, setting in settings.items() if path not in _OF_THE_NODE}
    return settings | substituted(here, Profile, os.environ)


def _leaks(settings: Settings) -> list[str]:
    """Return the settings that hold a secret: a job's script and run.json can be read by others."""
    return [
        f"{setting.place}: {setting.key}: looks like a secret; write it to a file with mode 0600 "
        'and name that, such as [secrets] HF_TOKEN_PATH = "~/.cache/huggingface/token"'
        for path, setting in settings.items()
        if path[0] != "secrets" and looks_secret(setting.value)
    ]


def _extra(profile: Profile) -> list[str]:
    """Return what is wrong with options that are given to sbatch as they are written."""
    if profile.slurm is None:
        return []
    asks_for_gpus = any(stage.gpus for _, stage in profile.stages)
    request = profile.slurm.gpu_request if asks_for_gpus else None
    return wrong_options(profile.slurm.extra, request)


def _too_short(profile: Profile, source: TomlFile) -> list[str]:
    """Return the stages that would be told to stop before they begin."""
    if profile.slurm is None:
        return []
    stages: dict[str, StageConfig] = dict(profile.stages)
    return [
        f"{source.place}: stages.{name}.time_min: {stage.time_min} minutes are over before "
        f"slurm.signal_seconds ({profile.slurm.signal_seconds}) is; take more time or a later "
        "signal"
        for name, stage in stages.items()
        if stage.time_min * 60 <= profile.slurm.signal_seconds
    ]


def _too_wide(profile: Profile, source: TomlFile) -> list[str]:
    """Return the stages that would do the same work on each of several nodes."""
    return [
        f"{source.place}: stages.{name}.nodes: {name} works on one node; only train and evaluate "
        "take more"
        for name in ("merge", "compare")
        if getattr(profile.stages, name).nodes > 1
    ]
