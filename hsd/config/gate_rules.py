"""The rules of a gate: margins against a reference, floors and ceilings."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from hsd.config.strict import Strict, Text

Share = Annotated[float, Field(ge=0, le=1)]


class Margins(Strict):
    """How much each error rate of a group may rise above the reference's."""

    false_positive_rate: Share = 0.05
    """How much the false-positive rate may rise."""
    false_negative_rate: Share = 0.05
    """How much the false-negative rate may rise."""


class GateRules(Strict):
    """The rules of `hsd gate`. A rule that the rows are too few to decide is UNDERPOWERED."""

    margin: Margins = Margins()
    """Of all posts and of every group that has no margins of its own."""
    groups: dict[Text, Margins] = {}
    """Margins of single groups."""
    f1_margin: Share = 0.02
    """F1 of all posts may fall below the reference's by this much."""
    worst_group_f1: Share | None = None
    """The lowest F1 that any group may have; None: no such rule."""
    largest_gap: Share | None = None
    """The largest difference between groups in either error rate; None: no such rule."""
    unreadable: Share = 0.02
    """The largest share of replies without a label."""
    minimum_n: PositiveInt = 20
    """A group with fewer posts behind a rate cannot pass a rule about that rate, only fail it."""
    ignore_groups: tuple[Text, ...] = ()
    """Groups without rules, named in the verdict; their posts count among all posts."""

    @property
    def has_floor(self) -> bool:
        """Whether there is a rule that needs no reference."""
        return self.worst_group_f1 is not None or self.largest_gap is not None

    @model_validator(mode="after")
    def _judges_or_ignores(self) -> Self:
        both = sorted(self.groups.keys() & set(self.ignore_groups))
        if both:
            raise ValueError(f"{', '.join(both)}: has margins and is ignored; choose one of both")
        return self
