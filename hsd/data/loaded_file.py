"""What came of a file: examples, bad rows, rows left out on purpose; none is lost silently."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from hsd.data.how_read import how_read
from hsd.data.label_names import UnknownLabel
from hsd.data.read_rows import BadRow, Row, read_rows
from hsd.data.unread_columns import unread
from hsd.errors import DataError
from hsd.example import Example
from hsd.groups.group_names import NamesError
from hsd.groups.group_set import GroupSet, default_groups
from hsd.io.files import write_jsonl

SHOWN = 5
"""Reasons that a message lists; `bad_rows.jsonl` has every bad row."""
PLACES = 3
"""Places that it lists of one reason."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A row cannot be read as an example: the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row is sound, but a rule leaves it out (no majority, a label that is dropped)."""

    reason: str


Converted = Example | Bad | LeftOut
Convert = Callable[[Row], Converted]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Examples in the order of the file, and every row that is none, with its reason."""

    examples: list[Example] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    left_out: list[BadRow] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Columns that a person may believe to be read, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """How the file was read, where that is not plain, a sentence each."""

    @property
    def rows(self) -> int:
        """How many rows were read, of every kind."""
        return len(self.examples) + len(self.bad) + len(self.left_out)

    def reasons(self) -> dict[str, int]:
        """Return how many rows were left out, by reason."""
        return dict(Counter(row.reason for row in self.left_out).most_common())


def load(
    path: Path, convert: Convert, reads: Collection[str] = (), groups: GroupSet | None = None
) -> Loaded:
    """Return what `convert` makes of each row of a file; `reads`, `groups` as in `convert_rows`."""
    rows, bad = read_rows(path)
    loaded = convert_rows(rows, convert, reads, groups)
    return replace(loaded, bad=bad + loaded.bad, notes=how_read(path))


def convert_rows(
    rows: Iterable[Row],
    convert: Convert,
    reads: Collection[str] = (),
    groups: GroupSet | None = None,
) -> Loaded:
    """Return what `convert` makes of rows; an example without an id gets one from its content.

    `reads` are the columns that `convert` reads, to tell which others look as if they were read.
    `groups` are those that the names in the rows are read into; None are the default ones.
    """
    loaded = Loaded()
    columns: dict[str, None] = {}
    for position, row in enumerate(rows):
        columns |= dict.fromkeys(row.values)
        made = example_of(convert, row, groups)
        if isinstance(made, Bad):
            loaded.bad.append(BadRow(row.place, made.reason))
        elif isinstance(made, LeftOut):
            loaded.left_out.append(BadRow(row.place, made.reason))
        else:
            name = made.id or derived_id(made.text, position)
            loaded.examples.append(replace(made, id=name, place=row.place))
    if reads:
        loaded.unread.extend(unread(columns, reads))
    return loaded


def example_of(convert: Convert, row: Row, groups: GroupSet | None = None) -> Converted:
    """Return what `convert` makes of a row, an example with the groups that its names are of."""
    try:
        made = convert(row)
        return in_groups(made, groups or default_groups()) if isinstance(made, Example) else made
    except NamesError as error:
        return Bad(str(error))


def in_groups(example: Example, groups: GroupSet) -> Example:
    """Return an example with the groups that its names are of. Raises NamesError."""
    about = example.named, example.persona_tag
    return replace(example, groups=groups.groups_of(*about), unknown_groups=groups.unknown(*about))


def derived_id(text: str, position: int) -> str:
    """Return an id for a row without one: its position, and eight hex digits of its text."""
    return f"row-{position:05d}-{sha256(text.encode()).hexdigest()[:8]}"


def left_out_said(loaded: Loaded, place: str) -> list[str]:
    """Return how many rows a rule left out, as a sentence; nothing where none is."""
    if not loaded.left_out:
        return []
    why = ", ".join(f"{reason} ({count:,})" for reason, count in loaded.reasons().items())
    return [f"{place}: {len(loaded.left_out):,} of {loaded.rows:,} rows are left out: {why}."]


def merge_loaded(parts: Iterable[Loaded]) -> Loaded:
    """Return several files' rows as one."""
    whole = Loaded()
    for part in parts:
        whole.examples.extend(part.examples)
        whole.bad.extend(part.bad)
        whole.left_out.extend(part.left_out)
        whole.unread.extend(part.unread)
        whole.notes.extend(part.notes)
    return whole


def require_clean(loaded: Loaded, tolerate: int = 0) -> list[Example]:
    """Return the examples; raise DataError when more than `tolerate` rows are bad, or none is good.

    The message lists the reasons, each with its first places and its count.
    """
    if len(loaded.bad) > tolerate:
        said = listed(loaded.bad)
        raise DataError(f"{len(loaded.bad)} of {loaded.rows} rows cannot be used: {said}.")
    if not loaded.examples:
        why = ", ".join(f"{count} {reason}" for reason, count in loaded.reasons().items())
        raise DataError(f"no row is left of {loaded.rows}{f': {why}' if why else ''}.")
    return loaded.examples


def by_reason(bad: Iterable[BadRow]) -> list[str]:
    """Return each reason once, behind its count and first places, the most frequent first."""
    alike: dict[tuple[str, str], list[BadRow]] = {}
    for row in bad:
        alike.setdefault(_key(row.reason), []).append(row)
    ordered = sorted(alike.values(), key=lambda rows: -len(rows))
    return [f"{_counted([row.place for row in rows])}: {_shared(rows)}" for rows in ordered]


def _key(reason: str) -> tuple[str, str]:
    """Return what makes two rows bad for one reason: of unknown labels, not which it is."""
    return (reason.where, reason.advice) if isinstance(reason, UnknownLabel) else (reason, "")


def _shared(rows: Sequence[BadRow]) -> str:
    labels = [row.reason for row in rows if isinstance(row.reason, UnknownLabel)]
    if not labels:
        return rows[0].reason
    return labels[0].counted(dict(Counter(label.value for label in labels).most_common()))


def listed(bad: Iterable[BadRow]) -> str:
    """Return the first reasons in one line."""
    reasons = by_reason(bad)
    more = len(reasons) - SHOWN
    rest = f"; and {more} other reason{'' if more == 1 else 's'}" if more > 0 else ""
    return "; ".join(reasons[:SHOWN]) + rest


def _counted(places: Sequence[str]) -> str:
    if len(places) == 1:
        return places[0]
    more = ", ..." if len(places) > PLACES else ""
    return f"{len(places)} rows ({', '.join(places[:PLACES])}{more})"


def require_unique_ids(examples: Sequence[Example]) -> None:
    """Raise DataError naming both places when two examples have one id."""
    seen: dict[str, Example] = {}
    for example in examples:
        other = seen.setdefault(example.id, example)
        if other is not example:
            raise DataError(
                f"{example.place}: id '{example.id}' is also at {other.place}; ids must be unique, "
                "since predictions are matched by them."
            )


def write_bad_rows(path: Path, bad: Iterable[BadRow]) -> None:
    """Write bad_rows.jsonl: the place and the reason of each row, without its text."""
    write_jsonl(path, ({"place": row.place, "reason": row.reason} for row in bad))
