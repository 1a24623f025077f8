"""Whether the job of a single command will find its model: a base, or an adapter and its base."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hsd.checks import Check, doubts, failures, refuse
from hsd.config.model_config import ModelConfig
from hsd.errors import HsdError
from hsd.hub.base_models import fetch_words
from hsd.io.manifest import ADAPTER
from hsd.io.progress import Say
from hsd.model.adapter_folder import is_adapter, named_base, require_adapter
from slurm.check.checks_bases import base_found, environment
from slurm.check.mounts import why_unseen
from slurm.cluster.profile import Profile


@dataclass(frozen=True, slots=True)
class ModelAsked:
    """The model that a command is asked for: a base, or the folder of an adapter or of a model."""

    model: ModelConfig
    adapter: Path | None = None

    @property
    def adapter_folder(self) -> Path | None:
        """The adapter, which may also be given as the model."""
        named = Path(self.model.name).expanduser()
        return named if self.adapter is None and is_adapter(named) else self.adapter

    @property
    def base(self) -> ModelConfig | None:
        """The base; None of an adapter that does not say its own.

        Raises ModelError where the adapter's folder holds none, PreflightError without the folder.
        """
        folder = self.adapter_folder
        is_given = self.adapter is not None and "name" in self.model.model_fields_set
        if folder is None or is_given:
            return self.model
        trained_on = named_base(require_adapter(folder))
        if not trained_on.get("name"):
            return None
        revision = self.model.revision or trained_on.get("revision")
        changes = {"name": trained_on["name"], "revision": revision}
        return self.model.model_copy(update=changes)

    @property
    def base_folder(self) -> tuple[Path, ...]:
        """The base's folder, for a container to see; () where there is none on this machine.

        No argument names the base of an adapter.
        """
        try:
            base = self.base
        except HsdError:
            return ()
        folder = Path(base.name).expanduser() if base else None
        return (folder.absolute(),) if folder and folder.is_dir() else ()


def require_model(asked: ModelAsked, profile: Profile, say: Say, *, is_awaited: bool) -> None:
    """Refuse a model that a job will not find, in the words that a sweep's is refused with.

    `say` gets what is doubted, and all of it where another job that `is_awaited` may make it.
    """
    try:
        checks = list(model_checks(asked, profile))
    except HsdError as error:
        if not is_awaited:
            raise
        say(f"Not here yet, so the model was not checked: {error}")
        return
    if not is_awaited:
        refuse(checks)
    for check in failures(checks):
        say(f"Not here yet, so the model was not checked: {check.sentence}.")
    for check in doubts(checks):
        say(f"{check.sentence}.")


def model_checks(asked: ModelAsked, profile: Profile) -> Iterator[Check]:
    """Look whether a job finds the adapter and the base. Raises as `ModelAsked.base`."""
    if (folder := asked.adapter_folder) is not None:
        yield _adapter_found(require_adapter(folder), profile)
    if (base := asked.base) is not None:
        yield base_found(base, profile, fetch_words(base), environment(profile))


def _adapter_found(folder: Path, profile: Profile) -> Check:
    name = f"adapter {folder}"
    if not (folder / ADAPTER).is_file():
        return Check(name, False, f"has no {ADAPTER}", "copy it again, or train again")
    if not profile.local and (reason := why_unseen(folder)):
        return Check(name, None, f"nodes may not see it: {reason}", "copy it beside shared_root")
    return Check(name, True, "a whole folder")
