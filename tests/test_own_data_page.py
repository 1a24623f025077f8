"""Every command and every option that docs/own_data.md shows does what the page says."""

import json
import re
import shlex
from itertools import cycle, product
from pathlib import Path

import pandas
import pytest
from click.testing import CliRunner

from hsd.data.prepared_files import FILES
from hsd.io.json_reader import read_object
from jobs.cli import hsd

PAGE = (Path(__file__).parent.parent / "docs/own_data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(block.replace("\\\n", " ")) for block in BLOCKS if block.startswith("hsd ")]
OPTIONS = re.findall(r"^\| (`.+`) \| `(--label.+)` \|$", PAGE, flags=re.MULTILINE)
WORDS = ("soup", "rain", "moss", "clay", "fern", "lamp", "gate", "boat", "drum", "kite")


def run(arguments: list[str]) -> str:
    result = CliRunner().invoke(hsd, arguments)
    assert result.exit_code == 0, f"{arguments}: {result.exception} {result.output}"
    return result.output


def write_posts() -> None:
    """Write posts.csv with the page's columns, labels and groups, and enough posts to train."""
    (shown,) = [block for block in BLOCKS if block.startswith("body,")]
    header, *lines = shown.splitlines()
    endings = cycle(line.partition(",")[2] for line in lines)
    posts = (" ".join(words) for words in product(WORDS, WORDS[::-1], ("here", "there")))
    rows = [f"{post},{ending}\n" for post, ending in zip(posts, endings, strict=False)]
    Path("posts.csv").write_text(f"{header}\n" + "".join(rows))


def write_groups() -> None:
    (shown,) = [block for block in BLOCKS if block.startswith("[groups.")]
    Path("groups.toml").write_text(shown)


def test_the_page_goes_from_a_file_to_a_report_and_to_labels_for_new_posts() -> None:
    assert [command[1] for command in COMMANDS] == [
        "data", "prepare", "train", "evaluate", "predict",
    ]  # fmt: skip
    assert len(OPTIONS) == 7


@pytest.mark.model
def test_every_command_of_the_page_works_one_after_the_other(tiny_llama: Path) -> None:
    write_posts()
    write_groups()
    Path("new_posts.csv").write_text("body,source\nrain here,a\n,b\nsoup there,a\n")
    tiny = [f"model.name={tiny_llama}", "training.epochs=1", "training.warmup_steps=0"]
    for _, *arguments in COMMANDS:
        small = [word for one in tiny for word in ("--set", one)]
        run(arguments + (small if arguments[0] == "train" else []))
    assert (Path("runs/own") / "adapter_model.safetensors").is_file()
    (report,) = Path("runs/own/eval").glob("run_*/report.html")
    read = read_object(report.parent / "manifest.json")
    test_rows = Path(f"data/own/unified/{FILES['test']}.jsonl").read_text().splitlines()
    assert read["data"]["rows"] == len(test_rows)
    assert read["groups"]["groups"]["mexican"] == {"parent": "immigrants"}
    counted = read_object(report.parent / "report.json")["groups"]
    assert {"lgbtq", "immigrants", "mexican"} <= counted.keys()
    new = Path("scores.csv").read_text().splitlines()
    assert len(new) == 4
    assert new[0].startswith("body,source,hsd_score")
    assert {json.loads(row)["label_multiclass"] for row in test_rows} <= {"fine", "rude", "threat"}


@pytest.mark.parametrize(("labels", "options"), OPTIONS)
def test_labels_of_the_table_are_read_with_the_options_beside_them(
    labels: str, options: str
) -> None:
    arguments = shlex.split(options)
    columns = [w for n, w in enumerate(arguments) if n and arguments[n - 1] == "--label-column"]
    cells = re.findall(r"`([^`]+)`", labels)
    rows = [{"text": f"{word} {n}"} for n, word in enumerate((*WORDS, *WORDS))]
    for column in columns or ["label"]:
        for row, cell in zip(rows, cycle(cells), strict=False):
            row[column] = cell
    pandas.DataFrame(rows).to_csv("own.csv", index=False)
    said = run(["data", "check", "own.csv", *arguments])
    assert "ERROR" not in said
    assert ("are left out: label" in said) == ("drop=" in options)
    assert ("posts are hate." in said) == bool(re.search("cut|votes|second", options))
