"""What README and the pages of docs/ say exists."""

import re
from pathlib import Path

import pytest

from hsd import errors
from hsd.config.loading import load_train_config, preset_names
from hsd.prompts.template import load_template, shipped_templates
from jobs.cli import COMMANDS, OLD_NAMES

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    str(file.relative_to(ROOT))
    for folder in ("", "docs", "benchmarks", "containers")
    for file in sorted((ROOT / folder).glob("*.md"))
)
GENERATED = ("docs/cli.md", "docs/profiles.md", "docs/sweeps.md", "benchmarks/RESULTS.md")
"""Written by programs, not by hand."""
README = (ROOT / "README.md").read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/training.md", "containers/README.md"} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", words_of(page))
    here = (ROOT / page).parent
    assert not [link for link in links if "://" not in link and not (here / link).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_heading_leads_to_one(page: str) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", words_of(page)):
        other = (ROOT / page).parent / link if link else ROOT / page
        headings = re.findall(r"^#+ (.+)$", other.read_text("utf-8"), flags=re.MULTILINE)
        assert anchor in {as_anchor(heading) for heading in headings}, f"{link}#{anchor}"


def as_anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_shown_exists(page: str) -> None:
    text = words_of(page)
    blocks = "".join(re.findall(r"^```\n.*?^```$", text, flags=re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"^(?:\$ )?hsd (\w+)", blocks, flags=re.MULTILINE)) <= COMMANDS.keys()
    assert set(re.findall(r"`hsd (\w+)", text)) <= COMMANDS.keys() | OLD_NAMES.keys() | {
        "COMMAND",
        "HSD_ARGUMENTS",
    }
    targets = set(re.findall(r"^make ([\w-]+)", text, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^([\w-]+ )*{target}( [\w-]+)*:", makefile, flags=re.MULTILINE)
               for target in targets)  # fmt: skip


@pytest.mark.parametrize("page", sorted({*PAGES} - {*GENERATED}))
def test_no_line_is_longer_than_a_screen(page: str) -> None:
    """What a command printed stands as it was printed, and a table's row cannot be broken."""
    prose = re.sub(r"```.*?```", "", words_of(page), flags=re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []


def test_readme_shows_a_picture_that_loads_at_once() -> None:
    (picture,) = re.findall(r"^!\[.+\]\((.+\.png)\)$", README, flags=re.MULTILINE)
    assert 10_000 < (ROOT / picture).stat().st_size < 250_000


def test_readme_leads_to_every_page_of_docs() -> None:
    pages = {f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")} - {"docs/index.md"}
    assert pages <= set(re.findall(r"\]\((docs/[\w.]+)\)", README))


def test_the_table_of_presets_is_true() -> None:
    row = r"^\| `(\w+)` \| (\d+), (\d+) \| .*? \| (\S+) \| (\S+) \| (\d+)"
    rows = re.findall(row, words_of("docs/training.md"), flags=re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(preset_names())
    for name, rank, alpha, rate, epochs, rows_a_step in rows:
        config = load_train_config(name)
        training = config.training
        assert (int(rank), int(alpha)) == (config.lora.rank, config.lora.alpha), name
        assert (float(rate), float(epochs)) == (training.learning_rate, training.epochs), name
        assert int(rows_a_step) == training.batch_size * training.accumulation, name


def test_the_table_of_prompts_names_every_strategy() -> None:
    row = r"^\| `([\w/]+)` \| `(\w+)` \|"
    rows = re.findall(row, words_of("docs/prompts.md"), flags=re.MULTILINE)
    shipped = [
        (name, key) for name in shipped_templates() for key in load_template(name).strategies
    ]
    assert sorted(rows) == sorted(shipped)


def test_every_exit_code_is_documented() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.HsdError)} - {1}
    section = words_of("docs/cli.md").split("## Exit codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, flags=re.MULTILINE)
    assert codes <= {int(number) for row in rows for number in row.split(", ")}


def test_every_folder_in_the_tree_exists() -> None:
    tree = words_of("CONTRIBUTING.md").split("## Repository layout")[1].split("```")[1]
    folders = re.findall(r"^(\w+)/", tree, flags=re.MULTILINE)
    assert len(folders) == 7
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_every_page_speaks_of_no_machine() -> None:
    pages = [p for p in ROOT.rglob("*.md") if ".venv" not in p.parts]
    assert pages
    assert not [p for p in pages if re.search(r"/(?:work|root|home)/", p.read_text("utf-8"))]
