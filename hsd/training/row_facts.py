"""What rows say of themselves: the split that they are of, and one label alone."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar

from hsd.config.train_config import OtherSplits
from hsd.counted import counted
from hsd.data.sampling import require_sources
from hsd.data.split_names import split_of
from hsd.errors import DataError
from hsd.example import Label
from hsd.training.lesson import Lesson

Split = Literal["train", "validation"]
LEAVE_OUT = "Set data.other_splits=leave_out to take the other rows alone"
_SHOWN = 3


class _Declares(Protocol):
    @property
    def split(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def source_dataset(self) -> str: ...


Row = TypeVar("Row", bound=_Declares)


def of_split(
    rows: Iterable[Row],
    source: str,
    split: Split,
    policy: OtherSplits,
    notes: list[str],
    remedy: str = LEAVE_OUT,
) -> Iterator[Row]:
    """Yield the rows that say no split or this one; `notes` get how many were left out.

    Raises DataError at the end, unless others are left out, and when none is of this split.
    """
    others: dict[str, list[str]] = {}
    total = 0
    for row in rows:
        total += 1
        own = split_of(row.split)
        if own in ("", split):
            yield row
        else:
            others.setdefault(own, []).append(row.place)
    if not others:
        return
    count = sum(map(len, others.values()))
    said = f"{source}: {count} of {counted(total, 'row')} {_says(count)} of another split than "
    said += f"{split}: {', '.join(_placed(name, places) for name, places in others.items())}"
    if policy == "fail":
        raise DataError(f"{said}. {remedy}, or correct or remove their 'split'.")
    if count == total:
        raise DataError(f"{said}; so none is left.")
    notes.append(f"{said}; they are left out.")


def left_out_by_source(
    rows: Iterable[Row], source: str, split: Split, without: Sequence[str], notes: list[str]
) -> Iterator[Row]:
    """Yield the rows of all sources but those; `notes` get how many were left out.

    Raises DataError at the end when none is left, and for a source that no training row is of:
    a misspelt one would be learned from.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.source_dataset] += 1
        if row.source_dataset not in without:
            yield row
    if split == "train":
        require_sources("data.without_sources", without, counts, source)
    out = {name: counts[name] for name in without}
    if sum(out.values()) == sum(counts.values()):
        raise DataError(f"{source}: no row is left without {', '.join(without)}.")
    told = ", ".join(f"{count} {name}" for name, count in out.items() if count)
    if told:
        notes.append(
            f"{source}: left out by source: {told} of {counted(sum(counts.values()), 'row')}."
        )


def with_labels_told(
    lessons: Iterable[Lesson], source: str, split: Split, notes: list[str]
) -> Iterator[Lesson]:
    """Yield the lessons; `notes` get a sentence when all of them are of one label."""
    labels: Counter[Label] = Counter()
    for lesson in lessons:
        labels[lesson.label] += 1
        yield lesson
    if len(labels) != 1:
        return
    ((label, count),) = labels.items()
    other = "normal" if label == "hate" else "hateful"
    why = {
        "train": f"the adapter learns to answer {label} whatever a post says",
        "validation": f"they do not show how {other} posts are answered",
    }
    notes.append(f"{source}: {_all(count)} {label}: {why[split]}. Add {other} rows.")


def _says(count: int) -> str:
    return "says itself that it is" if count == 1 else "say themselves that they are"


def _all(count: int) -> str:
    return "its only row is" if count == 1 else f"all {count:,} rows are"


def _placed(name: str, places: list[str]) -> str:
    more = ", ..." if len(places) > _SHOWN else ""
    first = ", ".join(place.rpartition("/")[2] for place in places[:_SHOWN])
    return f"{len(places)} {name} ({first}{more})"
