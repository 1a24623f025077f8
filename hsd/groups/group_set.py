"""The groups that posts are counted in, ready for use: `three`, another shipped set, or a file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from hsd.config.config_files import read_config_file
from hsd.config.problems import validated
from hsd.config.settings import flatten
from hsd.errors import ConfigError, did_you_mean
from hsd.groups.group_file import GroupFile, ancestors, intersected, spelled_groups
from hsd.groups.group_names import OTHER, Lexicon
from hsd.groups.name_lists import persona
from hsd.io.hashes import sha256_json
from hsd.io.manifest import MANIFEST

DEFAULT = "three"
_GROUP_FILES = (".toml", ".json", ".yaml", ".yml")
_SHIPPED = Path(str(files("hsd.groups")))


@dataclass(frozen=True)
class GroupSet:
    """Groups by name, and the reading of names into them."""

    name: str
    file: GroupFile = field(repr=False)

    @cached_property
    def lexicon(self) -> Lexicon:
        """The spellings."""
        return Lexicon(spelled_groups(self.file), _known_elsewhere() if self._is_own else ())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The groups in the order of tables, each parent before its parts, then intersections."""
        tops = [name for name, entry in self.file.groups.items() if entry.parent is None]
        return (*(name for top in tops for name in self._family(top)), *self.file.intersections)

    @cached_property
    def digest(self) -> str:
        """What decides which groups a row is counted in; neither titles nor the set's name do."""
        return sha256_json([self._spelled, sorted(self.file.intersections)])

    @property
    def is_default(self) -> bool:
        """Whether these are the three that hsd follows where nobody asks for others."""
        return self.digest == default_groups().digest

    @cached_property
    def _spelled(self) -> list[Any]:
        entries = {
            name: [sorted({*entry.names, name}), entry.parent]
            for name, entry in self.file.groups.items()
        }
        return [entries, sorted(self.file.other)]

    @cached_property
    def _is_own(self) -> bool:
        """Whether names are read otherwise than by default; intersections change no reading."""
        return self._spelled != default_groups()._spelled

    def groups_of(
        self, named: Collection[str], persona_tag: str = "", *, strict: bool = True
    ) -> tuple[str, ...]:
        """Return the groups that a row's names are of, parents before their parts; () for nobody.

        `named` is the cell, or the cells, that name who the post is about. Rows that hsd prepared
        hold one of the default three there, and the finer names behind it in `persona_tag`: every
        other set reads those. Raises NamesError for a name that looks misspelt, unless `strict` is
        off.
        """
        if persona_tag and self._is_own:
            return self.regrouped(named, persona_tag, default_groups(), strict=strict)
        return self._with_parents(self.lexicon.parse(list(named), strict=strict))

    def regrouped(
        self,
        groups: Collection[str],
        persona_tag: str,
        before: "GroupSet",
        *,
        strict: bool = False,
    ) -> tuple[str, ...]:
        """Return the groups of a row that was counted in those of another set.

        What tells them are the names behind, in `persona_tag`. A group of `before` that these names
        give is told by them already: `middle_east` of a post about Muslims is no name for Arabs.
        Raises NamesError if `strict`.
        """
        left = list(groups)
        if persona_tag:
            behind = set(before._with_parents(before.lexicon.parse(persona_tag, strict=False)))
            left = [
                name
                for name in before.lexicon.split(left)
                if not self._is_told(before.lexicon.parse([name], strict=False), behind)
            ]
        found = self.lexicon.parse(left, strict=strict)
        if persona_tag:
            own = (name for name in found if name != OTHER)
            found = (*own, *self.lexicon.parse(persona_tag, strict=strict))
        return self._with_parents(dict.fromkeys(found))

    @staticmethod
    def _is_told(groups: Collection[str], behind: Collection[str]) -> bool:
        known = {name for name in groups if name != OTHER}
        return bool(known) and known <= set(behind)

    def placed(
        self, named: Collection[str], persona_tag: str = ""
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Return each name in a row with the groups that it puts the row into."""
        read = persona_tag if persona_tag and self._is_own else list(named)
        return [
            (name, self._with_parents(self.lexicon.parse([name])))
            for name in self.lexicon.split(read)
        ]

    def unknown(self, named: Collection[str], persona_tag: str = "") -> tuple[str, ...]:
        """Return the names of a row that count as `other` without being known as such."""
        told = persona_tag if persona_tag and self._is_own else list(named)
        return self.lexicon.unknown(told)

    def with_intersections(self, texts: Collection[str]) -> "GroupSet":
        """Return the set with more groups counted together.

        Raises ConfigError for an unknown one.
        """
        try:
            asked = [" & ".join(intersected(text, self.file.groups)) for text in texts]
        except ValueError as error:
            raise ConfigError(f"{str(error).rstrip('.')}.") from None
        every = tuple(dict.fromkeys((*self.file.intersections, *asked)))
        return replace(self, file=self.file.model_copy(update={"intersections": every}))

    def record(self) -> dict[str, Any]:
        """Return it as a manifest keeps it; `recorded_groups` reads it."""
        return {"name": self.name, **self.file.model_dump(mode="json", exclude_defaults=True)}

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says of it: its record, and nothing where nobody asked for it."""
        return {} if self.is_default else {"groups": self.record()}

    def _family(self, name: str) -> list[str]:
        parts = [part for part, entry in self.file.groups.items() if entry.parent == name]
        return [name, *(inner for part in parts for inner in self._family(part))]

    def _with_parents(self, found: Collection[str]) -> tuple[str, ...]:
        groups = self.file.groups
        every: dict[str, None] = {}
        for name in found:
            if name in groups:
                every |= dict.fromkeys(ancestors(name, groups))
            every[name] = None
        for text in self.file.intersections:
            if every.keys() >= set(intersected(text, groups)):
                every[text] = None
        if not self._is_own:
            return tuple(every)
        return tuple(sorted(every, key=self._place))

    def _place(self, name: str) -> int:
        return self.names.index(name) if name in self.names else len(self.names)


def load_groups(name: str = DEFAULT) -> GroupSet:
    """Return a shipped set by its name, or the one in a TOML, JSON or YAML file.

    Raises ConfigError, one line, with what is wrong and where.
    """
    if name in shipped_groups():
        return _shipped(name)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix.lower() not in _GROUP_FILES:
        raise ConfigError(
            f"groups: {path}: expected a group file ({', '.join(_GROUP_FILES)}) or one of "
            f"{', '.join(shipped_groups())}; `hsd groups check` takes the groups first, then data."
        )
    if path.is_file():
        return _read(path, path.stem, str(path))
    if path.is_dir():
        raise ConfigError(f"groups: {path} is a folder; give the path of a group file.")
    if "/" in name or path.suffix:
        around = [f.name for f in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise ConfigError(
            f"groups: {path}: no such file.{did_you_mean(path.name, beside=around)} "
            f"Shipped: {', '.join(shipped_groups())}."
        )
    hint = did_you_mean(name, shipped_groups())
    raise ConfigError(f"groups: unknown '{name}'.{hint} Or give the path of a group file.")


def text_of(name: str) -> str:
    """Return a shipped set's file as it is written. Raises ConfigError for an unknown name."""
    load_groups(name)
    file = _SHIPPED / f"{name}.toml" if name in shipped_groups() else Path(name).expanduser()
    return file.read_text(encoding="utf-8")


def default_groups() -> GroupSet:
    """Return the three groups that hsd follows where nobody asks for others."""
    return _shipped(DEFAULT)


@cache
def shipped_groups() -> tuple[str, ...]:
    """Return the names of the shipped sets, the default first."""
    names = sorted(file.stem for file in _SHIPPED.glob("*.toml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def recorded_groups(record: Mapping[str, Any] | None) -> GroupSet:
    """Return the groups that a manifest keeps; the default where it keeps none.

    Raises ConfigError for what is no record of groups.
    """
    if not record:
        return default_groups()
    tree = {key: value for key, value in record.items() if key != "name"}
    file = validated(GroupFile, flatten(tree, f"{MANIFEST}: groups"))
    return GroupSet(str(record.get("name")), file)


@cache
def _known_elsewhere() -> frozenset[tuple[str, ...]]:
    """Return the words of every name in a shipped set, in the singular."""
    spelled = (name for one in shipped_groups() for name in spelled_groups(_shipped(one).file))
    return frozenset(tuple(name.removesuffix("s").split("_")) for name in spelled)


@cache
def _shipped(name: str) -> GroupSet:
    return _read(_SHIPPED / f"{name}.toml", name, f"{name}.toml")


def _read(file: Path, name: str, place: str) -> GroupSet:
    tree = read_config_file(file, place)
    if not isinstance(tree.get("groups"), dict) or not tree["groups"]:
        raise ConfigError(f"{place}: no group in it; expected a section such as [groups.women].")
    found = GroupSet(name, validated(GroupFile, flatten(tree, place)))
    plain = Lexicon(spelled_groups(found.file))
    for group, entry in found.file.groups.items():
        for spelling in entry.names:
            if group not in plain.parse([spelling], strict=False):
                raise ConfigError(
                    f"{place}: groups.{group}: the spelling '{spelling}' is never read as one name "
                    "('and', 'or', commas and slashes part names; 'not' and the like negate them); "
                    "write each name by itself."
                )
    return found


def spelled_persona(named: Collection[str]) -> str:
    """Return the names in a cell as a persona tag, read with the default names: `muslim|arab`."""
    return persona(default_groups().lexicon.split(list(named)))
