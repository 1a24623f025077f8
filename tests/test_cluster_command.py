"""`hsd cluster` and `hsd sweep`: what they print and where they write."""

import json
import os
from pathlib import Path

import pytest
import schemas
from click.testing import CliRunner, Result

from hsd.errors import PreflightError
from jobs.cluster import cluster
from jobs.sweep import sweep
from slurm.cluster.profile import default_profile, load_profile, profile_names
from slurm.sweep.sweep import sweep_names

SINFO = 'echo "gpu*|4|16|64000|gpu:a100:4|infinite|up"'


def ran(*arguments: str) -> str:
    group = {"cluster": cluster, "sweep": sweep}[arguments[0]]
    result = CliRunner().invoke(group, arguments[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def failed(*arguments: str) -> Result:
    return CliRunner().invoke(cluster, arguments)


def refusal(*arguments: str) -> str:
    result = failed(*arguments)
    assert isinstance(result.exception, PreflightError)
    return str(result.exception)


@pytest.fixture
def _slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put programs on PATH that print like SLURM's; sacctmgr is not permitted."""
    for name, body in {"sinfo": SINFO, "scontrol": "exit 0", "sacctmgr": "exit 1"}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("HSD_CLUSTER", raising=False)


@pytest.mark.usefixtures("_slurm")
def test_init_asks_the_cluster_that_the_shell_names_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "sinfo").write_text(f'#!/bin/sh\n[ "$1 $2" = "-M beta" ] && {SINFO}\n')
    monkeypatch.setenv("SLURM_CLUSTERS", "beta")
    ran("cluster", "init")
    profile = load_profile(default_profile())
    assert profile.slurm is not None
    assert (profile.slurm.cluster, profile.slurm.partition) == ("beta", "gpu")
    monkeypatch.setenv("SLURM_CLUSTERS", "alpha,beta")
    assert "a profile is of one cluster; name one" in refusal("init", "--force")


@pytest.mark.usefixtures("_slurm")
def test_init_writes_the_profile_that_is_used_from_then_on() -> None:
    said = ran("cluster", "init", "--shared_root", "/scratch/runs")
    file = Path.home() / ".config/hsd/cluster.toml"
    assert said == f"Written: {file}. Read it, then: hsd doctor\n"
    profile = load_profile(default_profile())
    assert profile.shared_root == Path("/scratch/runs")
    assert profile.slurm is not None
    assert profile.slurm.partition == "gpu"
    assert ran("cluster", "show") == file.read_text()


@pytest.mark.usefixtures("_slurm")
def test_init_under_a_name_makes_a_profile_of_that_name() -> None:
    assert ran("cluster", "init", "--name", "big").endswith("hsd doctor --cluster big\n")
    assert "big" in profile_names()
    listed = ran("cluster", "list")
    assert "~/.config/hsd" in listed


@pytest.mark.usefixtures("_slurm")
def test_init_writes_to_the_terminal_or_a_file_and_replaces_nothing_unasked() -> None:
    text = ran("cluster", "init", "--output", "-")
    assert not Path("-").exists()
    ran("cluster", "init", "--output", "sub/mine.toml")
    assert Path("sub/mine.toml").read_text() == text
    Path("sub/mine.toml").write_text("mine")
    assert refusal("init", "--output", "sub/mine.toml").startswith("sub/mine.toml exists already")
    assert Path("sub/mine.toml").read_text() == "mine"
    ran("cluster", "init", "--output", "sub/mine.toml", "--force")
    assert Path("sub/mine.toml").read_text() == text


def test_init_without_slurm_is_one_line_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal("init").startswith("sinfo: not found on this machine; ")
    assert not (Path.home() / ".config").exists()


def test_two_places_and_a_name_with_a_slash_are_refused() -> None:
    assert failed("init", "--name", "a", "--output", "b").exit_code == 2
    assert refusal("init", "--name", "../a").startswith("profile '../a': expected a name of")


def test_a_shipped_profile_is_shown_with_its_comments_or_resolved() -> None:
    text = ran("cluster", "show", "a100x4")
    assert "# CHANGE" in text
    Path("copy.toml").write_text(text)
    assert load_profile("copy.toml") == load_profile("a100x4")
    resolved = json.loads(ran("cluster", "show", "a100x4", "--format", "json"))
    assert resolved["stages"]["train"]["gpus"] == 4
    assert resolved["slurm"]["signal_seconds"] == 180


def test_the_list_has_every_profile_and_a_broken_one_hides_no_other() -> None:
    folder = Path.home() / ".config/hsd/clusters"
    folder.mkdir(parents=True)
    (folder / "broken.toml").write_text("x = 1\n")
    listed = ran("cluster", "list")
    assert all(name in listed for name in profile_names())
    assert "refused" in listed


def test_the_schemas_are_printed_as_json() -> None:
    assert schemas.refused(json.loads(ran("cluster", "schema")), {"shared_root": "x"}) == ""
    tree = {"name": "a", "presets": ["default"]}
    assert schemas.refused(json.loads(ran("sweep", "schema")), tree) == ""


def test_the_list_has_every_sweep() -> None:
    listed = ran("sweep", "list")
    assert all(name in listed for name in sweep_names())


def test_a_sweep_shows_what_all_cells_change_and_what_tells_them_apart() -> None:
    shown = ran("sweep", "show", "quick_cpu", "--set", "lora.alpha=8")
    head, _, table = shown.partition("cell ")
    assert head.startswith(
        "quick_cpu: 2 cells, evaluated on embedded, compared with the original model\n"
    )
    assert "In every cell:\ntraining.max_steps=10\n" in head
    assert "lora.alpha=8\n" in head
    assert "demo-rank=16" in table
    assert "lora.rank=16" in table
    assert "max_steps" not in table


def test_presets_are_told_apart_by_the_fields_in_which_they_differ() -> None:
    shown = ran("sweep", "show", "lora_presets")
    assert "training.learning_rate=0.0003" in shown
    assert "lora.dropout" not in shown
    assert "description" not in shown


def test_a_sweep_as_json_has_whole_configs() -> None:
    shown = json.loads(ran("sweep", "show", "seeds", "--format", "json", "--set", "seed=7"))
    assert [cell["name"] for cell in shown["cells"]] == ["default-seed=7"]
    assert shown["cells"][0]["config"]["seed"] == 7
    assert shown["sweep"]["name"] == "seeds"
