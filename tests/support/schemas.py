"""Just enough of JSON schema to say whether a config's schema accepts a file."""

from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def refused(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> str:
    """Return what the schema says against a value; nothing when it accepts it."""
    root = root or schema
    if "$ref" in schema:
        return refused(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        reasons = [refused(choice, value, root) for choice in schema["anyOf"]]
        return "" if "" in reasons else " and ".join(reasons)
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is none of {schema['enum']}"
    kind = schema.get("type")
    if kind == "null" or (kind and not isinstance(value, _TYPES[kind])):
        return f"{value!r} is no {kind}"
    if isinstance(value, dict):
        return _object(schema, value, root)
    items = schema.get("items", {})
    inner = value if isinstance(value, list) else []
    return next((said for item in inner if (said := refused(items, item, root))), "")


def _object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any]) -> str:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if missing := set(schema.get("required", [])) - value.keys():
        return f"{sorted(missing)} is missing"
    for key, item in value.items():
        if key not in known and others is False:
            return f"{key} is unknown"
        rule = known.get(key, others if isinstance(others, dict) else {})
        if said := refused(rule, item, root):
            return f"{key}: {said}"
    return ""
