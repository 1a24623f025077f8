"""The pieces that the planner's costs are fitted to, timed on the loaded model."""

from collections.abc import Sequence
from typing import Any

from hsd.model.packing import obstacle
from hsd.prompts.render import Encoded
from hsd.training.microbatches import StepPlan, pair_cost
from hsd.training.objective import Objective
from hsd.training.planner_costs import PlannerCosts, TimedPiece, fitted
from hsd.training.rehearsal import Context, learn_once, timed, tried, untouched
from hsd.training.step import Learner
from hsd.training.step_size import computed_pairs, computed_tokens

MOST_TOKENS, WIDTH = 1024, 64
"""Of the larger pieces, and of each row in them."""
ROUNDS = 3
"""The least of them counts; the first is left out, in which kernels are chosen."""


def costs_on(
    model: Any, rows: Sequence[Encoded], room: int, context: Context, recomputes: Sequence[bool]
) -> PlannerCosts:
    """Return the planner's costs on the model's device; a piece has at most `room` tokens.

    `recomputes` is as in `measured`.

    Measured on a GPU alone, where a call costs five to ten times as many tokens as on a CPU. On a
    CPU the usual costs were fitted, others' work disturbs each clock, and pieces decide how dropout
    is drawn: the same config and seed shall give the same adapter there.
    """
    if model.device.type != "cuda" or obstacle(model):
        return PlannerCosts()
    return measured(model, rows, room, context, recomputes)


def measured(
    model: Any, rows: Sequence[Encoded], room: int, context: Context, recomputes: Sequence[bool]
) -> PlannerCosts:
    """Return the costs that fit three timed pieces, on any device; the usual ones without memory.

    `recomputes` is whether a run computes activations again. Where both are open, pieces are timed
    with activations kept if memory is enough for that.
    """
    learner = Learner(model, 0, Objective(), context, lambda x: x.backward(), lambda x, _: x)
    with untouched(model):
        ways = (tried(model, again, lambda: _pieces(learner, rows, room)) for again in recomputes)
        pieces = next(filter(None, ways), None)
    if pieces is None:
        return PlannerCosts()
    return fitted(pieces, pair_cost(model.config.get_text_config(), slowness=1.0))


def _pieces(learner: Learner, rows: Sequence[Encoded], room: int) -> list[TimedPiece]:
    return [_timed(learner, work) for work in _works(rows, room)]


def _works(rows: Sequence[Encoded], room: int) -> list[StepPlan]:
    count = max(2, min(room, MOST_TOKENS) // WIDTH)
    many = [_cut(rows[n % len(rows)], n) for n in range(count)]
    return [
        StepPlan("alone", [], [many[:1]], 0),
        StepPlan("alone", [], [many], 0),
        StepPlan("with", [], [many], 0),
    ]


def _cut(row: Encoded, number: int) -> Encoded:
    """Return a row of WIDTH tokens with a real row's ids; its answer is its last tokens."""
    ids = [*row.prompt, *row.answer]
    ids = (ids * (WIDTH // len(ids) + 1))[-WIDTH:]
    return Encoded(str(number), ids[:-2], ids[-2:])


def _timed(learner: Learner, work: StepPlan) -> TimedPiece:
    seconds = [timed(learner.model, lambda: learn_once(learner, work)) for _ in range(ROUNDS + 1)]
    return TimedPiece(computed_tokens([work]), computed_pairs([work]), min(seconds[1:]))
