"""The base of every config: frozen, typed, unknown keys refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _at_home(path: Path) -> Path:
    """Return the path with a leading `~` resolved: no shell does that inside a file."""
    return path.expanduser() if path.parts[:1] == ("~",) else path


@dataclass(frozen=True, slots=True)
class Holds:
    """Marks a field that holds a path, or a name that may be one: a job starts elsewhere."""

    kind: Literal["folder", "rows", "base", "template", "groups"]


Text = Annotated[str, Field(min_length=1)]
"""A text that says something; an empty variable is no file name."""
Names = Annotated[tuple[Text, ...], Field(min_length=1)]
"""At least one text."""
Folder = Annotated[Path, AfterValidator(_at_home), Holds("folder")]
"""A path, relative to where the command runs."""
RowsName = Annotated[Text, Holds("rows")]
"""A file of rows, or a name such as `embedded`."""
BaseName = Annotated[Text, Holds("base")]
"""A base: a hub name, `pypi:PACKAGE`, or a folder."""
TemplateName = Annotated[Text, Holds("template")]
"""A shipped prompt template, or a file."""

GroupsName = Annotated[Text, Holds("groups")]
"""A shipped set of groups, or a group file."""


class Strict(BaseModel):
    """A frozen section of a config. Each field explains itself in the string below it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )
