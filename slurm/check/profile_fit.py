"""Which cluster profiles have devices with enough memory for a planned training."""

from dataclasses import dataclass

from hsd.errors import HsdError
from hsd.training.planned_devices import PlannedDevices
from slurm.cluster.discovery import gpu_memory_gb
from slurm.cluster.profile import Profile, load_profile, profile_names


@dataclass(frozen=True, slots=True)
class ProfileFit:
    """A profile and whether a training fits on its GPUs: `yes`, `tight`, `no` or `unknown`."""

    name: str
    devices: str
    fits: str


def devices_of(profile: Profile) -> PlannedDevices:
    """Return the devices of a profile's trainings."""
    train = profile.stages.train
    if not train.gpus:
        memory_gb = train.memory_gb / train.ranks
        return PlannedDevices(train.ranks * train.nodes, memory_gb, False, train.cpus)
    kind = profile.slurm.gpu_type if profile.slurm else None
    memory_gb = gpu_memory_gb(kind)
    return PlannedDevices(train.gpus * train.nodes, memory_gb or None, is_gpu=True)


def fitting(need_gb: float) -> list[ProfileFit]:
    """Return for each profile with GPUs whether so much fits on one of them."""
    found = []
    for name in profile_names():
        try:
            profile = load_profile(name)
        except HsdError:
            continue  # `hsd cluster list` says what is wrong with it
        devices = devices_of(profile)
        if not profile.local and devices.is_gpu:
            found.append(ProfileFit(name, devices.words, devices.fits(need_gb)))
    return found
