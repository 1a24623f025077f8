"""A mistake that needs no model is told before torch is imported, which takes seconds."""

import json
import subprocess
import sys

import pytest

MISTAKES = {
    "evaluate --mode nonsense": "'nonsense' is not one of 'score', 'generate'",
    "evaluate --set training=1": "unknown key 'training'",
    "evaluate --model-name nowhere --data-file embedded": "model 'nowhere': no such folder",
    "evaluate --adapter nowhere --data-file embedded": "adapter folder nowhere: no such folder",
    "evaluate --data-file nowhere.csv": "data file 'nowhere.csv': no such name",
    "evaluate": "no canned_50_quick.jsonl",
    "evaluate --data-file embedded --groups nowhere": "groups: unknown 'nowhere'",
    "evaluate --data-file embedded --prompt-template nowhere": "prompt template 'nowhere'",
    "evaluate --data-file embedded --engine openai --base-url http://h/v1 --model-name m "
    "--with-base": "a server has no adapter to switch off",
    "evaluate --base-url http://h/v1": "--base-url needs --engine openai",
    "train --set training.epochs=x": "training.epochs",
    "train --set model.name=nowhere": "model 'nowhere': no such folder",
    "train --set data.train_file=nowhere.jsonl": "data file 'nowhere.jsonl': no such name",
    "train --set data.train_file=unified": "held out for evaluation",
    "train --set data.train_file=embedded --set data.validation_file=nowhere.jsonl": "or null",
    "predict nowhere.csv --output out.csv": "data file 'nowhere.csv': no such name",
    "predict posts.csv --output out.xls": "out.xls",
    "predict posts.csv --output out.csv --model-name nowhere": "model 'nowhere': no such folder",
    "gate nowhere": "nowhere: no such run folder",
    "gate nowhere --set nonsense=1": "nonsense",
    "report nowhere": "nowhere: no such run folder",
    "compare nowhere nowhere": "nowhere: no such run folder",
    "threshold nowhere nowhere": "nowhere: no such run folder",
    "plan --set training.epochs=x": "training.epochs",
    "plan --model nowhere": "model 'nowhere': no such folder",
    "merge --adapter-path nowhere --output-dir out": "adapter folder nowhere: no such folder",
    "merge --adapter-path here --base-model nowhere --output-dir out": "model 'nowhere'",
    "import nowhere.csv --data-file embedded": "nowhere.csv: no such file",
}  # fmt: skip
"""Arguments of `hsd` -> words of the error."""

ALL = """
import json, sys, click
from hsd.errors import HsdError
from jobs.cli import hsd

for line in json.load(sys.stdin):
    try:
        hsd.main(line.split(), prog_name="hsd", standalone_mode=False)
        said = "no error"
    except HsdError as error:
        said = str(error)
    except click.ClickException as error:
        said = error.format_message()
    heavy = sorted({"torch", "transformers", "peft", "sklearn", "scipy"} & sys.modules.keys())
    print(json.dumps([line, said, heavy]), flush=True)
    if heavy:
        break  # what comes next could not be told apart
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[str]]]:
    """Return what each mistake was answered with, and the heavy libraries that were there."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "posts.csv").write_text("text\nthe library opens at nine\n")
    (folder / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ALL],
        input=json.dumps(list(MISTAKES)),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["here", "posts.csv"]
    return {line: (said, heavy) for line, said, heavy in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_torch_is_imported(
    mistake: str, answers: dict[str, tuple[str, list[str]]]
) -> None:
    said, heavy = answers[mistake]
    assert heavy == []
    assert MISTAKES[mistake] in said
