"""Read one JSON, YAML or TOML file; anything half-written is refused with its line."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsd.errors import ConfigError
from hsd.io.json_reader import parse_json

MOST = 10_000
"""Values of a config, each as often as it is referred to. A preset has some 50."""


def read_config_file(path: Path, place: str) -> dict[str, Any]:
    """Return the file's top level. Raises ConfigError that begins with `place` or `place:line`."""
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{place}: unknown kind of file; expected {', '.join(_PARSERS)}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: not UTF-8 text (byte {error.start}).") from None
    tree = parse(text, place)
    _require_measure(tree, place)
    if not isinstance(tree, dict):
        found = "an empty file" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{place}: expected keys and values at the top, found {found}.")
    return tree


def _require_measure(tree: Any, place: str) -> None:
    """Refuse what no person writes: YAML's aliases let ten lines stand for a billion values."""
    left, level = MOST, [tree] if isinstance(tree, dict | list) else []
    while level:
        values: list[Any] = []
        for value in level:
            values += value.values() if isinstance(value, dict) else value
            if len(values) > left:
                raise ConfigError(f"{place}: more than {MOST:,} values; is this a config?")
        left -= len(values)
        level = [value for value in values if isinstance(value, dict | list)]


def _json(text: str, place: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"{place}: key '{twice[0]}' is written twice in one section.")
        return dict(pairs)

    if not text.strip():
        return None
    return parse_json(text, place, ConfigError, object_pairs_hook=unique)


def _toml(text: str, place: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        reason = str(error).replace(found[0], "") if found else str(error)
        raise ConfigError(f"{place}:{line}: not TOML ({reason}).") from None


def _yaml(text: str, place: str) -> Any:
    import yaml  # here, so that a command without a YAML file does not pay for it

    class Loader(yaml.SafeLoader):
        """YAML 1.2 scalars. PyYAML's own 1.1 reads `no` as false, 010 as 8, 2e-4 as a text."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in known if tag in _KEPT]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise ConfigError(f"{place}:{line}: key '{key.value}' is written twice.")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{place}:{line}: not YAML ({error.problem}).") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{place}:{line}: not YAML ({error.reason}).") from None


_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_SCALARS = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^[-+]?[0-9]+[eE][-+]?[0-9]+$", "-+0123456789"),
)
_PARSERS: dict[str, Callable[[str, str], Any]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": _toml,
}
