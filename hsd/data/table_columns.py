"""How a person says which columns of a table are read, and what its labels mean."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hsd.config.table_config import TableConfig
from hsd.data.label_names import spelled
from hsd.errors import ConfigError
from hsd.example import LABELS, Label

Meaning = Label | Literal["drop"]
"""What a label means; rows of one that is dropped are left out, and counted."""
MEANINGS: tuple[Meaning, ...] = (*LABELS, "drop")
_Said = tuple[str, Any, str]
"""A label's name, its meaning, and the option that says so."""
_FORM = "expected hate=NAME,NAME normal=NAME (and drop=NAME for rows to leave out)"
_BEFORE_A_MEANING = re.compile(rf"\s+(?=(?:{'|'.join(MEANINGS)})=)")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what. `labels` maps the table's own label names to their meanings: all of
    them, or (empty) none, where they are names that hsd knows."""

    text: str = "text"
    label: str | tuple[str, ...] = "label"
    """Several columns are the votes of as many annotators; so is a list in one."""
    group: str | None = None
    id: str | None = None
    labels: Mapping[str, Meaning] = field(default_factory=dict)
    share: str | None = None
    """The share of annotators who called the post hate."""
    cut: float | None = None
    """Labels are scores, and hate from this one on."""
    votes: float | None = None
    """The share of votes from which on a post is hate; None takes what more than half say."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of labels: one, or one an annotator."""
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def named(self) -> dict[str, str]:
        """The columns that must be there, each with the option that names it."""
        others = {"group": self.group, "id": self.id, "share": self.share}
        named = dict.fromkeys(self.label_columns, "--label-column")
        named |= {name: f"--{kind}-column" for kind, name in others.items() if name is not None}
        return {self.text: "--text-column", **named}

    @property
    def read(self) -> set[str]:
        """The columns that are read."""
        return {*self.named, "split", "source_dataset", "functionality", "reference_id", "cluster"}


def columns_of(
    *,
    text_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    share_column: str | None = None,
    labels: str | None = None,
    cut: float | None = None,
    votes: float | Literal["majority"] | None = None,
    label: Sequence[str] = (),
) -> Columns | None:
    """Return what options or a config say of a table; None where they say nothing.

    `label` are texts such as `mean=hate`, which say what `labels` says too.
    Raises ConfigError for what contradicts itself.
    """
    annotators = [label_column] if isinstance(label_column, str) else [*(label_column or ())]
    meanings = _once([*_named_labels(label), *_meanings(labels or "")])
    others = (text_column, group_column, id_column, share_column, cut, votes)
    if not annotators and not meanings and all(one is None for one in others):
        return None
    _require_consistent(annotators, meanings, cut)
    return Columns(
        "text" if text_column is None else text_column,
        ("label" if not annotators else annotators[0]) if len(annotators) < 2 else (*annotators,),
        group_column,
        id_column,
        meanings,
        share_column,
        cut,
        None if votes == "majority" else votes,
    )


def _require_consistent(
    annotators: Sequence[str], meanings: Mapping[str, Meaning], cut: float | None
) -> None:
    if cut is not None and not math.isfinite(cut):
        raise ConfigError(f"cut: {cut} is no score; expected a number, such as 0.5.")
    if cut is not None and meanings:
        raise ConfigError(
            "labels and cut: a column of labels holds names or scores; give --labels for names, or "
            "--cut for scores."
        )
    if twice := next((name for name in annotators if annotators.count(name) > 1), None):
        raise ConfigError(
            f"label_column: '{twice}' is named twice; name each annotator's column once."
        )


def columns_in(config: TableConfig) -> Columns | None:
    """Return what a config says of a table; None where it says nothing."""
    return columns_of(**{name: getattr(config, name) for name in TableConfig.model_fields})


def _meanings(text: str) -> list[_Said]:
    """Return each name of `hate=hatespeech,offensive normal=normal drop=unclear` with its meaning.

    And the part of the map that says so. A name with a comma stands in quotes. Raises ConfigError
    for anything else.
    """
    pairs: list[_Said] = []
    for part in _BEFORE_A_MEANING.split(text.strip()):
        meaning, equals, names = part.partition("=")
        if not part:
            continue
        if meaning not in MEANINGS or not equals or not names.strip():
            turned = f"{names}={meaning}" if names in MEANINGS else "hate=abusive,hateful normal=ok"
            raise ConfigError(f"labels '{part}': {_FORM}, such as {turned}.")
        read = next(csv.reader([names], skipinitialspace=True))
        pairs += [(name.strip(), meaning, f"labels '{part}'") for name in read if name.strip()]
    return pairs


def _named_labels(texts: Iterable[str]) -> list[_Said]:
    """Return the same of `NAME=hate` and `NAME=normal`."""
    pairs: list[_Said] = []
    for text in texts:
        name, _, value = text.rpartition("=")
        if value not in LABELS or not name:
            raise ConfigError(f"label '{text}': expected NAME=hate or NAME=normal.")
        pairs.append((name, value, f"label '{text}'"))
    return pairs


def _once(pairs: Iterable[_Said]) -> dict[str, Meaning]:
    """Return the meaning of each name. Raises ConfigError for a name with two."""
    found: dict[str, Meaning] = {}
    said: dict[str, Meaning] = {}
    for name, meaning, text in pairs:
        other = said.setdefault(spelled(name), meaning)
        if other != meaning:
            raise ConfigError(
                f"{text}: '{name}' is named both {other} and {meaning}; give it one meaning."
            )
        found[name] = meaning
    return found
