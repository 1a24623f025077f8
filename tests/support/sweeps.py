"""Small sweeps for tests that train nothing: two presets, the embedded rows, a made-up cluster."""

from pathlib import Path
from typing import Any

from slurm.cluster.profile import Profile
from slurm.submit.snapshot import Code
from slurm.submit.work import Found, Work, left_to_do, work_on
from slurm.submit.write_run import write_run
from slurm.sweep.sweep import Cell, Sweep, cells


def sweep(**parts: Any) -> Sweep:
    """Return the sweep `pair` of the presets `default` and `high_capacity`; `parts` change it."""
    tree = {
        "name": "pair",
        "presets": ("default", "high_capacity"),
        "data": {"train_file": "embedded", "validation_file": "embedded"},
        "evaluate": {"sets": ("embedded",)},
    }
    return Sweep.model_validate(tree | parts)


def cluster(root: Path = Path("/shared/runs"), **parts: Any) -> Profile:
    """Return a profile with a scheduler; `parts` change its sections."""
    tree: dict[str, Any] = {"shared_root": root, "python": "/opt/hsd/python", "slurm": {}}
    return Profile.model_validate(tree | parts)


def code(folder: Path, text: str = "answer = 42\n") -> Code:
    """Return code of one file, written into `folder`."""
    file = folder / "hsd" / "one.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return Code({"hsd/one.py": file}, "c0ffee", "")


def work(
    root: Path, of: Sweep | None = None, profile: Profile | None = None,
    only: tuple[str, ...] = (), source: str = "answer = 42\n", **changes: str,
) -> Work:  # fmt: skip
    """Return the work of a sweep below `root`; `changes` are overrides, `lora__rank="8"`."""
    of = of or sweep()
    texts = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    made: tuple[Cell, ...] = cells(of, texts, only)
    return work_on(of, made, profile or cluster(root), code(root / "source", source))


def found(work_: Work, root: Path, source: str = "answer = 42\n") -> Found:
    """Return all that is left of some work, as `hsd run` finds it."""
    return Found(work_, left_to_do(work_), code(root / "source", source))


def write(work_: Work, root: Path, source: str = "answer = 42\n") -> Found:
    """Write what `hsd run` writes before it submits, and return what was found."""
    made = found(work_, root, source)
    write_run(made)
    return made
