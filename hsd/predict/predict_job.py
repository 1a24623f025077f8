"""What one `hsd predict` is asked to do, and what makes two of them the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.data.data_files import digest
from hsd.data.data_sets import resolve_path
from hsd.data.read_rows import stream_rows
from hsd.errors import ConfigError
from hsd.io.shard import Shard
from hsd.predict.input_posts import (
    InputPost,
    input_posts,
    rows_of_process,
    window_size,
    windows,
)
from hsd.predict.label_rule import LabelRule, label_rule
from hsd.predict.local_model import local_model
from hsd.predict.output_columns import PREFIX, NewColumns
from hsd.predict.output_tables import OutputFormat, output_format
from hsd.predict.post_model import PostModel
from hsd.predict.served_model import served_model
from hsd.predict.survey import Survey, require_columns, survey

PIPE = "-"
"""FILE or output: standard input or output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictJob:
    """A file to label, who labels it, and where the table goes.

    `config.data_file` names the input; `config.output_dir` does not count.
    """

    config: EvalConfig
    output: str
    text_column: str = "text"
    prefix: str = PREFIX
    rationale: bool = False
    threshold: float | None = None
    threshold_from: Path | None = None
    by: str | None = None
    shard: Shard = Shard()

    @property
    def is_piped(self) -> bool:
        """Whether it reads standard input or writes standard output, and so cannot go on later."""
        return PIPE in (self.config.data_file, self.output)


@dataclass(frozen=True, slots=True)
class PredictPlan:
    """What is known before any weight is loaded."""

    job: PredictJob
    model: PostModel
    columns: NewColumns
    file: Path
    found: Survey
    layout: OutputFormat

    @property
    def rule(self) -> LabelRule:
        """How a score becomes a label."""
        return self.columns.rule

    @property
    def window(self) -> int:
        """How many rows are answered at a time."""
        return window_size(self.found.rows)

    @property
    def folder(self) -> Path:
        """What is kept of the run: who labelled what, and the answers until the table is whole."""
        output = Path(self.job.output)
        return output.with_name(f"{output.name}.run")

    def rows_of_shard(self, processes: int) -> int:
        """Return how many rows this shard has, which its processes share."""
        first, every = self.job.shard.index * processes, self.job.shard.count * processes
        own = range(first, first + processes)
        return sum(rows_of_process(self.found.rows, self.window, at, every) for at in own)

    def posts(self) -> Iterator[InputPost]:
        """Yield the rows of the input, read anew."""
        return posts_of(self.file, self.job.text_column)

    def windows(self) -> Iterator[tuple[int, Sequence[InputPost]]]:
        """Yield the rows a window at a time, with the window's number."""
        return enumerate(windows(self.posts(), self.window))

    def identity(self) -> dict[str, Any]:
        """Return what makes two runs the same one: posts, model, prompt, threshold, columns."""
        config = self.job.config
        return {
            "kind": "predict",
            "data_file": config.data_file,
            "data_sha256": digest(self.file),
            "text_column": self.job.text_column,
            **self.model.identity(),
            "threshold": self.rule.threshold,
            "threshold_temperature": self.rule.temperature,
            "columns": list(self.columns.kinds),
            "window": self.window,
        }


def plan_predict(job: PredictJob) -> PredictPlan:
    """Read and check all that can be without weights.

    Raises ConfigError, DataError, ModelError, PreflightError or EvaluationError.
    """
    layout = "jsonl" if job.output == PIPE else output_format(Path(job.output))
    file = resolve_path(job.config.data_file)
    model, columns = plan_of_columns(job)
    found = survey(posts_of(file, job.text_column), job.by)
    require_columns(found, str(file), job.text_column, job.by, list(columns.kinds))
    return PredictPlan(job, model, columns, file, found, layout)


def plan_of_columns(job: PredictJob) -> tuple[PostModel, NewColumns]:
    """Return who answers, and what is written of the answers; raises as `plan_predict`."""
    config = job.config
    if config.max_samples is not None or config.only_sources:
        raise ConfigError("hsd predict labels all rows; leave max_samples and only_sources out.")
    model = post_model(config)
    is_written = model.config.mode == "generate" or config.engine == "openai"
    if job.rationale and not is_written:
        raise ConfigError(
            "rationale: no reply is written where labels are scored; add --mode generate, or leave "
            "--rationale out."
        )
    rule = label_rule(model, job.threshold, job.threshold_from)
    return model, NewColumns(rule, job.prefix, job.rationale)


def post_model(config: EvalConfig) -> PostModel:
    """Return who answers. Raises as `local_model` and `served_model`."""
    return served_model(config) if config.engine == "openai" else local_model(config)


def posts_of(file: Path, column: str) -> Iterator[InputPost]:
    """Yield the rows of a file with their posts."""
    return input_posts(stream_rows(file), column)
