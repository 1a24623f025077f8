"""How a table of a person's own is read: its columns, and what its labels mean."""

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from hsd.config.strict import Names, Strict, Text

VoteShare = Annotated[float, Field(gt=0, le=1)]


class TableConfig(Strict):
    """Columns of files of posts. Without any of them hsd reads the columns that it knows."""

    text_column: Text | None = None
    """Column of the post. Default: text."""
    label_column: Text | Names | None = None
    """Column of the label; several columns are the votes of as many annotators. Default: label."""
    group_column: Text | None = None
    """Column that says who the post is about."""
    id_column: Text | None = None
    """Column of the row's id."""
    share_column: Text | None = None
    """Column with the share of annotators who said hate, from 0 to 1."""
    labels: Text | None = None
    """What each label means: `hate=hatespeech,offensive normal=normal`. `drop=NAME` leaves rows
    out. If one label is named, every label in use must be."""
    cut: FiniteFloat | None = None
    """Labels are scores: a post is hate from this score on, and normal below."""
    votes: Literal["majority"] | VoteShare | None = None
    """For several annotators: `majority` (the default) takes what more than half say and leaves out
    the rest; a number such as 0.3 takes hate from that share of the votes on."""
