"""The names of everything below a run's folder, and finding that folder again."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError, did_you_mean
from hsd.io.json_reader import read_object
from hsd.io.provenance import now
from hsd.io.run_identity import set_name
from slurm.node.events import append_line, read_lines
from slurm.run.submissions import SUBMISSIONS

LAST = "last"
BASELINE = "baseline"
"""The cell of the untouched base, and the name of its stage."""
ALL = "all"
"""The pseudo cell of the comparison, which is of all cells."""
RUN_JSON = "run.json"
_LINK = re.compile(r"([-.]\d+)+$")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run of a sweep, by the folder that is its only database."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is the sweep's."""
        return self.path.name

    @property
    def run_json(self) -> Path:
        """Sweep, profile and cells, resolved; written once, before anything is submitted."""
        return self.path / RUN_JSON

    @property
    def submissions(self) -> Path:
        """A line for each job that SLURM accepted."""
        return self.path / SUBMISSIONS

    @property
    def code(self) -> Path:
        """Snapshots of the code, a folder for each hash."""
        return self.path / "code"

    @property
    def cells(self) -> Path:
        """A folder for each cell, `baseline` and `all` included."""
        return self.path / "cells"

    @property
    def comparison(self) -> Path:
        """The comparison of all cells, without the .md and .json of its two files."""
        return self.path / "comparison"

    @property
    def comparison_md(self) -> Path:
        """The comparison of all cells, to read."""
        return self.path / "comparison.md"

    def cell(self, name: str) -> Path:
        """Everything of one cell."""
        return self.cells / name

    def config(self, cell: str) -> Path:
        """The cell's resolved training config."""
        return self.cell(cell) / "config.json"

    def identity(self, cell: str) -> Path:
        """What the cell's content hash is made of."""
        return self.cell(cell) / "identity.json"

    def train(self, cell: str) -> Path:
        """The output_dir of `hsd train`."""
        return self.cell(cell) / "train"

    def merged(self, cell: str) -> Path:
        """The output_dir of `hsd merge`."""
        return self.cell(cell) / "merged"

    def evaluate(self, cell: str, data_file: str) -> Path:
        """The output_dir of `hsd evaluate` on one set."""
        return self.cell(cell) / "evaluate" / set_name(data_file)

    def attempts(self, cell: str, stage: str) -> Path:
        """The supervisor's events; train and train-2 (a chain's second) share them."""
        return self.cell(cell) / "attempts" / f"{whole_stage(stage)}.jsonl"

    def done(self, cell: str, stage: str) -> Path:
        """The marker that is written last; train and train-2 (a chain's second) share it."""
        return self.cell(cell) / f"{whole_stage(stage)}.done.json"

    def submission(self, number: int, stage: str) -> Path:
        """Script, pickles and logs of one stage of one submission."""
        return self.path / "submissions" / f"{number:03d}" / stage

    def log(self, number: int, stage: str, element: str, stream: str = "out") -> Path:
        """The log of an array element such as 123_0, by the name that submitit gives it."""
        return self.submission(number, stage) / f"{element}_0_log.{stream}"

    def facts(self) -> dict[str, Any]:
        """Return run.json. Raises PreflightError when it is absent or not JSON."""
        return read_object(self.run_json)

    def cell_names(self) -> list[str]:
        """Return the cells of the sweep, in its order, without `baseline` and `all`."""
        cells = self.facts().get("cells", [])
        return [cell["name"] if isinstance(cell, dict) else str(cell) for cell in cells]


def whole_stage(name: str) -> str:
    """Return the stage that an array is a part of: train for `train-2`, evaluate for `evaluate.2`.

    `-2` is the second attempt of a chain, `.2` the array of the cells that need no training.
    """
    return _LINK.sub("", name)


def remember(folder: Path) -> None:
    """Write down that this run exists, so that its name or `last` finds it from anywhere."""
    append_line(_memory(), {"path": str(folder.absolute()), "at": now()})


def find_run(wanted: str, roots: Iterable[Path] = ()) -> RunFolder:
    """Return the run of a name, a path or `last`, the newest that `hsd run` made.

    A name is looked for in `roots`, then among the runs written down. Raises PreflightError with
    near names when there is none.
    """
    remembered = _remembered()
    if wanted == LAST:
        if not remembered:
            raise PreflightError("last: no run was started by `hsd run` yet; name its folder.")
        return RunFolder(remembered[-1])
    roots = list(dict.fromkeys([*roots, Path("runs"), *(p.parent for p in reversed(remembered))]))
    for path in (Path(wanted).expanduser(), *(root / wanted for root in roots)):
        if (path / RUN_JSON).is_file():
            return RunFolder(path.absolute())
    raise PreflightError(_not_found(wanted, [*_inside(roots), *(p.name for p in remembered)]))


def split_target(target: str, roots: Iterable[Path] = ()) -> tuple[RunFolder, list[str]]:
    """Return the run and what follows it in RUN, RUN/CELL or RUN/CELL/STAGE; RUN may be a path.

    Raises PreflightError when no run is found, or it has no such cell.
    """
    parts = target.rstrip("/").split("/")
    roots = list(roots)
    for kept in range(len(parts), max(len(parts) - 3, 0), -1):
        try:
            run = find_run("/".join(parts[:kept]) or "/", roots)
        except PreflightError:
            continue
        _require_cell(run, parts[kept:])
        return run, parts[kept:]
    find_run(target if target.startswith((".", "/", "~")) else parts[0], roots)
    raise AssertionError(target)  # find_run raised


def _require_cell(run: RunFolder, rest: Sequence[str]) -> None:
    known = {*run.cell_names(), *(p.name for p in run.cells.glob("*")), BASELINE, ALL}
    if rest and rest[0] not in known:
        raise PreflightError(f"{run.name}: no cell '{rest[0]}'.{did_you_mean(rest[0], known)}")


def _not_found(wanted: str, known: Sequence[str]) -> str:
    if Path(wanted).is_dir():
        return f"{wanted}: no {RUN_JSON} inside; expected the folder of a run of `hsd run`."
    return f"{wanted}: no such run.{did_you_mean(Path(wanted).name, set(known))}"


def _memory() -> Path:
    return Path.home() / ".local" / "state" / "hsd" / "runs.jsonl"


def _remembered() -> list[Path]:
    """Return the runs that were written down and are still there, the newest last."""
    paths = dict.fromkeys(Path(line["path"]) for line in reversed(read_lines(_memory())))
    return [path for path in reversed(paths) if (path / RUN_JSON).is_file()]


def _inside(roots: Iterable[Path]) -> list[str]:
    return [file.parent.name for root in roots for file in root.glob(f"*/{RUN_JSON}")]


def find_sweep(path: Path) -> RunFolder | None:
    """Return the run of a sweep at a path or of that name; None where it is an evaluation's."""
    if path.is_dir():
        return RunFolder(path.absolute()) if (path / RUN_JSON).is_file() else None
    try:
        return find_run(str(path))
    except PreflightError:
        return None
