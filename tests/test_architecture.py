"""The floors of CONTRIBUTING.md: who may import whom. Imports inside functions count too."""

import ast
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for folder in ("hsd", "containers", "slurm", "jobs")
    for file in sorted((ROOT / folder).rglob("*.py"))
}
ROOMS = {"hsd": 0, "containers": 1, "slurm": 2, "jobs": 3}
FLOORS = {
    "errors": 0,
    "secrets": 0,
    "visible": 0,
    "config": 1,
    "runs": 1,
    "digests": 2,
    "progress": 1,
    "logs": 1,
    "checks": 1,
    "deadline": 1,
    "stopping": 1,
    "lease": 2,
    "record": 2,
    "data": 2,
    "embedded": 2,
    "prompts": 2,
    "metrics": 2,
    "report": 2,
    "model": 3,
    "training": 4,
    "inference": 4,
}
HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "accelerate"}
MAY_BE_HEAVY = {"hsd.model", "hsd.training", "hsd.inference"}
NO_TORCH = {"hsd.training.convergence", "hsd.training.history", "hsd.training.curves"}
ONLY_IN = {"click": "jobs", "rich": "jobs", "submitit": "slurm"}
MAY_PARSE_JSON = {
    "hsd.runs": "the one reader of files",
    "hsd.config.loading": "a value that was typed",
    "hsd.data.chat_rows": "an answer",
    "hsd.data.class_names": "a column's note in a table",
    "hsd.data.identity_swap": "a row as text",
    "hsd.data.json_rows": "rows, of which each bad one is told",
    "hsd.data.printed_values": "a cell",
    "hsd.evaluation.evaluation_run": "what another process said",
    "hsd.model.own_tokenizer": "a tokenizer that was read",
    "hsd.prompts.answers": "a reply",
    "hsd.prompts.special_tokens": "a tokenizer that was read",
    "hsd.io.lease": "who works in a folder",
    "slurm.watch.stage_progress": "the end of a log",
    "slurm.node.events": "on the host",
    "slurm.sweep.plan": "a value to be typed",
    "slurm.run.submissions": "whose run it is",
    "slurm.node.supervisor": "on the host",
}
"""Who parses JSON beside `hsd.runs.read_json`, and what: no file of a run, an adapter or a base."""
ON_THE_HOST = tuple(
    f"slurm.{name}"
    for name in ("supervisor", "payload", "attempts", "descendants", "requeue", "whereabouts")
)


def imported(nodes: list[ast.AST]) -> set[str]:
    """Full dotted names; `from hsd.data import example` is the module when there is one."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in FILES} or {str(node.module)}
    return names


def imports(module: str) -> set[str]:
    return imported(list(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8")))))


def parts(name: str, n: int) -> str:
    return ".".join(name.split(".")[:n])


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_from_its_own_floor_or_below(module: str) -> None:
    room, floor = parts(module, 1), FLOORS.get((*module.split("."), "")[1], 0)
    for name in imports(module):
        if parts(name, 1) in ROOMS:
            assert ROOMS[parts(name, 1)] <= ROOMS[room], f"{module} imports {name}"
        if room == "hsd" and name.startswith("hsd.") and module != "hsd":
            assert FLOORS[name.split(".")[1]] <= floor, f"{module} imports {name}"


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
    for module in ON_THE_HOST:
        assert {parts(name, 1) for name in imports(module) - set(ON_THE_HOST)} <= allowed, module


def test_files_of_json_are_read_in_one_place() -> None:
    """Which says in one line what is wrong with them; the library's own errors are many."""
    parse = re.compile(r"json\.loads?\(|JSONDecoder\(")
    found = {name for name, file in FILES.items() if parse.search(file.read_text("utf-8"))}
    assert found == MAY_PARSE_JSON.keys()


def test_imports_have_no_circles() -> None:
    TopologicalSorter({m: imports(m) & FILES.keys() for m in FILES}).prepare()


def test_every_room_of_hsd_has_a_floor_and_no_file_a_forbidden_name() -> None:
    rooms = {module.split(".")[1] for module in FILES if module.startswith("hsd.")}
    assert rooms == FLOORS.keys()
    last = {word for module in FILES for word in module.split(".")[-1].split("_")}
    assert not last & {"utils", "common", "helpers", "manager", "handler"}
