"""submissions.jsonl: which SLURM job does which stage of which cells; a line per job accepted."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hsd.io.provenance import now
from slurm.node.events import append_line, read_lines

SUBMISSIONS = "submissions.jsonl"


@dataclass(frozen=True, slots=True)
class Submitted:
    """One job array that SLURM accepted; a cell's place in `cells` is its array index.

    `job_id` is the array's, `number` counts the run's submissions from 1, `gpus` are those of one
    element on all of its nodes. `released` is a line of its own in the file. `name` and `comment`
    are what SLURM knows the job by beside its id; an older hsd did not write them down, nor the
    `cluster`, which is empty where there is one alone.
    """

    number: int
    stage: str
    kind: str
    job_id: str
    cells: tuple[str, ...]
    at: str
    gpus: int
    time_min: int
    released: bool = False
    name: str = ""
    comment: str = ""
    cluster: str = ""

    def element_id(self, index: int) -> str:
        """Return the id SLURM knows an element by, such as 123_0."""
        return f"{self.job_id}_{index}"


def append_submission(folder: Path, line: Submitted | Mapping[str, Any]) -> None:
    """Add one line to the run's submissions.jsonl; it is on disk when this returns.

    A line is an accepted job, {"cancelled": job_id}, or where a submission is by its number:
    {"begun": 3}, {"asked": 3, "comment": ..., "name": ...} before each sbatch, {"complete": 3}
    once jobs have all that they need, {"released": 3} or {"taken_back": 3}.
    """
    value = asdict(line) if isinstance(line, Submitted) else dict(line)
    if "stage" in value:
        value.pop("released", None)
    append_line(folder / SUBMISSIONS, value)


def note_submission(folder: Path, **line: Any) -> None:
    """Add a line that is no job, such as `released=3`, with the time."""
    append_submission(folder, {**line, "at": now()})


def submission_lines(folder: Path) -> list[dict[str, Any]]:
    """Return every line of a run's submissions.jsonl, of what was rolled back too."""
    return read_lines(folder / SUBMISSIONS)


def read_submissions(folder: Path) -> list[Submitted]:
    """Return the jobs of a run that were not rolled back, in the order of their submission."""
    known = submission_lines(folder)
    cancelled = {str(line["cancelled"]) for line in known if "cancelled" in line}
    released = {line["released"] for line in known if "released" in line and "stage" not in line}
    run = _name(folder)
    found = [_submitted(line, released, run) for line in known if "stage" in line]
    return [submitted for submitted in found if submitted.job_id not in cancelled]


@dataclass(frozen=True, slots=True)
class Begun:
    """A submission that was neither released nor taken back: it goes on, or it was killed.

    `comments` are those of all jobs that SLURM was asked for, whether or not it said that it has
    them. `complete`: nothing but the release is missing. `unseen` are the names of those jobs that
    nobody wrote down as accepted; an older hsd has none.
    """

    number: int
    comments: tuple[str, ...]
    complete: bool
    unseen: tuple[str, ...] = ()


def unsettled(folder: Path) -> list[Begun]:
    """Return the submissions of a run that have no end. An older hsd wrote no beginnings down."""
    known = submission_lines(folder)

    def numbers(word: str) -> list[int]:
        return [line[word] for line in known if word in line and "stage" not in line]

    ended = {*numbers("released"), *numbers("taken_back")}
    seen = {line.get("comment") for line in known if "stage" in line}
    return [
        Begun(
            number,
            tuple(line["comment"] for line in known if line.get("asked") == number),
            number in numbers("complete"),
            tuple(
                line["name"]
                for line in known
                if line.get("asked") == number and "name" in line and line["comment"] not in seen
            ),
        )
        for number in numbers("begun")
        if number not in ended
    ]


def unanswered(folder: Path) -> list[str]:
    """Return the comments of jobs that were asked for, never seen, and given up.

    Most are of jobs that sbatch refused. One may be of a job that SLURM accepted later.
    """
    known = submission_lines(folder)
    given_up = {line["taken_back"] for line in known if "taken_back" in line}
    seen = {line.get("comment") for line in known if "stage" in line}
    asked = [line["comment"] for line in known if line.get("asked") in given_up]
    return [comment for comment in asked if comment not in seen]


def next_number(folder: Path) -> int:
    """Return the number of a run's next submission; one that was killed has used its own."""
    known = [line.get("number", line.get("begun", 0)) for line in submission_lines(folder)]
    return max(known, default=0) + 1


def newest(submitted: Iterable[Submitted]) -> dict[tuple[str, str], tuple[Submitted, int]]:
    """Return for each (stage, cell) the last submission that named it, and its array index."""
    return {
        (one.stage, cell): (one, index) for one in submitted for index, cell in enumerate(one.cells)
    }


def replaced(submitted: Sequence[Submitted]) -> list[tuple[Submitted, int]]:
    """Return the elements that a later submission has named again, with their array indexes."""
    last = newest(submitted)
    return [
        (one, index)
        for one in submitted
        for index, cell in enumerate(one.cells)
        if last[one.stage, cell] != (one, index)
    ]


def job_name(run: str, stage: str) -> str:
    """Return what a job is called in the queue."""
    return f"hsd-{run}-{stage}"


def _name(folder: Path) -> str:
    """Return the run's name; its folder may have been renamed since."""
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.name
    name = facts.get("name") if isinstance(facts, dict) else None
    return name if isinstance(name, str) else folder.name


def _submitted(line: Mapping[str, Any], released: set[int], run: str) -> Submitted:
    return Submitted(
        number=line["number"],
        stage=line["stage"],
        kind=line["kind"],
        job_id=str(line["job_id"]),
        cells=tuple(line["cells"]),
        at=line["at"],
        gpus=line["gpus"],
        time_min=line["time_min"],
        released=line["number"] in released,
        name=str(line.get("name") or job_name(run, line["stage"])),
        comment=str(line.get("comment") or ""),
        cluster=str(line.get("cluster") or ""),
    )
