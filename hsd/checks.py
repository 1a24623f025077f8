"""What was looked at before any work, and how it is: the lines of `hsd doctor`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from hsd.errors import PreflightError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `ok` is None where it could not be told for certain."""

    name: str
    ok: bool | None
    line: str
    """How it is, or what is wrong, in one line."""
    fix: str = ""
    """What would work instead."""

    @property
    def sentence(self) -> str:
        """Return the check as one sentence of an error."""
        return f"{self.name}: {self.line}{f' ({self.fix})' if self.fix else ''}"


Look = tuple[str, Callable[[], Iterable[Check]]]
"""A name to fail under, and what looks."""


def failures(checks: Iterable[Check]) -> list[Check]:
    """Return the checks that nothing can work with."""
    return [check for check in checks if check.ok is False]


def doubts(checks: Iterable[Check]) -> list[Check]:
    """Return the checks that could not be told for certain."""
    return [check for check in checks if check.ok is None]


def refuse(checks: Iterable[Check]) -> None:
    """Raise PreflightError, one line with everything that is wrong, unless nothing is."""
    if said := [check.sentence for check in together(failures(checks))]:
        raise PreflightError("; ".join(said) + ".")


def together(checks: Iterable[Check]) -> list[Check]:
    """Return one check for all that say the same: three stages in a queue that does not exist."""
    named: dict[Check, list[str]] = {}
    for check in checks:
        named.setdefault(replace(check, name=""), []).append(check.name)
    return [replace(check, name=", ".join(names)) for check, names in named.items()]
