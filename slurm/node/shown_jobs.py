"""What `scontrol show job -o` prints, as fields. Pure; standard library alone."""

import re

_RECORD = re.compile(r"^(?=JobId=)", re.MULTILINE)


def shown_jobs(text: str) -> list[dict[str, str]]:
    """Return the fields of each job; of a field that comes twice, the first.

    A job's own words come last: its paths, its comment, and since 25.11 SubmitLine, the command as
    it was typed, which may hold `JobState=FAILED` and several lines.
    """
    return [_fields(record) for record in _RECORD.split(text) if record.startswith("JobId=")]


def _fields(record: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in record.split():
        name, sign, value = word.partition("=")
        if sign:
            found.setdefault(name, value)
    return found
