"""The reference pages of docs/ say what click, the models and the docstrings say."""

import os
import tomllib
from pathlib import Path

import pytest

from docs.reference import MODELS, PAGES, page, reference
from hsd.config.fields import field_at, leaf_paths
from hsd.config.strict import Strict, Text
from jobs.cli import COMMANDS, OLD_NAMES
from slurm.sweep.sweep import load_sweep

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_model_says_golden(name: str) -> None:
    file = DOCS / name
    if os.environ.get("HSD_ACCEPT_GOLDEN"):
        file.write_text(page(name), encoding="utf-8")
    assert page(name) == file.read_text(encoding="utf-8"), "look at it, then `make golden`"


@pytest.mark.parametrize("name", MODELS)
def test_every_field_has_a_row_that_explains_it(name: str) -> None:
    _, model = MODELS[name]
    text = reference(model)
    for path in leaf_paths(model):
        field = field_at(model, path)
        assert field is not None
        assert field.description, path
        assert f"| `{path[-1]}` | " in text
        assert " ".join(field.description.split()) in text


def test_sections_of_the_same_fields_share_a_table() -> None:
    class Part(Strict):
        """A part."""

        size: int | None = None
        """How big | how small."""

    class Whole(Strict):
        """A whole."""

        name: Text
        """What it is called."""
        left: Part = Part()
        """On the left."""
        right: Part = Part(size=3)

    assert reference(Whole).split("\n\n") == [
        "## At the top",
        "A whole.",
        "| key | takes | default | |\n| --- | --- | --- | --- |\n"
        "| `name` | a non-empty text | required | What it is called. |",
        "## `[left]`, `[right]`",
        "A part.",
        "- `[left]`: On the left.\n- `[right]`: ",
        "| key | takes | default | |\n| --- | --- | --- | --- |\n"
        "| `size` | a whole number |  | How big \\| how small. |\n",
    ]


def test_the_example_of_a_sweep_is_one_and_has_the_cells_that_the_page_names() -> None:
    text = page("sweeps.md")
    example = text.split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)["name"] == "ranks"
    Path("ranks.toml").write_text(example)
    Path("mine.toml").write_text('extends = "quick_test"\n')
    names = [cell.name for cell in load_sweep("ranks.toml")[1]]
    assert len(names) == 8
    assert f"eight cells, `{names[0]}` to `{names[-1]}`" in text


def test_the_page_of_commands_has_each_command_once_and_no_old_name() -> None:
    text = page("cli.md")
    for name in COMMANDS:
        assert text.count(f"### hsd {name}\n") == 1
    assert not any(f"hsd {old}" in text for old in OLD_NAMES)
