"""A number with its noun: 1 row, 2 rows."""


def counted(number: int, one: str, several: str = "") -> str:
    """Return ``1 row`` or ``1,234 rows``; `several` is for nouns that take more than an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
