"""One labelled post, the unit that every part of hsd works on."""

from dataclasses import dataclass, field
from typing import Literal

Label = Literal["hate", "normal"]
LABELS: tuple[Label, Label] = ("hate", "normal")

GROUPS = ("lgbtq", "middle_east", "mexican", "other")
"""Who a post can be about where no other groups are asked for (hsd.groups). A post about nobody
has no group; a post may have several."""

NONE = "none"
"""What posts about nobody count under."""

SPLITS = ("train", "validation", "test")
"""What is learned from, what is watched meanwhile, what is judged by; later ones are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A post with its label; everything else says where it came from and whom it is about.

    `groups` never enters a prompt: a moderator's tool does not get told who is meant.
    """

    id: str
    text: str
    label: Label
    hate_share: float | None = None
    """The share of annotators who called the post hate, in [0, 1]; None where it is not known."""
    named: tuple[str, ...] = field(default=(), compare=False)
    """Whom the post is about, as its row writes it: `groups` are read from this."""
    groups: tuple[str, ...] = ()
    unknown_groups: tuple[str, ...] = field(default=(), compare=False)
    """Names that count as `other` because nothing is known about them; for messages only."""
    persona_tag: str = ""
    source_dataset: str = ""
    label_multiclass: str = ""
    is_synthetic: bool = False
    rationale: str = ""
    original_id: str = ""
    split: str = ""
    functionality: str = ""
    """What a test case tests; "" for a post."""
    case_id: str = ""
    reference_id: str = ""
    """The row that this one is a contrast or a copy of."""
    cluster: str = ""
    """What rows share that are no independent evidence: a template, a thread."""
    place: str = field(default="", compare=False)
    """Where it was read, `file:line`; for messages only."""
