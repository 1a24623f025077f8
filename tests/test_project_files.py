"""What a stranger expects of an open-source project: the files parse, and name what exists."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

import hsd
from docs.site_links import with_absolute_links

ROOT = Path(__file__).parent.parent
YAML = (
    ".github/workflows/ci.yml",
    ".pre-commit-config.yaml",
    "CITATION.cff",
    "mkdocs.yml",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/ISSUE_TEMPLATE/wrong_result.yml",
    ".github/ISSUE_TEMPLATE/idea.yml",
    ".github/ISSUE_TEMPLATE/config.yml",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def loaded(name: str) -> Any:
    return yaml.safe_load(read(name))


@pytest.mark.parametrize("name", YAML)
def test_a_yaml_file_is_a_mapping(name: str) -> None:
    assert isinstance(loaded(name), dict)


@pytest.mark.parametrize("name", [name for name in YAML if "TEMPLATE" in name][:3])
def test_an_issue_form_has_what_its_host_needs(name: str) -> None:
    form = loaded(name)
    assert form["name"]
    assert form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids)) >= 2
    assert all(part["attributes"]["label"] for part in form["body"])


def test_ci_calls_only_targets_that_exist() -> None:
    jobs = loaded(".github/workflows/ci.yml")["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = {word for run in runs for word in re.findall(r"^make (\S+)", run, re.MULTILINE)}
    targets = re.findall(r"^([\w -]+):", read("Makefile"), flags=re.MULTILINE)
    assert {"check", "fast", "test"} <= called
    assert called <= {target for line in targets for target in line.split()}


def test_ci_tests_from_the_oldest_python_that_is_supported() -> None:
    versions = loaded(".github/workflows/ci.yml")["jobs"]["fast"]["strategy"]["matrix"]["python"]
    assert tomllib.loads(read("pyproject.toml"))["project"]["requires-python"] == ">=3.11"
    assert versions == ["3.11", "3.12", "3.13"]


def test_the_hooks_before_a_commit_are_those_of_make_check() -> None:
    hooks = loaded(".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy"]
    programs = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert all(f"$(BIN)/{program}" in read("Makefile") for program in programs)


def test_mypy_checks_every_package_and_the_tests() -> None:
    checked = tomllib.loads(read("pyproject.toml"))["tool"]["mypy"]["files"]
    assert set(checked) == {file.parent.name for file in ROOT.glob("*/__init__.py")} | {"tests"}


def test_every_page_is_in_the_menu_of_the_site_once() -> None:
    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry if isinstance(entry, list) else entry.values()
        return [page for part in parts for page in pages(part)]

    listed = pages(loaded("mkdocs.yml")["nav"])
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(f.relative_to(docs)) for f in docs.rglob("*.md"))


def test_the_site_asks_no_other_host_for_fonts() -> None:
    assert loaded("mkdocs.yml")["theme"]["font"] is False


def test_a_link_out_of_the_pages_leads_to_the_repository() -> None:
    page = "[a](../EXPERIMENTS.md#x), [b](data.md), [c](../benchmarks/README.md)"
    assert with_absolute_links(page, "https://h/b") == (
        "[a](https://h/b/EXPERIMENTS.md#x), [b](data.md), [c](https://h/b/benchmarks/README.md)"
    )


def test_the_development_container_is_built_from_a_stage_and_a_lock_that_exist() -> None:
    build = json.loads(read(".devcontainer/devcontainer.json"))["build"]
    assert f" AS {build['target']}\n" in read("Dockerfile")
    assert (ROOT / "containers" / "locks" / f"{build['args']['VARIANT']}.txt").is_file()


def test_one_version_stands_everywhere() -> None:
    newest = re.findall(r"^## (\d+\.\d+\.\d+) - (\S+)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    citation = loaded("CITATION.cff")
    assert newest[0] == (hsd.__version__, str(citation["date-released"]))
    assert citation["version"] == hsd.__version__


def test_every_extra_is_pinned() -> None:
    lines = read("containers/constraints.txt").splitlines()
    pins = {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    assert {"bench", "dev", "docs"} <= extras.keys()
    assert {canonicalize_name(name) for names in extras.values() for name in names} <= pins
