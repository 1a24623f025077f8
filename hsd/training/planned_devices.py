"""The devices that a run is planned for, which need not be here."""

import re
from dataclasses import dataclass

from hsd.errors import ConfigError

_FORM = re.compile(r"(\d+)x(\d+(?:\.\d+)?)(?:gb)?", re.IGNORECASE)
TIGHT = 0.9
"""From this share of the memory on a plan is tight: on CPUs, plans were right to a tenth."""

MAY_FIT = ", so it may fit"
"""Said of a setting that would make a plan tight."""

REFUSED = 1.2
"""From this multiple of the memory on nothing is tried: plans are right to a tenth on CPUs, no GPU
was measured, and a GPU that is sold with 80 GB has 7 % more than that."""


@dataclass(frozen=True, slots=True)
class PlannedDevices:
    """Devices of one kind; each holds a whole copy of the base. `memory_gb` is of each."""

    count: int
    memory_gb: float | None
    """None where it is not known."""
    is_gpu: bool
    cores: int = 1
    """Of a CPU."""

    @property
    def words(self) -> str:
        """The devices, for people: `4 GPUs of 24 GB`."""
        of = f" of {self.memory_gb:g} GB" if self.memory_gb else ""
        if not self.is_gpu:
            return f"CPU with {self.memory_gb:.0f} GB" if self.memory_gb else "CPU"
        return f"{self.count} GPU{'' if self.count == 1 else 's'}{of}"

    def fits(self, need_gb: float) -> str:
        """Return whether so much fits on each: `yes`, `tight`, `no` or `unknown`."""
        if not self.memory_gb:
            return "unknown"
        if need_gb > self.memory_gb:
            return "no"
        return "tight" if need_gb > TIGHT * self.memory_gb else "yes"

    def is_hopeless(self, need_gb: float) -> bool:
        """Return whether so much is beyond doubt too much for each."""
        return bool(self.memory_gb) and need_gb > REFUSED * (self.memory_gb or 0)


def gpus_of(text: str) -> PlannedDevices:
    """Return the GPUs that `4x24` means: four with 24 GB each. Raises ConfigError."""
    form = _FORM.fullmatch(text.strip())
    if not form or not int(form[1]) or not float(form[2]):
        raise ConfigError(
            f"--gpus {text}: expected COUNTxGB, such as 1x80 or 4x24: four GPUs with 24 GB each."
        )
    return PlannedDevices(int(form[1]), float(form[2]), is_gpu=True)
