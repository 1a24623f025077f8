"""The public API: its page, its example, and that it costs nothing until it is used."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import hsd

ROOT = Path(__file__).parent.parent


def test_every_public_name_can_be_imported_and_has_a_docstring() -> None:
    for name in hsd.__all__:
        assert getattr(hsd, name).__doc__
    assert set(hsd.__all__) <= set(dir(hsd))


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = hsd.trian


def test_importing_hsd_loads_no_heavy_library() -> None:
    code = "import sys, hsd; sys.exit(bool({'torch', 'pydantic', 'click'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.e2e
def test_the_example_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs" / "api_example.py"))
    said = capsys.readouterr().out
    assert "AUROC" in said
    assert said.strip().splitlines()[-1] in {"PASS", "FAIL", "UNDERPOWERED"}
    assert (tmp_path / "runs" / "api" / "train" / "adapter_model.safetensors").is_file()
