"""What a run must keep to be let through: margins against a reference, floors and ceilings."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from hsd.config.strict import Strict, Text

Share = Annotated[float, Field(ge=0, le=1)]


class Margins(Strict):
    """How much each error rate of a group may rise above the reference's."""

    false_positive_rate: Share = 0.05
    """Of its normal posts: may be called hate more often by this much."""
    false_negative_rate: Share = 0.05
    """Of its hateful posts: may be missed more often by this much."""


class GateRules(Strict):
    """The rules of `hsd gate`. A rule that the rows are too few to decide is UNDERPOWERED."""

    margin: Margins = Margins()
    """Of all posts and of every group that has no margins of its own."""
    groups: dict[Text, Margins] = {}
    """Margins of single groups."""
    f1_margin: Share = 0.02
    """F1 of all posts may fall below the reference's by this much."""
    worst_group_f1: Share | None = None
    """The lowest F1 of any group that is let through; None asks for none."""
    largest_gap: Share | None = None
    """Neither error rate may differ by more than this between groups; None asks for none."""
    unreadable: Share = 0.02
    """Share of replies without a label that is let through."""
    minimum_n: PositiveInt = 20
    """A group with fewer posts behind a rate cannot pass a rule about it; only fail."""
    ignore_groups: tuple[Text, ...] = ()
    """Groups that no rule is about, named in the verdict; their posts count among all posts."""

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
