"""Errors that are the user's to fix, with the exit code each one ends a command with.

A message is one sentence or two: what is wrong, where, what was expected, what would have worked.
Anything that is not an `HsdError` is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

GATE_FAILED, GATE_UNDECIDED = 20, 21
"""What `hsd gate` ends with unless it says PASS. A verdict is no error, but a job that waits for it
must not start."""


ERROR_CODE = "Error code: "
"""How the line begins that names an error's code in a job's log."""


class ErrorCode(StrEnum):
    """Names of errors that `hsd status` knows a next command for; logs keep them, so they stay."""

    CUDA_OUT_OF_MEMORY = "CUDA_OUT_OF_MEMORY"
    HOST_OUT_OF_MEMORY = "HOST_OUT_OF_MEMORY"
    DISK_FULL = "DISK_FULL"
    DISK_QUOTA_EXCEEDED = "DISK_QUOTA_EXCEEDED"
    MODEL_NOT_IN_CACHE = "MODEL_NOT_IN_CACHE"
    GPU_NOT_FOUND = "GPU_NOT_FOUND"
    FOLDER_IN_USE = "FOLDER_IN_USE"
    FOLDER_TAKEN_OVER = "FOLDER_TAKEN_OVER"


class HsdError(Exception):
    """Base of every error that a user can mend; commands print it as one line.

    `code` names the error for `hsd status`, whatever the words of the message are.
    """

    exit_code = 1
    code: ErrorCode | None = None

    def __init__(self, *message: object, code: ErrorCode | None = None) -> None:
        super().__init__(*message)
        self.code = code or self.code


class ConfigError(HsdError):
    """A preset, config file, flag, template or strategy is wrong."""

    exit_code = 2


class PreflightError(HsdError):
    """The request is well formed but cannot work here: schedule, disk, a folder in use."""

    exit_code = 3


class InUseError(PreflightError):
    """Another process works in the folder; nothing is wrong with the request itself."""


class SubmissionError(HsdError):
    """A scheduler refused jobs or was not reached; whatever had been submitted was taken back."""

    exit_code = 4


class CellsFailed(HsdError):  # noqa: N818 - the command itself did what it should
    """A sweep ran to its end, and some of its cells did not."""

    exit_code = 5


class DataError(HsdError):
    """Rows are missing, unreadable, contradictory or leak between splits."""

    exit_code = 10


class ModelError(HsdError):
    """A base, an adapter or a quantisation cannot be loaded, combined or trusted."""

    exit_code = 11


class TrainingError(HsdError):
    """Training had to stop: a loss or gradient that is not a number, a lost rank."""

    exit_code = 12


class EvaluationError(HsdError):
    """Predictions cannot be made, merged or compared honestly."""

    exit_code = 13


class Stopped(HsdError):  # noqa: N818 - a request, not a fault
    """Stopped early on request (Ctrl-C, a signal); running the same command again goes on."""

    exit_code = 75


class TakenOver(Stopped):  # noqa: N818 - nothing failed but this process's place
    """Stopped since another process works in its folder now; nothing more may be written there."""

    code = ErrorCode.FOLDER_TAKEN_OVER


def did_you_mean(word: str, known: Iterable[str] = (), beside: Iterable[str] = ()) -> str:
    """Return ``" Did you mean 'rank'? Known: alpha, rank."``, ready to end a message.

    `beside` is what lies around a path. One of it may be what was meant, but it is never listed:
    an adapter or a config of somebody else may have named the path.
    """
    names = sorted(known)
    close = get_close_matches(word, [*names, *sorted(beside)], n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names)}." if names else hint
