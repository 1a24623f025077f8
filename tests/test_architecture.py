"""The floors of CONTRIBUTING.md: who may import whom. Imports inside functions count too."""

import ast
import re
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for folder in ("hsd", "containers", "slurm", "jobs")
    for file in sorted((ROOT / folder).rglob("*.py"))
}
ROOMS = (
    "hsd", "hsd.io", "hsd.config", "hsd.groups", "hsd.hub", "hsd.prompts", "hsd.data",
    "hsd.metrics", "hsd.report", "hsd.model", "hsd.inference", "hsd.training", "hsd.evaluation",
    "hsd.predict",
    "containers",
    "slurm.node", "slurm.cluster", "slurm.run", "slurm.sweep", "slurm.watch", "slurm.submit",
    "slurm.check",
    "jobs.terminal", "jobs",
)  # fmt: skip
"""From the ground up: each room is a floor of its own, so no two can need each other."""
HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "accelerate"}
MAY_BE_HEAVY = {"hsd.model", "hsd.training", "hsd.inference", "hsd.evaluation", "hsd.predict"}
NO_TORCH = {
    "hsd.training.convergence", "hsd.training.history", "hsd.training.curves",
    "hsd.training.memory_need", "hsd.training.planned_devices", "hsd.training.time_range",
    "hsd.model.base_shape", "hsd.model.memory_parts", "hsd.evaluation.read_sets",
    "hsd.training.lesson", "hsd.training.row_facts", "hsd.training.training_files",
    "hsd.model.family_table", "hsd.model.lora_targets",
}  # fmt: skip
ONLY_IN = {"click": "jobs", "rich": "jobs", "submitit": "slurm"}
MAY_PARSE_JSON = {
    "hsd.io.json_reader": "the one reader of files",
    "hsd.io.run_identity": "an identity of today, as it would be read back",
    "hsd.config.loading": "a value that was typed",
    "hsd.data.chat_rows": "an answer",
    "hsd.data.class_names": "a column's note in a table",
    "hsd.data.json_rows": "rows, of which each bad one is told",
    "hsd.data.printed_values": "a cell",
    "hsd.evaluation.evaluation_run": "what another process said",
    "hsd.inference.vllm_worker": "what hsd asks, where no hsd is installed",
    "hsd.model.own_tokenizer": "a tokenizer that was read",
    "hsd.prompts.answers": "a reply",
    "hsd.prompts.special_tokens": "a tokenizer that was read",
    "hsd.io.lease": "who works in a folder",
    "slurm.node.events": "on the host",
    "slurm.sweep.plan": "a value to be typed",
    "slurm.run.submissions": "whose run it is",
    "slurm.node.supervisor": "on the host",
    "slurm.node.work_seen": "on the host",
}
"""Who parses JSON beside `read_json`, and what: no file of a run, an adapter or a base."""
MAY_BE_NAMED_ALIKE = {"evaluate", "merge", "prepare", "gate", "convergence", "sweep"}
"""Modules of hsd or slurm that a command of the same name calls."""


def imported(nodes: list[ast.AST]) -> set[str]:
    """Full dotted names; `from hsd.metrics import gate` is the module when there is one."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in FILES} or {str(node.module)}
    return names


@cache
def imports(module: str) -> set[str]:
    return imported(list(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8")))))


def parts(name: str, n: int) -> str:
    return ".".join(name.split(".")[:n])


def room_of(module: str) -> str:
    """The longest room that a module lies in; `hsd` and `jobs` have files of their own too."""
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


@pytest.mark.parametrize("module", [m for m in FILES if m not in {"hsd", "slurm"}])
def test_a_module_imports_from_its_own_room_or_one_below(module: str) -> None:
    floor = ROOMS.index(room_of(module))
    for name in imports(module) & FILES.keys():
        assert ROOMS.index(room_of(name)) <= floor, f"{module} imports {name}"


@pytest.mark.parametrize("module", FILES)
def test_heavy_and_terminal_libraries_stay_in_their_rooms(module: str) -> None:
    for name in {parts(name, 1) for name in imports(module)}:
        assert name not in HEAVY or parts(module, 2) in MAY_BE_HEAVY, f"{module}: {name}"
        assert module not in NO_TORCH or name not in HEAVY, f"{module}: {name}"
        assert parts(module, 1) == ONLY_IN.get(name, parts(module, 1)), f"{module}: {name}"


@pytest.mark.parametrize("module", [m for m in FILES if m.startswith("jobs.")])
def test_a_command_loads_torch_only_when_it_runs(module: str) -> None:
    body = ast.parse(FILES[module].read_text(encoding="utf-8")).body
    for name in imported(list(body)):
        assert parts(name, 2) not in MAY_BE_HEAVY or name in NO_TORCH, f"{module}: {name}"


def test_what_runs_on_the_host_needs_the_standard_library_and_submitit_alone() -> None:
    allowed = sys.stdlib_module_names | {"submitit"}
    for module in (m for m in FILES if m.startswith("slurm.node")):
        beside = {name for name in imports(module) if not name.startswith("slurm.node")}
        assert {parts(name, 1) for name in beside} <= allowed, module


def test_what_vllm_runs_in_needs_the_standard_library_and_vllm_alone() -> None:
    beside = {parts(name, 1) for name in imports("hsd.inference.vllm_worker")}
    assert beside <= sys.stdlib_module_names | {"vllm", "torch"}  # torch comes with vllm


def test_files_of_json_are_read_in_one_place() -> None:
    """Which says in one line what is wrong with them; the library's own errors are many."""
    parse = re.compile(r"json\.loads?\(|JSONDecoder\(")
    found = {name for name, file in FILES.items() if parse.search(file.read_text("utf-8"))}
    assert found == MAY_PARSE_JSON.keys()


def test_imports_have_no_circles() -> None:
    TopologicalSorter({m: imports(m) & FILES.keys() for m in FILES}).prepare()


def test_every_folder_is_a_room_and_no_file_has_a_forbidden_name() -> None:
    folders = {".".join(file.relative_to(ROOT).parent.parts) for file in FILES.values()}
    assert folders - {"slurm"} == {*ROOMS, "hsd.embedded"}
    last = {word for module in FILES for word in module.split(".")[-1].split("_")}
    assert not last & {"utils", "common", "helpers", "manager", "handler"}


def test_no_two_modules_have_one_name() -> None:
    """So that a name in a sentence, a traceback or a search is one thing."""
    stems = Counter(file.stem for file in FILES.values() if file.stem != "__init__")
    assert {stem for stem, count in stems.items() if count > 1} == MAY_BE_NAMED_ALIKE


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name
        for file in FILES.values()
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
