"""A value that a test knows to be there, where the code under test could have none."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return the value; fail where it is None."""
    assert value is not None
    return value
