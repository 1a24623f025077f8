"""Predictions matched to posts, by id or by text; what does not match is counted, never dropped."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hsd.counted import counted
from hsd.data.duplicates import normalise
from hsd.data.given_predictions import GivenPrediction
from hsd.data.prediction_columns import plain_id
from hsd.errors import DataError
from hsd.example import Example

SHOWN = 5
"""Ids that a message lists."""
Key = Callable[[Example], str]
_KEYS: Mapping[str, Key] = {
    "id": lambda example: example.id,
    "case_id": lambda example: example.case_id,
    "original_id": lambda example: example.original_id,
}


@dataclass(frozen=True, slots=True)
class Matched:
    """The prediction of each post, by the post's id, and what was not matched.

    `by` says how they were matched; `missing` are ids of posts without a prediction, `unknown`
    places of predictions for no post.
    """

    given: dict[str, GivenPrediction]
    by: str
    missing: list[str]
    unknown: list[str]
    notes: list[str] = field(default_factory=list)


def match(
    examples: Sequence[Example], rows: Sequence[GivenPrediction], place: str, *, named: bool = False
) -> Matched:
    """Return the prediction of each post.

    Ids are compared first, where predictions have any; `named` says that a person named the column
    of ids, so that no other way is tried. Raises DataError for two predictions of one post, and
    for an id whose text is another one's.
    """
    if any(row.id for row in rows):
        found = _by_id(examples, rows, place)
        if found.given or named or not any(row.text for row in rows):
            return found
    return _by_text(examples, rows, place)


def ids_of(examples: Sequence[Example]) -> frozenset[str]:
    """Return every id by which a prediction may name one of these posts."""
    found = {plain_id(key(example)) for key in _KEYS.values() for example in examples}
    return frozenset(found - {""})


def first(names: Iterable[str]) -> str:
    """Return the first names of many, as a message lists them."""
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")


def _by_id(examples: Sequence[Example], rows: Sequence[GivenPrediction], place: str) -> Matched:
    name, posts = _posts_by_id(examples, {plain_id(row.id) for row in rows}, place)
    given: dict[str, GivenPrediction] = {}
    unknown: list[str] = []
    doubled: list[str] = []
    for row in rows:
        post = posts.get(plain_id(row.id))
        if post is None:
            unknown.append(row.id or row.place)
        elif post in given:
            doubled.append(row.id)
        else:
            given[post] = row
    _require_single(doubled, place, "id")
    _require_same_texts(examples, given, place)
    missing = [example.id for example in examples if example.id not in given]
    return Matched(given, name, missing, unknown)


def _posts_by_id(
    examples: Sequence[Example], wanted: set[str], place: str
) -> tuple[str, dict[str, str]]:
    """Return which of a post's ids the predictions name, and the post's own id by it."""
    name = max(_KEYS, key=lambda kind: len(wanted & {plain_id(_KEYS[kind](e)) for e in examples}))
    posts: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        posts[plain_id(_KEYS[name](example))].append(example.id)
    posts.pop("", None)
    if several := [id_ for id_, found in posts.items() if len(found) > 1 and id_ in wanted]:
        raise DataError(
            f"{place}: {counted(len(several), 'id stands', 'ids stand')} for several posts of the "
            f"data ({first(several)}); match by text with --text-column instead."
        )
    return name, {id_: found[0] for id_, found in posts.items()}


def _require_single(doubled: Sequence[str], place: str, what: str) -> None:
    if doubled:
        raise DataError(
            f"{place}: {counted(len(doubled), 'prediction repeats', 'predictions repeat')} the "
            f"{what} of another one ({first(dict.fromkeys(doubled))}); keep one for each post."
        )


def _require_same_texts(
    examples: Sequence[Example], given: Mapping[str, GivenPrediction], place: str
) -> None:
    """Raise DataError where ids match and texts do not: they are ids of another set."""
    pairs = [(example, given[example.id]) for example in examples if example.id in given]
    other = [e.id for e, row in pairs if row.text and normalise(row.text) != normalise(e.text)]
    if other:
        raise DataError(
            f"{place}: {counted(len(other), 'id has', 'ids have')} another text than in the data "
            f"({first(other)}); are these predictions of other posts?"
        )


def _by_text(examples: Sequence[Example], rows: Sequence[GivenPrediction], place: str) -> Matched:
    """Match by the text as it is, then by the text as duplicates are compared."""
    exact, alike = _texts(rows, str), _texts(rows, normalise)
    given: dict[str, GivenPrediction] = {}
    doubled: list[str] = []
    for example in examples:
        found = exact.get(example.text) or alike.get(normalise(example.text)) or []
        if len({row.said for row in found}) > 1:
            doubled.append(example.id)
        elif found:
            given[example.id] = found[0]
    if doubled:
        raise DataError(
            f"{place}: {counted(len(doubled), 'post has', 'posts have')} several predictions that "
            f"differ ({first(doubled)}); keep one for each post."
        )
    texts = {example.text for example in examples} | {normalise(e.text) for e in examples}
    unknown = [r.place for r in rows if r.text not in texts and normalise(r.text) not in texts]
    missing = [example.id for example in examples if example.id not in given]
    return Matched(given, "text", missing, unknown, _copies_said(examples, given))


def _texts(
    rows: Sequence[GivenPrediction], key: Callable[[str], str]
) -> dict[str, list[GivenPrediction]]:
    found: dict[str, list[GivenPrediction]] = defaultdict(list)
    for row in rows:
        found[key(row.text)].append(row)
    return found


def _copies_said(examples: Sequence[Example], given: Mapping[str, GivenPrediction]) -> list[str]:
    """Return how many posts share a prediction with another post of the same text."""
    posts: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.id in given:
            posts[given[example.id].place].append(example.id)
    copies = [id_ for ids in posts.values() if len(ids) > 1 for id_ in ids]
    if not copies:
        return []
    return [
        f"{counted(len(copies), 'post')} of the data have a text that stands there more than once "
        f"({first(copies)}): matched by text, each copy gets the same prediction."
    ]
