"""Walk a config's typed fields by path, and say in words what a field takes."""

import json
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from hsd.config.settings import FieldPath
from hsd.config.strict import Holds

ADDRESS = "uri"
"""JSON schema's word for a field that holds the address of a server."""


def section_at(model: type[BaseModel], path: FieldPath) -> type[BaseModel] | None:
    """Return the section that `path` leads to; None where there is a plain field or nothing."""
    section: type[BaseModel] | None = model
    is_own_name = False  # of a section such as [groups.women], whose name is the user's
    for name in path:
        if is_own_name:
            is_own_name = False
            continue
        field = section.model_fields.get(name) if section else None
        section = _section(field.annotation) if field else None
        is_own_name = bool(field and section and get_origin(field.annotation) is dict)
    return section


def field_at(model: type[BaseModel], path: FieldPath) -> FieldInfo | None:
    """Return the field at `path`, or None."""
    section = section_at(model, path[:-1])
    return section.model_fields.get(path[-1]) if section and path else None


def leaf_paths(model: type[BaseModel], above: FieldPath = ()) -> list[FieldPath]:
    """Return the paths of all plain fields, in the order of the config."""
    paths: list[FieldPath] = []
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        paths += leaf_paths(section, (*above, name)) if section else [(*above, name)]
    return paths


def path_fields(model: type[BaseModel]) -> dict[str, str]:
    """Return the dotted fields that are marked as paths, with the kind of each."""
    found = {}
    for path in leaf_paths(model):
        field = field_at(model, path)
        if field and (kind := _held(field)):
            found[".".join(path)] = kind
    return found


def _held(field: FieldInfo) -> str | None:
    """Return the kind of path that a field holds, by its own mark or by its type's in a union."""
    marks = [*field.metadata]
    for part in get_args(field.annotation):
        marks += getattr(part, "__metadata__", ())
    return next((mark.kind for mark in marks if isinstance(mark, Holds)), None)


def expected(field: FieldInfo) -> str:
    """Return what the field takes: `a whole number greater than 0 or null`."""
    section = _section(field.annotation)
    if section:
        return f"a section with {', '.join(sorted(section.model_fields))}"
    words = _words(TypeAdapter[Any](field.rebuild_annotation()).json_schema())
    such = f", such as {json.dumps(field.examples[0])}" if field.examples else ""
    return f"{words}{such}"


def _section(annotation: Any) -> type[BaseModel] | None:
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _words(schema: dict[str, Any]) -> str:
    """Say a JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_words(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(repr(choice) for choice in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    if schema.get("type") == "array":
        return "a list of texts" if not schema.get("minItems") else "a list of at least one text"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"a section of names, each with {_words(values)}"
    words = _TYPES[schema.get("format") or schema["type"]]
    if schema.get("minLength"):
        words = words.replace("a text", "a non-empty text")
    bounds = [f"{said} {schema[key]:g}" for key, said in _BOUNDS.items() if key in schema]
    return f"{words} {' and '.join(bounds)}".rstrip()


_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "path": "a path",
    ADDRESS: "an address that starts with http:// or https://, such as http://localhost:8000/v1",
    "null": "null",
    "object": "a section of names and values",
}
_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "greater than",
    "maximum": "of at most",
    "exclusiveMaximum": "less than",
}
