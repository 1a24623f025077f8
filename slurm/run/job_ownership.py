"""Which of SLURM's jobs are a run's own. Pure.

An id alone says nothing: another cluster counts from 1 too, and a database that was set up anew
gives ids again. So a job is known by its id together with the comment that hsd gave it, which no
other job has; where a site keeps no comments, with its name, its user and when it was submitted.
"""

import os
import pwd
from datetime import datetime, timedelta
from typing import Protocol

from slurm.cluster.job_comment import COMMENT
from slurm.run.submissions import Submitted

_CLOCKS = timedelta(hours=2)
"""How far two machines' times may be apart: their clocks, and the hour that comes twice."""


class Told(Protocol):
    """What squeue or sacct say of a job beside its id; "" for what they do not."""

    @property
    def user(self) -> str:
        """Whose it is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def comment(self) -> str:
        """What it was given at its submission."""


def own_user() -> str:
    """Return this user's name as SLURM knows it; "" for a number without one."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def is_own(one: Submitted, told: Told, user: str | None = None) -> bool:
    """Return whether what SLURM says of an id is of the job that was submitted."""
    if one.comment and told.comment == one.comment:
        return True
    if one.comment and told.comment.startswith(COMMENT):
        return False  # another submission's, of a run of the same name
    user = own_user() if user is None else user
    return told.name == one.name and (told.user == user or not (told.user and user))


def is_own_attempt(one: Submitted, told: Told, submit: str, user: str | None = None) -> bool:
    """Return the same of an attempt in the accounting, which knows jobs of years ago.

    `submit` is when it was submitted, in this machine's zone.
    """
    if not is_own(one, told, user):
        return False
    if one.comment and told.comment == one.comment:
        return True
    began, at = _time(submit), _time(one.at)
    return began is None or at is None or began + _CLOCKS >= at


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None
