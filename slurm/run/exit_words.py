"""How a process ended, in the words that people search for. Pure."""

from signal import Signals

from slurm.node.events import OF_A_SIGNAL


def exit_words(code: int) -> str:
    """Return `exit code 137 (SIGKILL)`, or `exit code 12`."""
    return f"exit code {code}{_named(code - OF_A_SIGNAL)}"


def signal_words(number: int) -> str:
    """Return `signal 9 (SIGKILL)`."""
    return f"signal {number}{_named(number)}"


def _named(number: int) -> str:
    try:
        return f" ({Signals(number).name})"
    except ValueError:  # no signal has this number
        return ""
