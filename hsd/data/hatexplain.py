"""HateXplain as published (Mathew et al., AAAI 2021): votes, targets and rationales of three."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hsd.data import cell_values
from hsd.data.label_names import spelled
from hsd.data.loaded_file import Bad, Convert, Converted, LeftOut, Loaded, load
from hsd.data.read_rows import Row
from hsd.data.split_names import split_of
from hsd.data.vote_shares import NO_MAJORITY, majority_label, share_of_hate
from hsd.errors import DataError
from hsd.example import Example, Label
from hsd.groups.group_set import GroupSet
from hsd.groups.name_lists import persona
from hsd.io.json_reader import read_json

Offensive = Literal["normal", "hate", "drop"]
CODES = {"0": "hatespeech", "1": "normal", "2": "offensive"}  # the official LabelEncoder's order
LABELS = frozenset(CODES.values())
DIVISIONS = "post_id_divisions.json"
DROPPED_OFFENSIVE = "majority 'offensive', dropped as asked"


def load_hatexplain(
    path: Path, offensive: Offensive = "normal", groups: GroupSet | None = None
) -> Loaded:
    """Return the posts of dataset.json or its CSV form.

    The splits come from post_id_divisions.json, where it lies beside the file, or from the rows.
    """
    convert = converter(offensive, read_divisions(path.parent / DIVISIONS))
    return load(path, convert, groups=groups)


def read_divisions(path: Path) -> dict[str, str]:
    """Return the split of each post id; {} without the file."""
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise DataError(f'{path}: expected {{"train": [ids], "val": [ids], "test": [ids]}}.')
    return {str(post): split_of(name) for name, posts in content.items() for post in posts}


def converter(
    offensive: Offensive = "normal", divisions: Mapping[str, str] | None = None
) -> Convert:
    """Return the function from an official row to an example.

    `offensive` says what a majority for that label counts as.
    """
    binary: dict[str, Label] = {"hatespeech": "hate", "normal": "normal"}
    if offensive != "drop":
        binary["offensive"] = offensive

    def convert(row: Row) -> Converted:
        try:
            post = _Post(row.values)
        except _NotAPostError as error:
            return Bad(str(error))
        majority = majority_label(post.labels)
        if majority is None:
            return LeftOut(NO_MAJORITY)
        if majority not in binary:
            return LeftOut(DROPPED_OFFENSIVE)
        own = split_of(cell_values.string(row.values, "split"))
        split = (divisions or {}).get(post.id, own)
        if own not in ("", split):
            return Bad(f"'split' says {own[:40]}, but {DIVISIONS} says {split}")
        targets = majority_targets(post.targets)
        return Example(
            id=post.id,
            text=" ".join(post.tokens),
            label=binary[majority],
            hate_share=share_of_hate(post.labels, binary),
            named=tuple(targets),
            persona_tag=persona(targets),
            source_dataset="hatexplain",
            label_multiclass=majority,
            rationale=majority_rationale(post.tokens, post.rationales),
            original_id=post.id,
            split=split,
        )

    return convert


def majority_targets(targets: Sequence[Sequence[str]]) -> list[str]:
    """Return the targets that at least two annotators named (one, where there is only one)."""
    votes = Counter(name for named in targets for name in dict.fromkeys(named))
    needed = min(2, len(targets))
    return [name for name, count in votes.items() if count >= needed and name.lower() != "none"]


def majority_rationale(tokens: Sequence[str], rationales: Sequence[Sequence[int]]) -> str:
    """Return the tokens that more than half of the given rationales mark; "" without rationales."""
    marked = [sum(marks) for marks in zip(*rationales, strict=True)]
    return " ".join(t for t, n in zip(tokens, marked, strict=False) if 2 * n > len(rationales))


class _NotAPostError(ValueError):
    """The row does not have the official form; the message says where."""


class _Post:
    """One post in either official form, checked."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.id = str(values.get("post_id") or values.get("id") or "")
        self.tokens = _strings(_field(values, "post_tokens"), "post_tokens")
        votes = _field(values, "annotators")
        if isinstance(votes, dict):  # {"label": [..], "target": [[..]]}: a list a question
            labels, targets = votes.get("label"), votes.get("target")
        elif isinstance(votes, list) and all(isinstance(vote, dict) for vote in votes):
            labels = [vote.get("label") for vote in votes]
            targets = [vote.get("target") for vote in votes]
        else:
            raise _NotAPostError("'annotators' is neither a list of votes nor lists of answers")
        self.labels = _labels(labels)
        self.targets = _targets(targets, len(self.labels))
        self.rationales = _rationales(values, len(self.tokens))


def _field(values: Mapping[str, Any], name: str) -> Any:
    """Return a field; a CSV cell holds it printed."""
    value = cell_values.contained(values, name)
    if value is None:
        raise _NotAPostError(f"no '{name}'; is this HateXplain's official form?")
    if isinstance(value, Bad):
        raise _NotAPostError(value.reason)
    return value


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise _NotAPostError(f"'{name}' is not a list of words")
    return value


def _labels(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise _NotAPostError("'annotators' has no labels")
    names = [CODES.get(spelled(label), spelled(label)) for label in value]
    unknown = next((name for name in names if name not in LABELS), None)
    if unknown is not None:
        raise _NotAPostError(f"unknown vote {unknown[:40]!r}; known: hatespeech, normal, offensive")
    return names


def _targets(value: Any, count: int) -> list[list[str]]:
    if not isinstance(value, list) or len(value) != count:
        raise _NotAPostError(f"'annotators' has {count} labels, but not as many lists of targets")
    return [_named(targets) for targets in value]


def _named(value: Any) -> list[str]:
    named = [name for name in value if name is not None] if isinstance(value, list) else value
    return _strings(named, "target") if named else []


def _are_marks(value: Any, tokens: int) -> bool:
    return (
        isinstance(value, list) and len(value) == tokens and all(mark in (0, 1) for mark in value)
    )


def _rationales(values: Mapping[str, Any], tokens: int) -> list[list[int]]:
    rationales = _field(values, "rationales") if values.get("rationales") is not None else []
    if not isinstance(rationales, list) or not all(_are_marks(m, tokens) for m in rationales):
        raise _NotAPostError(
            f"'rationales' do not have one mark (0 or 1) for each of the {tokens} words"
        )
    return rationales
