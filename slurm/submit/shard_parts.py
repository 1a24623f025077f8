"""A command's shards in parts: what the cluster takes now; `hsd resubmit` submits the rest."""

from collections.abc import Collection
from dataclasses import replace

from slurm.submit.parts import Left, fitting
from slurm.submit.single_job import Single


def fitting_shards(
    single: Single, done: tuple[str, ...] = (), active: tuple[str, ...] = ()
) -> tuple[Single, Left]:
    """Return the command with as many of its elements as fit, and what is said of all of them.

    Raises PreflightError when not even one fits.
    """
    names = single.now()

    def left_of(some: Collection[str]) -> Left:
        part = replace(single, only=tuple(name for name in names if name in some))
        return Left(part.plan(), part.now(), done, active, word=single.word)

    left = fitting(left_of(names), single.profile, left_of)
    return replace(single, later=left.later), left
