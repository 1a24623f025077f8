"""What a training needs on given devices, before anything is booked or loaded: `hsd plan`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from hsd.config.evaluate_config import EvalConfig
from hsd.config.train_config import TrainConfig
from hsd.model.memory_parts import Piece, checkpoints_gb
from hsd.prompts.render import Encoded
from hsd.training.memory_need import (
    LIBRARIES_GB,
    MemoryNeed,
    chosen,
    evaluation_need,
    loading_gb,
    training_need,
)
from hsd.training.microbatches import (
    WORTH_IT,
    StepPlan,
    expected_gain,
    find_sharing,
    plain_work,
)
from hsd.training.planned_base import PlannedBase, planned_base
from hsd.training.planned_devices import PlannedDevices
from hsd.training.planned_rows import PlannedRows, longest, planned_rows
from hsd.training.prefix_sharing import USUAL, Computing, first_steps, limits_for, weighed
from hsd.training.schedule import Schedule, plan_schedule
from hsd.training.step_size import computed_pairs, computed_tokens, piece_sizes
from hsd.training.time_range import TimeRange, time_range
from hsd.training.training_plan import within_context

_NOT_TESTED = "Planned without a model, which a training tests first."


@dataclass(frozen=True, slots=True)
class StepTokens:
    """What a step computes on one device, on average."""

    tokens: float
    pairs: float
    tokens_unshared: float
    pieces: float
    prefix: int
    """Tokens that the prompts share; 0 where rows are computed whole."""
    gain: float
    """How many times faster sharing is expected to be."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a training needs. Memory is that of one device."""

    config: TrainConfig
    devices: PlannedDevices
    base: PlannedBase
    training: MemoryNeed
    evaluation: MemoryNeed
    loading_gb: float
    schedule: Schedule
    step: StepTokens
    time: TimeRange
    checkpoints_gb: float
    rows: PlannedRows

    @property
    def rows_note(self) -> str:
        """Where the lengths of rows are from, in a sentence."""
        return self.rows.source

    @property
    def attention_note(self) -> str | None:
        """Which attention code is assumed, in a sentence; None where nothing is."""
        if self.base.attention == self.config.model.attention:
            return None
        code = self.base.judged_with.code
        more = ", which needs more memory" if code == "eager" else ""
        return (
            f"Assumed: {self.base.attention} attention, where a short test at the start of a "
            f"training finds it right; else {code}{more}."
        )

    @property
    def need_gb(self) -> float:
        """The most that one device holds at any time of a training."""
        return max(self.training.total_gb, self.loading_gb)


def plan_run(config: TrainConfig, devices: PlannedDevices, rows: int | None = None) -> RunPlan:
    """Return what a run needs; no weights are read. `rows` is how many it has, if not as its file.

    Raises ConfigError, DataError, ModelError or PreflightError.
    """
    base = planned_base(config, devices)
    rows_of = planned_rows(within_context(config, base.config), base.source, rows)
    return plan_with(config, devices, base, rows_of)


def plan_with(
    config: TrainConfig, devices: PlannedDevices, base: PlannedBase, rows_of: PlannedRows
) -> RunPlan:
    """Return what a run needs whose base and rows are known already."""
    how = base.how
    computing = planned_computing(config, base, rows_of.train)
    steps = [*first_steps(config, rows_of.train)]
    shared = [computing.work(step_rows) for step_rows in steps]
    step = _step(steps, shared, computing)
    pieces = _pieces(config, rows_of.train, shared, computing)
    how = chosen(base.how, config.training.gradient_checkpointing, pieces, devices)
    base = replace(base, how=how)
    schedule = plan_schedule(config, rows_of.count, rows_of.validation_count, devices.count)
    passes = 3 if how.recomputes else 2
    return RunPlan(
        config=config,
        devices=devices,
        base=base,
        training=training_need(how, pieces),
        evaluation=_evaluation(base, rows_of.train, step.prefix),
        loading_gb=_loading_gb(base),
        schedule=schedule,
        step=step,
        time=time_range(
            how.shape,
            step.tokens,
            step.pairs,
            schedule.total_steps,
            devices,
            passes,
            dora=config.lora.use_dora,
        ),
        checkpoints_gb=checkpoints_gb(how.adapter_parameters, config.training.keep_checkpoints),
        rows=rows_of,
    )


def planned_computing(config: TrainConfig, base: PlannedBase, rows: Sequence[Encoded]) -> Computing:
    """Return how rows are computed, as `choose_sharing` decides but for its test of the model."""
    how, asked = base.how, config.training.prefix_sharing
    limits = limits_for(config, rows, keeps_scores=how.shape.eager)
    limits = weighed(limits, base.config.get_text_config(), USUAL)
    if asked == "off":
        return Computing(limits, None, 1.0, _NOT_TESTED)
    sharing = find_sharing(rows, limits)
    gain = expected_gain(first_steps(config, rows), sharing)
    if gain < WORTH_IT and asked != "on":
        return Computing(limits, None, 1.0, _NOT_TESTED)
    return Computing(limits, sharing, gain, _NOT_TESTED)


def _pieces(
    config: TrainConfig,
    rows: Sequence[Encoded],
    steps: Sequence[list[StepPlan]],
    computing: Computing,
) -> list[Piece]:
    """Return the pieces of the first steps, and of one that has the longest rows."""
    own = config.training.own_rows
    works = (computing.work(longest(rows, own)), *steps)
    return [size for step in works for size in piece_sizes(step)]


def _step(
    steps: Sequence[Sequence[Encoded]], shared: Sequence[list[StepPlan]], computing: Computing
) -> StepTokens:
    prefixes = computing.sharing.prefixes.values() if computing.sharing else ()
    unshared = ([plain_work(rows, computing.limits)] for rows in steps)
    return StepTokens(
        tokens=fmean(map(computed_tokens, shared)),
        pairs=fmean(map(computed_pairs, shared)),
        tokens_unshared=fmean(map(computed_tokens, unshared)),
        pieces=fmean(len(piece_sizes(step)) for step in shared),
        prefix=max(map(len, prefixes), default=0),
        gain=computing.gain,
    )


def _evaluation(base: PlannedBase, rows: Sequence[Encoded], prefix: int) -> MemoryNeed:
    """Return the memory of `hsd evaluate --mode generate` with its defaults: more than scoring."""
    defaults = EvalConfig.model_fields
    batch, reply = defaults["batch_size"].default, defaults["max_new_tokens"].default
    own = [len(row.prompt) - prefix for row in longest(rows, batch)]
    shape = replace(base.how.shape, eager=base.judged_with.code == "eager")
    return evaluation_need(replace(base.how, shape=shape), prefix, own, reply)


def _loading_gb(base: PlannedBase) -> float:
    """Return the most that loading takes; a checkpoint that does not say its format has 16 bit."""
    stored = getattr(base.config, "dtype", None)
    each = int(getattr(stored, "itemsize", 2))
    return loading_gb(base.how, each) + LIBRARIES_GB[base.how.on_gpu]
