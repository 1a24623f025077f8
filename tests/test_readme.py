"""What README says exists."""

import re
from pathlib import Path

import pytest

from hsd import errors
from hsd.config.loading import load_train_config, preset_names
from jobs.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "EXPERIMENTS.md", "SECURITY.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_command_shown_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = set(re.findall(r"^\s*(?:\$ )?hsd (\w+)", text, flags=re.MULTILINE))
    assert shown <= COMMANDS.keys()
    targets = set(re.findall(r"^make ([\w-]+)", text, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_the_table_of_presets_is_true() -> None:
    row = r"^\| `(\w+)` \| (\d+), (\d+) \| .*? \| (\S+) \| (\S+) \| (\d+)"
    rows = re.findall(row, README, flags=re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(preset_names())
    for name, rank, alpha, rate, epochs, rows_a_step in rows:
        config = load_train_config(name)
        training = config.training
        assert (int(rank), int(alpha)) == (config.lora.rank, config.lora.alpha), name
        assert (float(rate), float(epochs)) == (training.learning_rate, training.epochs), name
        assert int(rows_a_step) == training.batch_size * training.accumulation, name


def test_every_exit_code_is_documented() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.HsdError)} - {1}
    paragraph = README[README.index("Exit codes:") :].split("\n\n")[0]
    assert codes <= {int(number) for number in re.findall(r"\b\d+\b", paragraph)}


def test_every_folder_in_the_tree_exists() -> None:
    tree = README[README.index("## The house") :].split("```")[1]
    folders = re.findall(r"^(\w+)/", tree, flags=re.MULTILINE)
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_every_page_speaks_of_no_machine() -> None:
    pages = [p for p in ROOT.rglob("*.md") if ".venv" not in p.parts]
    assert pages
    assert not [p for p in pages if re.search(r"/(?:work|root|home)/", p.read_text("utf-8"))]
