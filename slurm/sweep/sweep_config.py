"""The typed form of a sweep's file."""

from typing import Annotated, Any

from pydantic import Field

from hsd.config.gate_rules import GateRules
from hsd.config.strict import Folder, Names, Strict

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class EvaluateConfig(Strict):
    """The data sets that the cells and the original model are evaluated on."""

    sets: Names = ("unified",)
    """`unified`, `canned_50_quick`, `canned_100_stratified`, `embedded`, or JSONL/CSV files."""
    data_dir: Folder | None = None
    """Folder of named sets: the one that `hsd prepare` wrote."""
    set: dict[str, Any] = {}
    """More fields of an evaluation, such as `mode = "generate"` or `batch_size = 32`."""


class Sweep(Strict):
    """Several trainings that are compared. They differ only in what this file says."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    """Name of the run's folder: letters, digits, `.`, `_` and `-`."""
    description: str = ""
    """One sentence for `hsd sweep list`."""
    presets: Names
    """Names of presets, or files of training configs. Each is a cell, or one per grid point."""
    merge: bool = False
    """Merge each adapter into its base, and evaluate the result."""
    baseline: bool = True
    """Also evaluate the original model."""
    grid: dict[str, tuple[Any, ...]] = {}
    """Field -> values to try: `"lora.rank" = [8, 16]`. Every combination, on every preset."""
    set: dict[str, Any] = {}
    """Field -> value in every cell: `"training.epochs" = 1`."""
    model: dict[str, Any] = {}
    """The base of every cell; fields as in a training config's [model]."""
    data: dict[str, Any] = {}
    """The rows of every cell; fields as in a training config's [data]."""
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateRules | None = None
    """Rules that decide whether a cell may replace the base, as in `hsd gate`; the comparison shows
    the verdict. Needs `baseline`, or a floor such as `worst_group_f1`."""

    @property
    def shared(self) -> dict[str, Any]:
        """What every cell changes: dotted field -> value."""
        sections = {"model": self.model, "data": self.data}
        named = {f"{s}.{key}": value for s, part in sections.items() for key, value in part.items()}
        return {**self.set, **named}
