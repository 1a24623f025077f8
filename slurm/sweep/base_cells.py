"""The untouched bases of a sweep's cells, and the names that their evaluations have in a run."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from hsd.io.json_reader import read_object
from slurm.run.run_folder import BASELINE, RunFolder
from slurm.sweep.sweep import Cell, Sweep

_IS_BASE = re.compile(rf"{BASELINE}(-\d+)?")


def named_bases(sweep: Sweep, cells: Sequence[Cell], folder: RunFolder) -> dict[str, Cell]:
    """Return the untouched bases of cells by the names that the run has for them, or will have."""
    known = {
        file.parent.name: base_kind(read_object(file)["config"])
        for file in sorted(folder.cells.glob(f"{BASELINE}*/identity.json"))
        if _IS_BASE.fullmatch(file.parent.name)
    }
    return bases_of(sweep, cells, known)


def bases_of(
    sweep: Sweep, cells: Sequence[Cell], known: Mapping[str, str] | None = None
) -> dict[str, Cell]:
    """Return a cell for each base and prompt that the cells have: mostly one, `baseline`.

    Others are called `baseline-2` and so on. `known` says which `base_kind` a name has in the run:
    it keeps that whatever cells are asked for.
    """
    if not sweep.baseline:
        return {}
    taken = dict(known or {})
    names = {kind: name for name, kind in taken.items()}
    found: dict[str, Cell] = {}
    for cell in cells:
        kind = base_kind(cell.config.model_dump(mode="json"))
        if kind not in names:
            numbered = (f"{BASELINE}-{number}" for number in count(2))
            names[kind] = next(n for n in chain([BASELINE], numbered) if n not in taken)
            taken[names[kind]] = kind
        found.setdefault(names[kind], cell)
    return found


def base_kind(config: Mapping[str, Any]) -> str:
    """Return what tells the evaluation of one untouched base from that of another."""
    return json.dumps([config["model"], config["prompt"]], sort_keys=True)
