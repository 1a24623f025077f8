"""Reference pages of profiles and sweeps, from the models: `docs/*.md` are what this returns.

A test holds the pages to it; `HSD_ACCEPT_GOLDEN=1` writes them anew.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hsd.config.fields import field_at, section_at
from hsd.config.settings import FieldPath
from hsd.config.strict_toml import takes
from slurm.cluster.profile import Profile
from slurm.sweep.sweep import Sweep

_PROFILES = """# Profiles: what hsd must know of a cluster

A profile is a TOML file. `hsd cluster init` writes one by asking `sinfo`, `scontrol` and
`sacctmgr`; it becomes the default, `~/.config/hsd/cluster.toml`. Others go to
`~/.config/hsd/clusters/NAME.toml` and are chosen with `--cluster NAME` (or `$HSD_CLUSTER`), as are
the shipped ones: `hsd cluster list`. `--cluster FILE` takes any file.

```
hsd cluster init
hsd cluster show a100x4 > ~/.config/hsd/clusters/mine.toml
hsd doctor --cluster mine
```

Keys that are not below are refused; None is a key that is left out. `~` is resolved in paths, and
`${VAR}` or `${VAR:-default}` everywhere, when the profile is read; but in `node_local` and `setup`,
which the shell of a job reads on its node. No value may be a secret: a job's script and the run's
folder can be read by others. `hsd cluster schema` prints the JSON schema.
"""
_SWEEPS = """# Sweeps: what is trained and compared

A sweep is a TOML file. Its presets, each at every point of its grid, are its cells; all are judged
on the same posts. `hsd sweep list` shows the shipped ones, `hsd sweep show FILE` what a file comes
to, `hsd run FILE` runs it.

```toml
name = "ranks"
presets = ["default", "mine.toml"]

[grid]
"lora.rank" = [8, 16]
seed = [1, 2]

[set]
"training.epochs" = 1

[model]
name = "openai/gpt-oss-20b"

[evaluate]
sets = ["unified"]
data_dir = "data/prepared"
set = { batch_size = 32 }
```

Those are eight cells, `default-rank=8-seed=1` to `mine-rank=16-seed=2`. The later wins: the preset;
`[set]`, `[model]`, `[data]` and `[grid]`, of which no two may name one field; `--set`, which also
replaces an axis of the grid. Fields are those of `hsd config show`, dotted or as sections. Paths
are relative to where the command runs. `${VAR}` and `${VAR:-default}` are resolved. Keys that are
not below are refused, and fields that a training config does not have. `hsd sweep schema` prints
the JSON schema.
"""
_HOW = "<!-- Written from the models by jobs/reference.py; see tests/test_reference.py. -->"
PAGES: dict[str, tuple[str, type[BaseModel]]] = {
    "profiles.md": (_PROFILES, Profile),
    "sweeps.md": (_SWEEPS, Sweep),
}
"""File in docs/ -> its head and what it describes."""


def page(name: str) -> str:
    """Return a page of docs/."""
    head, model = PAGES[name]
    return f"{_HOW}\n{head}\n{reference(model)}"


def reference(model: type[BaseModel]) -> str:
    """Return the fields of the model, a table for each section, as Markdown."""
    parts = ["## At the top", _plain_text(model.__doc__), *_fields(model, ())]
    return "\n\n".join(parts) + "\n"


def _fields(model: type[BaseModel], path: FieldPath) -> Iterator[str]:
    """Yield the table of a section's plain fields, then the sections in it."""
    section = section_at(model, path)
    assert section is not None, path
    inner: dict[type[BaseModel], list[FieldPath]] = {}
    rows = []
    for at in ((*path, name) for name in section.model_fields):
        if kind := section_at(model, at):
            inner.setdefault(kind, []).append(at)
        else:
            rows.append(_row(model, at))
    if rows:
        yield "\n".join(["| key | takes | default | |", "| --- | --- | --- | --- |", *rows])
    for kind, paths in inner.items():
        yield from _titled(model, kind, paths)


def _titled(model: type[BaseModel], kind: type[BaseModel], paths: list[FieldPath]) -> Iterator[str]:
    """Yield a section, or several that have the same fields."""
    titles = {at: f"`[{'.'.join(at)}]`" for at in paths}
    yield f"## {', '.join(titles.values())}"
    yield _plain_text(kind.__doc__)
    said = {at: _plain_text(field.description) for at in paths if (field := field_at(model, at))}
    if any(said.values()):
        yield "\n".join(f"- {titles[at]}: {text}" for at, text in said.items())
    yield from _fields(model, paths[0])


def _row(model: type[BaseModel], at: FieldPath) -> str:
    field = field_at(model, at)
    assert field is not None, at
    wanted = takes(model, at).removesuffix(" or null")  # which TOML does not have
    cells = (f"`{at[-1]}`", wanted, _default(field), _plain_text(field.description))
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return "" if value is None else f"`{json.dumps(value, default=str)}`"


def _plain_text(text: str | None) -> str:
    return " ".join((text or "").split())
