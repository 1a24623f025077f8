"""`hsd submit` of a command whose model is not there: said before a job waits hours to say so."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_runs
import sweep_bench
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd

from hsd.config.model_config import ModelConfig
from hsd.hub.base_models import fetch_words
from hsd.io.json_reader import read_json
from jobs.status import status
from jobs.submit import submit
from jobs.terminal.model_asked import fetched_by

ON = ("--cluster", "here.toml", "--name", "one")
ROWS = ("--data-file", "posts.jsonl", "--output-dir", "out")
PROFILE = 'shared_root = "runs"\n{more}[slurm]\naccount = "hsd"\n'


@pytest.fixture(autouse=True)
def _bench(fake: Fake) -> None:
    fake.fault(slots=0)
    small_runs.jsonl(Path("posts.jsonl"), small_runs.posts(4))
    sweep_bench.base_folder()
    sweep_bench.adapter_folder("runs/default", "base")
    sweep_bench.adapter_folder("elsewhere", "/another/machine/base")
    Path("here.toml").write_text(PROFILE.format(more=""))


def asked(kind: str, *model: str) -> tuple[str, ...]:
    """Return a command that answers four posts, or merges."""
    rows = {"evaluate": ROWS, "predict": ("posts.jsonl", "--output", "scores.csv")}
    return (kind, *rows.get(kind, ("--output-dir", "out")), *model)


@pytest.mark.parametrize("kind", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (("--model-name", "bsae"), "base bsae: no such folder (Did you mean 'base'?)."),
        (("--model-name", "./x/y"), "base ./x/y: no such folder (give a folder, owner/name or"),
        (("--model-name", "runs/defualt"), "nodes are offline (Did you mean 'default'? Or run `hs"),
        (
            ("--model-name", "a/b"),
            "nodes are offline (run `hsd fetch a/b` where the hub can be",
        ),
        (
            ("--model-name", "base", "--adapter", "runs/defualt"),
            "adapter folder runs/defualt: no such folder. Did you mean 'default'?",
        ),
        (("--model-name", "base", "--adapter", "base"), "base: no adapter here (adapter_config.js"),
        (("--model-name", "elsewhere"), "base /another/machine/base: no such folder"),
        (("--adapter", "elsewhere"), "base /another/machine/base: no such folder"),
    ],
)
def test_a_model_that_the_job_would_not_find_is_refused_before_the_submission(
    hsd: Hsd, fake: Fake, kind: str, model: tuple[str, ...], said: str
) -> None:
    code, _, err = hsd(submit, *asked(kind, *model), *ON)
    assert code != 0
    assert said in err
    assert not fake.jobs()
    assert not Path("runs/one").exists()


@pytest.mark.parametrize(
    "command",
    [
        asked("evaluate", "--model-name", "base"),
        asked("evaluate", "--model-name", "runs/default"),
        asked("evaluate", "--model-name", "base", "--adapter", "elsewhere"),
        asked("predict", "--adapter", "runs/default"),
        asked("merge", "--adapter-path", "elsewhere", "--base-model", "base"),
        asked("evaluate", "--engine=openai", "--base-url=http://x/v1", "--model-name=served"),
    ],
)
def test_a_model_that_is_there_or_on_a_server_is_submitted(
    hsd: Hsd, fake: Fake, command: tuple[str, ...]
) -> None:
    code, _, err = hsd(submit, *command, *ON)
    assert code == 0, err
    assert len(fake.jobs()) == 1


def test_a_merge_and_a_training_are_refused_in_the_same_way(hsd: Hsd, fake: Fake) -> None:
    code, _, err = hsd(submit, *asked("merge", "--adapter-path", "runs/defualt"), *ON)
    assert code != 0
    assert "adapter folder runs/defualt: no such folder. Did you mean 'default'?" in err
    small_runs.jsonl(Path("train.jsonl"), small_runs.posts(8))
    tree = small_runs.config(Path("bsae"), Path.cwd()).model_dump(mode="json")
    Path("tiny.json").write_text(json.dumps(tree))
    code, _, err = hsd(submit, "train", "--config", "tiny.json", *ON)
    assert code != 0
    assert "base bsae: no such folder (Did you mean 'base'?)." in err
    assert not fake.jobs()


@pytest.mark.parametrize("model", ["new", "runs/new", "bsae"])
def test_a_model_that_another_job_may_make_is_only_said_to_be_missing(
    hsd: Hsd, fake: Fake, model: str
) -> None:
    hsd(submit, *asked("evaluate", "--model-name", "base"), *ON[:3], "first")
    first = str(fake.jobs()[0]["id"])
    code, out, err = hsd(submit, *asked("evaluate", "--model-name", model), "--after", first, *ON)
    assert code == 0, err
    assert f"Not here yet, so the model was not checked: base {model}: " in out


def test_a_container_sees_the_base_of_an_adapter(hsd: Hsd, tmp_path: Path) -> None:
    base = sweep_bench.base_folder(str(tmp_path / "bases"))
    sweep_bench.adapter_folder("tuned", str(base))
    code, _, err = hsd(submit, *asked("evaluate", "--model-name", "tuned"), *ON)
    assert code == 0, err
    assert str(base) in read_json(Path("runs/one/run.json"))["seen"]


def test_with_internet_a_name_like_a_folder_here_is_doubted(hsd: Hsd, fake: Fake) -> None:
    Path("here.toml").write_text(PROFILE.format(more="compute_internet = true\n"))
    code, out, err = hsd(submit, *asked("evaluate", "--model-name", "runs/defualt"), *ON)
    assert code == 0, err
    assert "base runs/defualt: no such folder, so it is taken for a model of the hub (Did " in out
    assert len(fake.jobs()) == 1


def failed_offline(folder: Path) -> None:
    """Let the job end because its model is not in the cache."""
    with store.changed() as queue:
        (job,) = queue["jobs"]
        store.finish(job["elements"][0], "FAILED", "1:0")
    log = folder / f"submissions/001/evaluate/{job['id']}_0_0_log.err"
    log.write_text("LocalEntryNotFoundError: Cannot find the requested files\n")


def test_status_of_a_single_job_names_the_model_to_fetch(hsd: Hsd) -> None:
    Path("here.toml").write_text(PROFILE.format(more="compute_internet = true\n"))
    assert hsd(submit, *asked("evaluate", "--model-name", "owner/name"), *ON)[0] == 0
    failed_offline(Path("runs/one"))
    assert "hsd fetch owner/name\n" in hsd(status, "one")[1]


def test_what_is_fetched_is_the_base_of_an_adapter_at_its_revision() -> None:
    adapter = sweep_bench.adapter_folder("tuned", "owner/name")
    manifest: dict[str, Any] = {"base": {"name": "owner/name", "revision": "abc"}}
    (adapter / "manifest.json").write_text(json.dumps(manifest))
    facts = {"kind": "evaluate", "cwd": str(Path.cwd())}
    found = fetched_by(facts | {"arguments": ["--model-name", "tuned"]})
    assert found == "owner/name --set model.revision=abc"
    assert fetched_by(facts | {"arguments": ["--model-name", "base"]}) == "MODEL"
    assert fetched_by(facts | {"arguments": ["--nonsense"]}) == "MODEL"
    assert fetch_words(ModelConfig(name="a/b", cache_dir=Path("my cache"))).endswith(
        "--set 'model.cache_dir=my cache'"
    )


def test_looking_at_an_adapter_loads_no_torch() -> None:
    code = (
        "import sys; from slurm.check.checks_models import ModelAsked, model_checks;"
        "from pathlib import Path; from hsd.config.model_config import ModelConfig;"
        "assert ModelAsked(ModelConfig(name='runs/default')).base.name == 'base';"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
