"""Reach the processes of a container that are not below the process that started it."""

from containers.container_config import ContainerConfig

MARK = "HSD_CONTAINER"
"""Variable that marks the processes of a container which shares the host's process ids."""
IGNORING = ("sh", "-c", 'trap "" USR2; exec "$@"', "hsd")
"""Prefix of a command that shall ignore SIGUSR2 and hand that on to what it starts."""

_NUMBERS = {"USR1": 10, "USR2": 12, "TERM": 15}


def signal_command(
    config: ContainerConfig, name: str, signal: str = "USR2"
) -> tuple[str, ...] | None:
    """Return the command that passes a signal to the processes which handle it; None if not needed.

    The others would die of it: a launcher, a compiler that a rank has started. Where a runtime
    keeps the processes below its caller, the caller reaches them itself.
    """
    if config.runtime in ("docker", "podman"):
        return (config.runtime, "exec", name, "sh", "-c", _tell(signal))
    if config.runtime == "pyxis":  # below slurmstepd, but on the host's own /proc
        return ("sh", "-c", _tell(signal, mark='"$1"'), "hsd", f"{MARK}={name}")
    return None


def _tell(signal: str, mark: str = "") -> str:
    """Return shell code: for each process that has a handler (SigCgt), and the mark, kill."""
    bit = _NUMBERS[signal] - 1
    marked = f" && tr '\\0' '\\n' <$p/environ | grep -qxF {mark}" if mark else ""
    return (
        "for p in /proc/[0-9]*; do while read -r key mask; do "
        # The low half is enough and fits a 32-bit shell: SIGUSR2 is bit 11.
        f'[ "$key" = SigCgt: ] && [ $((0x${{mask#????????}} >> {bit} & 1)) = 1 ]{marked} '
        f"&& kill -{signal} ${{p#/proc/}}; done <$p/status; done 2>/dev/null; true"
    )
