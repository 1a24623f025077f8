"""The base of every config: frozen, typed, unknown keys refused."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _at_home(path: Path) -> Path:
    """Return the path with a leading `~` resolved: no shell does that inside a file."""
    return path.expanduser() if path.parts[:1] == ("~",) else path


Text = Annotated[str, Field(min_length=1)]
"""A text that says something; an empty variable is no file name."""
Folder = Annotated[Path, AfterValidator(_at_home)]
"""A path, relative to where the command runs."""


class Strict(BaseModel):
    """A frozen section of a config. Each field explains itself in the string below it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )
