"""The comment that hsd gives to each job, by which a job is told from another of its id."""

import uuid

COMMENT = "hsd-"
"""How the comments begin that hsd gives to jobs."""


def new_comment() -> str:
    """Return a comment that no job has had."""
    return f"{COMMENT}{uuid.uuid4().hex}"
