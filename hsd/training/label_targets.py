"""The labels that rows are scored by, and how much each row counts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from hsd.config.train_config import Labels
from hsd.errors import DataError
from hsd.example import NONE, Label
from hsd.inference.score import Candidates, candidates
from hsd.prompts.render import Encoded, Renderer, Target
from hsd.training.lesson import Lesson


class Targets:
    """Gives rows their targets: the two labels as an evaluation spells them.

    `labels` says whether a row's share of votes is its target, where it has one.
    """

    def __init__(self, renderer: Renderer, tokenizer: Any, labels: Labels = "hard") -> None:
        self._renderer, self._tokenizer, self._labels = renderer, tokenizer, labels
        self._spelled: dict[tuple[bool, bool], Candidates] = {}

    def add(self, row: Encoded, lesson: Lesson, weight: float = 1.0) -> Encoded:
        """Return the row with target and groups. Raises DataError for an answer of another form."""
        spelled = self._of(lesson)
        opening = len(spelled.opening)
        if row.answer[:opening] != spelled.opening:
            raise DataError(
                f"row {row.id}: its answer does not begin as the labels are scored; expected "
                f"{self._tokenizer.decode(spelled.opening)!r}, as `hsd prepare` writes it."
            )
        rest = row.answer[opening:]
        rivals = tuple(tail for tail in spelled.tails if rest[: len(tail)] != tail)
        share = lesson.hate_share if self._labels == "share" else None
        target = Target(lesson.label, opening, spelled.tails, rivals, weight, share)
        return replace(row, target=target, groups=lesson.groups)

    def _of(self, lesson: Lesson) -> Candidates:
        key = (bool(lesson.chat.system), lesson.rationale)
        if key not in self._spelled:
            self._spelled[key] = candidates(
                self._renderer, self._tokenizer, has_system=key[0], rationale=key[1]
            )
        return self._spelled[key]


def balanced(lessons: Sequence[Lesson], by: Literal["none", "label", "group"]) -> list[float]:
    """Return weights, 1 on average, that let both labels count alike, or both of every group.

    A row counts under its label, whatever share of votes it is learned with. One about several
    groups is shared out among them.
    """
    if by == "none":
        return [1.0] * len(lessons)
    cells = [_cells(lesson, by) for lesson in lessons]
    sizes: defaultdict[tuple[str, Label], float] = defaultdict(float)
    for own in cells:
        for cell in own:
            sizes[cell] += 1 / len(own)
    each = len(lessons) / len(sizes)
    return [sum(each / sizes[cell] for cell in own) / len(own) for own in cells]


def _cells(lesson: Lesson, by: str) -> list[tuple[str, Label]]:
    groups = (lesson.groups or (NONE,)) if by == "group" else (NONE,)
    return [(group, lesson.label) for group in groups]
