"""A run worked out and checked before any weight is loaded."""

from dataclasses import dataclass
from typing import Any

from hsd.config.train import TrainConfig
from hsd.errors import PreflightError
from hsd.model.load import Source, find
from hsd.model.placement import Launch, launch
from hsd.training.ancestor import Ancestor, find_ancestor
from hsd.training.rows import TrainingRows, load_training_rows
from hsd.training.schedule import Schedule, plan
from hsd.training.scoring import Scorer, scorer
from hsd.training.space import adapter_parameters


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run knows before any weight is loaded."""

    config: TrainConfig
    source: Source
    rows: TrainingRows
    schedule: Schedule
    adapter_parameters: int
    here: Launch
    judge_rows: Scorer | None
    """Scores validation rows where more than their loss selects the adapter."""
    ancestor: Ancestor | None = None
    """The adapter that the run goes on from."""

    def identity(self) -> dict[str, Any]:
        """Return what makes two runs the same one: everything that decides the adapter."""
        shown = self.config.model_dump(mode="json", exclude={"output_dir", "description"})
        shown["model"].pop("cache_dir")
        if self.ancestor:
            shown["training"]["init_from"] = self.ancestor.sha256  # wherever it lies
        return {
            "kind": "train",
            "config": shown,
            "processes": self.here.world_size,
            "base_revision": self.source.revision,
            **self.rows.facts(),
        }


def prepare(config: TrainConfig) -> Prepared:
    """Read and check everything that can be without weights.

    Raises ConfigError, DataError, ModelError or PreflightError.
    """
    here = launch()
    if config.model.dtype == "float16":
        raise PreflightError(
            "model.dtype float16: its small gradients vanish without loss scaling; train in "
            "bfloat16, float32 or auto."
        )
    source = find(config.model)
    rows = load_training_rows(config, source.tokenizer)
    schedule = plan(config, len(rows.train), len(rows.validation), here.world_size)
    config = config.model_copy(update={"prompt": rows.asked})
    judge_rows = scorer(config, rows)
    ancestor = find_ancestor(config, rows.contract, rows.validation)
    parameters = adapter_parameters(config, source)
    return Prepared(config, source, rows, schedule, parameters, here, judge_rows, ancestor)
