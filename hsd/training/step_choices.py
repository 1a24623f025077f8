"""How a run's steps are computed: what is shared and what is kept, chosen once for a whole run."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather_object

from hsd.errors import ErrorCode, TrainingError
from hsd.model.base import Base
from hsd.model.doctor_probes import memory_gb
from hsd.training.find_existing import behind_before, costs_before, recomputed_before, shared_before
from hsd.training.memory_need import training_need
from hsd.training.microbatches import plain_work
from hsd.training.objective import objective_of
from hsd.training.planned_base import SIZES_UNKNOWN, computed
from hsd.training.planned_rows import longest
from hsd.training.planner_costs import PlannerCosts
from hsd.training.planner_timing import costs_on
from hsd.training.prefix_sharing import Computing, choose_sharing, first_steps, limits_for
from hsd.training.processes import as_the_first_sees
from hsd.training.recompute_choice import Recompute, by_plan, by_rehearsal
from hsd.training.rehearsal import largest_work, rehearse
from hsd.training.step_size import piece_sizes
from hsd.training.training_plan import TrainingPlan


@dataclass(frozen=True, slots=True)
class StepChoices:
    """What was chosen for a run's steps."""

    computing: Computing
    recompute: Recompute

    def sentences(self) -> list[str]:
        """Return what was chosen and why, for people."""
        return [self.computing.reason, self.recompute.sentence]

    @property
    def self_test_sentence(self) -> str | None:
        """The numbers of the self-test, where prompts are shared."""
        computing = self.computing
        shown = computing.sharing is not None and computing.self_test is not None
        return computing.self_test.sentence() if shown and computing.self_test else None


def choose_steps(model: Any, base: Base, plan: TrainingPlan) -> StepChoices:
    """Return how a run's steps are computed, on all processes alike, as it began where it did.

    Raises TrainingError where sharing is asked for and cannot be had, or where the largest piece
    does not fit.
    """
    known = _known_recompute(base, plan)
    may = (False, True) if known is None else (known.on,)
    computing = _computing(model, plan, may)
    return StepChoices(computing, known or _rehearsed(model, base, plan, computing))


def _known_recompute(base: Base, plan: TrainingPlan) -> Recompute | None:
    """Return whether activations are computed again; None where a rehearsal decides."""
    config, device = plan.config, base.placement.device
    if config.training.gradient_checkpointing != "auto":
        return Recompute(config.training.gradient_checkpointing, "as asked")
    began = as_the_first_sees(recomputed_before(config.output_dir))
    # What was kept on one GPU may not fit on another one: that is rehearsed.
    if began or (began is False and device == "cpu"):
        return Recompute(began, "as since this run began")
    return as_the_first_sees(_by_plan(base, plan)) if device == "cpu" else None


def _by_plan(base: Base, plan: TrainingPlan) -> Recompute:
    """Return the choice on a CPU, by a plain batch of the longest rows: no piece takes more."""
    config, rows = plan.config, [*plan.rows.train, *plan.rows.validation]
    held, place = base.quantization, base.placement
    try:
        how = computed(config, base.source.config, held, place.dtype, place.device, plan.attention)
    except SIZES_UNKNOWN:  # the plan knows linear layers alone
        return Recompute(False, "the plan does not know what they take")
    limits = limits_for(config, rows, keeps_scores=how.shape.eager)
    pieces = piece_sizes([plain_work(longest(rows, config.training.own_rows), limits)])
    return by_plan(training_need(how, pieces).total_gb, memory_gb())


def _computing(model: Any, plan: TrainingPlan, recomputes: tuple[bool, ...]) -> Computing:
    """Return how rows are computed: in the form that the run began in, where it can be had.

    The check that lets prompts be shared has a margin, and may end otherwise on another machine.
    Both forms have the same gradient, but draw dropout differently.
    """
    config, rows = plan.config, plan.rows
    began = as_the_first_sees(shared_before(config.output_dir))
    if began is False and config.training.prefix_sharing == "auto":
        training = config.training.model_copy(update={"prefix_sharing": "off"})
        computing = choose_sharing(model, config.model_copy(update={"training": training}), rows)
        return replace(computing, reason="Rows are computed whole, as since this run began.")
    costs = _costs(model, plan, recomputes)
    behind = as_the_first_sees(behind_before(config.output_dir))
    computing = choose_sharing(model, config, rows, costs, recomputes, behind)
    if began and computing.sharing is None:
        more = "This run began with shared prompts: its gradient is the same, its dropout is not."
        return replace(computing, reason=f"{computing.reason} {more}")
    return computing


def _costs(model: Any, plan: TrainingPlan, recomputes: tuple[bool, ...]) -> PlannerCosts:
    """Return what the run's pieces are planned by: as it began, else as the first process finds."""
    if plan.config.training.prefix_sharing == "off":
        return PlannerCosts()
    found: PlannerCosts | None = as_the_first_sees(costs_before(plan.config.output_dir))
    if found:
        return found
    rows = plan.rows.train
    room = limits_for(plan.config, rows, keeps_scores=False).tokens
    measured = costs_on(model, rows, room, context_of(plan, model), recomputes)
    agreed: PlannerCosts = as_the_first_sees(measured)
    return agreed


def _rehearsed(model: Any, base: Base, plan: TrainingPlan, computing: Computing) -> Recompute:
    """Return the faster way that fits, from the largest piece. Raises TrainingError where none."""
    config, rows = plan.config, plan.rows.train
    steps = (longest(rows, config.training.own_rows), *first_steps(config, rows))
    work = largest_work(computing.work(step) for step in steps)
    pad_id = base.tokenizer.pad_token_id or 0
    found = rehearse(model, work, objective_of(config.training), context_of(plan, model), pad_id)
    began = as_the_first_sees(recomputed_before(config.output_dir))
    chosen = by_rehearsal(gather_object([found]), began_kept=began is False)
    if chosen is None:
        raise TrainingError(
            "the GPU's memory is full on the largest piece of a step, with activations computed "
            "again too; set training.batch_size lower and training.accumulation higher, or a "
            "smaller data.max_length.",
            code=ErrorCode.CUDA_OUT_OF_MEMORY,
        )
    return chosen


def context_of(plan: TrainingPlan, model: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Return what a run's forwards run in, as its Trainer makes it."""
    if plan.mixed_precision == "no":
        return nullcontext
    return partial(torch.autocast, model.device.type, dtype=torch.bfloat16)
