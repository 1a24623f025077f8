"""One row to learn, before it is tokens."""

from dataclasses import dataclass

from hsd.example import Label
from hsd.prompts.chat import Chat


@dataclass(frozen=True, slots=True)
class Lesson:
    """A chat to learn, with its label, whom it is about, and what its strategy asks for."""

    chat: Chat
    label: Label
    rationale: bool
    """The strategy asks for a reason after the classification."""
    groups: tuple[str, ...] = ()
    hate_share: float | None = None
    """The share of annotators who called the post hate, where it is known."""
