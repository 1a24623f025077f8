"""Predictions matched to posts, by id or by text; what does not match is counted, never dropped."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
_FIELDS: Mapping[str, str] = {**{kind: kind for kind in _KEYS}, "mhc_case_id": "case_id"}
"""The field of a post that a column of ids is called after."""


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
    examples: Sequence[Example],
    rows: Sequence[GivenPrediction],
    place: str,
    *,
    named: bool = False,
    column: str | None = None,
    beside: Sequence[Example] = (),
) -> Matched:
    """Return the prediction of each post.

    Ids are compared first, where predictions have any; `named` says that a person named the column
    of ids, `column`, so that no other way is tried. `beside` are posts that are not asked for, and
    that a text may be of too. Raises DataError for two predictions of one post, for ids of
    different posts as two fields, and for an id whose text is another one's.
    """
    if any(row.id for row in rows):
        found = _by_id(examples, rows, place, column)
        if found.given or named or not any(row.text for row in rows):
            return found
    return _by_text(examples, rows, place, beside)


def ids_of(examples: Sequence[Example]) -> frozenset[str]:
    """Return every id by which a prediction may name one of these posts."""
    found = {plain_id(key(example)) for key in _KEYS.values() for example in examples}
    return frozenset(found - {""})


def first(names: Iterable[str]) -> str:
    """Return the first names of many, as a message lists them."""
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")


def _by_id(
    examples: Sequence[Example], rows: Sequence[GivenPrediction], place: str, column: str | None
) -> Matched:
    name, posts = _posts_by_id(examples, {plain_id(row.id) for row in rows}, place, column)
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
    examples: Sequence[Example], wanted: set[str], place: str, column: str | None
) -> tuple[str, dict[str, str]]:
    """Return which of a post's ids the predictions name, and the post's own id by it."""
    kinds = {kind: _posts_of(examples, key, wanted) for kind, key in _KEYS.items()}
    name = _kind_of_id(kinds, column, place)
    posts = kinds[name]
    if several := [id_ for id_, found in posts.items() if len(found) > 1]:
        raise DataError(
            f"{place}: {counted(len(several), 'id stands', 'ids stand')} for several posts of the "
            f"data ({first(several)}); match by text with --text-column instead."
        )
    return name, {id_: found[0] for id_, found in posts.items()}


def _posts_of(examples: Sequence[Example], key: Key, wanted: set[str]) -> dict[str, list[str]]:
    """Return the posts of each wanted id."""
    posts: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if (id_ := plain_id(key(example))) in wanted and id_:
            posts[id_].append(example.id)
    return posts


def _kind_of_id(
    kinds: Mapping[str, Mapping[str, list[str]]], column: str | None, place: str
) -> str:
    """Return the field that the column is called after, else the one with the most ids.

    Raises DataError where another field gives different posts, unless the column is called after
    this one, and the other has no more ids.
    """
    field_ = _FIELDS.get(column or "", "")
    is_called = bool(kinds.get(field_))
    name = field_ if is_called else max(kinds, key=lambda kind: len(kinds[kind]))
    posts = kinds[name]
    for other, found in kinds.items():
        differs = any(found[id_] != posts[id_] for id_ in posts.keys() & found.keys())
        if differs and not (is_called and len(found) <= len(posts)):
            raise DataError(
                f"{place}: {counted(len(posts), 'id is', 'ids are')} a post's {name} and "
                f"{len(found):,} a post's {other}, and these are different posts. Name the column "
                "after what it holds (id, case_id or original_id), or match by text with "
                "--text-column."
            )
    return name


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


def _by_text(
    examples: Sequence[Example],
    rows: Sequence[GivenPrediction],
    place: str,
    beside: Sequence[Example],
) -> Matched:
    """Match by the text as it is, then by the text as duplicates are compared."""
    exact = _texts(rows)
    alike = _alike({example.text for example in (*examples, *beside)}, exact.keys())
    given: dict[str, GivenPrediction] = {}
    doubled: list[str] = []
    for example in examples:
        found = exact.get(alike.get(example.text, example.text), [])
        if len({row.said for row in found}) > 1:
            doubled.append(example.id)
        elif found:
            given[example.id] = found[0]
    if doubled:
        raise DataError(
            f"{place}: {counted(len(doubled), 'post has', 'posts have')} several predictions that "
            f"differ ({first(doubled)}); keep one for each post."
        )
    used = {alike.get(example.text, example.text) for example in examples}
    unknown = [row.place for row in rows if row.text not in used]
    missing = [example.id for example in examples if example.id not in given]
    return Matched(given, "text", missing, unknown, _copies_said(examples, given))


def _alike(posts: Collection[str], predicted: Collection[str]) -> dict[str, str]:
    """Return the text of the prediction of each post that alone is like it.

    Numbers and punctuation are alike in the normalised form, so two posts may share one: then
    nothing says which of them is meant. Copies of one text are one.
    """
    forms, others = _by_form(posts), _by_form(predicted)
    pairs = {form: (texts, others.get(form, [])) for form, texts in forms.items() if form.strip()}
    return {
        texts[0]: said[0] for texts, said in pairs.values() if len(texts) == 1 and len(said) == 1
    }


def _by_form(texts: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        found[normalise(text)].append(text)
    return found


def _texts(rows: Sequence[GivenPrediction]) -> dict[str, list[GivenPrediction]]:
    found: dict[str, list[GivenPrediction]] = defaultdict(list)
    for row in rows:
        found[row.text].append(row)
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
