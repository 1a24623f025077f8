"""A sentence where most replies hold no label: the numbers are then of the prompt or server."""

from collections.abc import Sequence

from hsd.counted import counted
from hsd.prediction import Prediction
from hsd.prompts.answers import read_reply
from hsd.visible import visible

_SHOWN = 60
"""Letters of a reply that are quoted."""
_ECHO = 20
"""Letters of a post from which on a reply repeats it."""


def unread_in(predictions: Sequence[Prediction]) -> str | None:
    """Return the sentence with the beginning of a reply; None where half or more can be read."""
    unread = [p for p in predictions if p.label is None]
    unscored = sum(map(_is_unscored, unread))
    if unscored * 2 > len(predictions):
        has, count = ("has", "counts") if unscored == 1 else ("have", "count")
        of = counted(len(predictions), "reply", "replies")
        return f"{unscored:,} of {of} {has} a label but no score, and {count} as invalid."
    return unread_said(len(unread), len(predictions), first_unread(unread))


def unread_said(unread: int, n: int, first: str = "") -> str | None:
    """Return `20 of 20 replies hold no label`; None where half of the replies or more do."""
    if unread * 2 <= n:
        return None
    verb = "holds" if unread == 1 else "hold"
    begins = f'; the first begins "{first}"' if first else ""
    return f"{unread:,} of {counted(n, 'reply', 'replies')} {verb} no label{begins}."


def unscored_said(unscored: int, n: int, first: str = "") -> str | None:
    """Return `20 of 20 posts have no score` of score mode; None where half or more have one."""
    if unscored * 2 <= n:
        return None
    has, count = ("has", "counts") if unscored == 1 else ("have", "count")
    begins = f'; the first reply begins "{first}"' if first else ""  # a server writes replies
    return f"{unscored:,} of {counted(n, 'post')} {has} no score, and {count} as wrong{begins}."


def first_unread(predictions: Sequence[Prediction]) -> str:
    """Return how the first reply without a label begins, unless the reply repeats its post."""
    for p in predictions:
        reply = " ".join(p.reply.split())
        if (
            p.label is None
            and reply
            and not _is_unscored(p)
            and not _repeats(reply, " ".join(p.text.split()))
        ):
            shown = visible(reply)
            return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return ""


def _is_unscored(p: Prediction) -> bool:
    """Whether the label of a reply can be read: then only its score is missing."""
    return p.outcome == "invalid" and read_reply(p.reply, cut_off=False).label is not None


def _repeats(reply: str, post: str) -> bool:
    pieces = (post[at : at + _ECHO] for at in range(max(1, len(post) - _ECHO + 1)))
    return any(piece and piece in reply for piece in pieces)
