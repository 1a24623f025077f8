"""The base of every config: frozen, typed, unknown keys refused."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen section of a config. Each field explains itself in the string below it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )
