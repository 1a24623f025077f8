"""One of several jobs that share the rows of one command, as `--shard` names it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hsd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` jobs that share the rows of a command, `index` from 0 on."""

    index: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """Its name in files: `0-of-8`."""
        return f"{self.index}-of-{self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether it is all rows, as without `--shard`."""
        return self.count == 1


def shard_of(text: str | None, environ: Mapping[str, str] | None = None) -> Shard:
    """Return the shard that `I/N` names, or `array` in a SLURM job array; None is all rows.

    Raises ConfigError for anything else.
    """
    if text is None:
        return Shard()
    if text == "array":
        return _element(os.environ if environ is None else environ)
    form = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not form or int(form[1]) >= int(form[2]):
        raise ConfigError(f"shard '{text}': expected I/N with I from 0 to N-1, such as 0/4.")
    return Shard(int(form[1]), int(form[2]))


def _element(environ: Mapping[str, str]) -> Shard:
    names = ("ID", "MIN", "STEP", "COUNT")
    try:
        task, first, step, count = (int(environ[f"SLURM_ARRAY_TASK_{name}"]) for name in names)
    except (KeyError, ValueError):
        raise ConfigError(
            "shard 'array': this is no element of a SLURM job array (SLURM_ARRAY_TASK_ID, _MIN, "
            "_STEP and _COUNT are not all set); give the shard as I/N."
        ) from None
    index, rest = divmod(task - first, step or 1)
    if rest or not 0 <= index < count:  # --array=0,3,4 has no step
        raise ConfigError(
            f"shard 'array': element {task} of {count} cannot be counted; submit with "
            f"--array=0-{count - 1}, or give the shard as I/N."
        )
    return Shard(index, count)
