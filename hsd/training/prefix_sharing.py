"""Whether a run computes shared prompts once, decided from its rows and checked on its model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from accelerate.utils import gather_object

from hsd.config.train_config import TrainConfig
from hsd.errors import TrainingError
from hsd.model.tolerance import SelfTest
from hsd.prompts.render import Encoded
from hsd.training.batches import PADDING, epoch_order
from hsd.training.dataset import TrainingRows
from hsd.training.gradient_test import check_gradients
from hsd.training.microbatches import (
    WORTH_IT,
    Limits,
    Sharing,
    StepPlan,
    expected_gain,
    find_sharing,
    has_heads,
    length,
    pair_cost,
    plain_work,
    spoken_tokens,
)
from hsd.training.planner_costs import PlannerCosts

USUAL = PlannerCosts()

STEPS_LOOKED_AT = 50
"""Steps of the first epoch that the expected gain is taken from."""


@dataclass(frozen=True, slots=True)
class Computing:
    """How a run's rows are computed. `sharing` is None where each row is computed whole."""

    limits: Limits
    sharing: Sharing | None
    gain: float
    reason: str
    self_test: SelfTest | None = None
    costs: PlannerCosts = USUAL

    def work(self, rows: Sequence[Encoded]) -> list[StepPlan]:
        """Return how the rows of one step are learned."""
        if self.sharing:
            return self.sharing.work(rows)
        return [plain_work(rows, self.limits)] if rows else []  # a rank may have none

    def facts(self) -> dict[str, Any]:
        """Return the decision for the manifest."""
        prefixes = self.sharing.prefixes.values() if self.sharing else []
        return {
            "shared": self.sharing is not None,
            "prefix_tokens": [len(prefix) for prefix in prefixes],
            "expected_gain": round(self.gain, 2),
            "reason": self.reason,
            "call_tokens": self.costs.call_tokens,
            "pair_slowness": self.costs.pair_slowness,
            "behind": self.limits.behind,
            "self_test": self.self_test.facts() if self.self_test else None,
        }


def choose_sharing(
    model: Any,
    config: TrainConfig,
    rows: TrainingRows,
    costs: PlannerCosts = USUAL,
    recomputes: Sequence[bool] = (False,),
    behind: bool = True,
) -> Computing:
    """Return how a run computes its rows. `auto` shares where it pays and a check passes.

    `costs` weigh the pieces; `recomputes` is whether activations are computed again, both where
    that is not decided yet; `behind` is as in Limits. All processes decide alike. Raises
    TrainingError when sharing is asked for and the model cannot do it.
    """
    asked, text = config.training.prefix_sharing, model.config.get_text_config()
    limits = limits_for(
        config,
        [*rows.train, *rows.validation],
        keeps_scores=text._attn_implementation == "eager",
    )
    if asked == "off":
        return Computing(limits, None, 1.0, "Rows are computed whole, as asked.")
    if not has_heads(text):
        return _whole(asked, "the base has no attention heads", Computing(limits, None, 1.0, ""))
    limits = replace(weighed(limits, text, costs), behind=behind)
    sharing = find_sharing([*rows.train, *rows.validation], limits)
    gain = expected_gain(first_steps(config, rows.train), sharing)
    if asked == "auto" and gain < WORTH_IT:
        reason = f"Rows are computed whole: sharing prompts would gain little ({gain:.2f}x)."
        return Computing(limits, None, gain, reason, costs=costs)
    tested = check_gradients(model, rows.train, sharing, recomputes)
    if problem := next(filter(None, gather_object([tested.problem])), None):
        return _whole(asked, problem, Computing(limits, None, gain, "", tested, costs))
    return Computing(limits, sharing, gain, _sentence(sharing, rows.train, gain), tested, costs)


def _whole(asked: str, problem: str, computing: Computing) -> Computing:
    if asked == "on":
        raise TrainingError(
            f"training.prefix_sharing=on: {problem}. Set it to auto or off, which computes each "
            "row whole."
        )
    return replace(computing, reason=f"Rows are computed whole: {problem}.")


def limits_for(config: TrainConfig, rows: Sequence[Encoded], *, keeps_scores: bool) -> Limits:
    """Return what a piece of a run may hold; the cost of a pair is not known yet."""
    return Limits(
        batch_size=config.training.batch_size,
        longest=max(map(length, rows)),
        longest_answer=max(map(spoken_tokens, rows)),
        pair_tokens=0.0,
        keeps_scores=keeps_scores,
    )


def weighed(limits: Limits, text: Any, costs: PlannerCosts) -> Limits:
    """Return limits with what calls and pairs cost; `text` is the text model's config."""
    pair_tokens = pair_cost(text, costs.pair_slowness)
    return replace(limits, pair_tokens=pair_tokens, call_tokens=costs.call_tokens)


def first_steps(config: TrainConfig, rows: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """Yield the rows of the first steps on one device."""
    own = config.training.own_rows
    lengths = [length(row) for row in rows]
    order = [i for i in epoch_order(lengths, own, 1, config.seed, epoch=0) if i != PADDING]
    steps = (order[at : at + own] for at in range(0, len(order), own))
    return ([rows[i] for i in step] for step in islice(steps, STEPS_LOOKED_AT))


def _sentence(sharing: Sharing, rows: Sequence[Encoded], gain: float) -> str:
    shared = sorted(len(prefix) for prefix in sharing.prefixes.values())
    mean = sum(map(length, rows)) / len(rows)
    tokens = f"{shared[0]}" if len(shared) == 1 else f"{shared[0]} to {shared[-1]}"
    return (
        f"Prompts share their first {tokens} tokens (rows have {mean:.0f} on average); computed "
        f"once a step, expected to be {gain:.1f} times as fast."
    )
