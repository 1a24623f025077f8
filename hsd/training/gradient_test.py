"""Whether a model's rows may share their prompts: the same answers and gradients as alone."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from hsd.example import LABELS
from hsd.model.eval_mode import judging
from hsd.model.packing import obstacle
from hsd.model.recompute import recompute_activations
from hsd.model.tolerance import (
    ROWS_COARSE,
    ROWS_EXACT,
    SelfTest,
    TestPart,
    compared,
    exact_tolerance,
    longer_than_all,
    on_twin,
    spread,
    worst,
)
from hsd.model.twin import PREFIX_TOKENS
from hsd.prompts.render import Encoded, Target
from hsd.training.microbatches import (
    Form,
    Limits,
    Sharing,
    StepPlan,
    grouped_rows,
    length,
    spoken_tokens,
)
from hsd.training.objective import Objective, count_losses
from hsd.training.step import Learner, forked, piece_log_probabilities

GROUPS = 4
"""Of rows asked alike; of each some rows are computed both ways."""

TAILS = ([5, 6, 7, 8], [9, 10])
"""Labels of the twin: branches of several tokens, that must not see each other."""

BOTH = Objective(answer_weight=1.0, label_weight=1.0)
"""What a twin learns: all that a run may."""

GRADIENT = 1e-3
"""Largest norm of the difference, over that of the gradient, on a twin in float32. Measured over 95
architectures: .00003 at most. A prefix whose gradient is lost made .25 to .6 in four of them."""


def check_gradients(
    model: Any, rows: Sequence[Encoded], sharing: Sharing, recomputes: Sequence[bool] = (False,)
) -> SelfTest:
    """Return whether rows packed behind what they share are as good as each one alone.

    `recomputes` says whether activations are computed again in the backward; both, where that is
    not decided yet.
    """
    with judging(model):
        if problem := obstacle(model):
            return SelfTest(obstacle=problem)
        twin = on_twin(
            model, lambda twin, made_up: check_twin(twin, _with_labels(made_up), recomputes)
        )
        loaded = None if twin.problem else check_loaded(model, rows, sharing)
    return SelfTest(twin, loaded)


def check_twin(twin: Any, rows: list[Encoded], recomputes: Sequence[bool] = (False,)) -> TestPart:
    """Return whether made-up rows in one piece have the answers and the gradient of rows alone."""
    prefix = rows[0].prompt[:PREFIX_TOKENS]
    alone = _log_probabilities(twin, _alone([[row] for row in rows]))
    works = [StepPlan(form, prefix, [rows], cost=0) for form in _forms(prefix)]
    found = worst(compared(twin, rows, _apart(twin, work, alone)) for work in works)
    if found.problem:
        return found
    expected = _gradient_one_by_one(twin, rows)
    errors = [
        (_gradient(twin, rows, work, again) - expected).norm()
        for again in sorted(recomputes)  # what recomputes stays so
        for work in works
    ]
    error = float(torch.stack(errors).max() / expected.norm())  # NaN stays
    if error <= GRADIENT:
        return replace(found, gradient=error)
    problem = (
        f"rows that share a prompt have another gradient than alone (by {error:.2g} of its norm, "
        f"{GRADIENT:g} allowed)"
    )
    return replace(found, gradient=error, problem=problem)


def check_loaded(model: Any, rows: Sequence[Encoded], sharing: Sharing) -> TestPart:
    """Return whether real rows have the answers of rows alone on the model as it is.

    Of each way of asking some rows, the shortest and the longest among them, stand in one piece.
    """
    coarse, limits = exact_tolerance(model) is None, sharing.limits
    tested: list[Encoded] = []
    padded: list[torch.Tensor] = []
    packed: dict[Form, list[torch.Tensor]] = {}
    for asked, group in list(grouped_rows(rows).items())[:GROUPS]:
        prefix = sharing.prefixes.get(asked, [])
        some = fitting(sorted(group, key=length), prefix, limits, coarse)
        alone = _log_probabilities(model, _alone([[row] for row in some]))
        # The others stop the run with their name at the step that learns them, packed or not.
        some = [row for row in some if alone[row.id].isfinite().all()]
        if not some:
            continue
        tested += some
        for form in _forms(prefix):
            apart = _apart(model, StepPlan(form, prefix, [some], cost=0), alone)
            packed[form] = packed.get(form, []) + apart
        if coarse:
            padded += _apart(model, _alone(_all_padded(some, limits)), alone)
    return worst(compared(model, tested, apart, padded) for apart in packed.values())


def fitting(
    rows: Sequence[Encoded], prefix: list[int], limits: Limits, coarse: bool
) -> list[Encoded]:
    """Return the rows of one piece: enough to judge by, as far as memory allows, two at least.

    Without gradients a piece takes but one layer's memory, so it may be larger than a step's.
    """
    roomy = replace(limits, batch_size=max(limits.batch_size, ROWS_COARSE))
    for most in range(ROWS_COARSE if coarse else ROWS_EXACT, ROWS_EXACT, -1):
        some = spread(rows, most)
        tokens = len(prefix) + sum(length(row) - len(prefix) for row in some)
        if roomy.hold(tokens, tokens * tokens, sum(map(spoken_tokens, some))):
            return some
    return spread(rows, ROWS_EXACT)


def _forms(prefix: list[int]) -> tuple[Form, ...]:
    """Return the forms that a run's pieces may have."""
    return ("with", "behind") if prefix else ("with",)


def _alone(pieces: list[list[Encoded]]) -> StepPlan:
    return StepPlan("alone", [], pieces, cost=0)


def _all_padded(rows: Sequence[Encoded], limits: Limits) -> list[list[Encoded]]:
    """Return plain batches in which no row is the longest."""
    more, size = longer_than_all(rows), limits.batch_size
    return [[*rows[at : at + size], more] for at in range(0, len(rows), size)]


def _apart(model: Any, work: StepPlan, alone: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return by how much each row's log-probabilities differ from those it has alone."""
    found = _log_probabilities(model, work)
    return [found[id] - alone[id] for id in found if id in alone]


def _log_probabilities(model: Any, work: StepPlan) -> dict[str, torch.Tensor]:
    """Return each row's log-probabilities of what it says, by row id."""
    found: dict[str, torch.Tensor] = {}
    for rows, said in piece_log_probabilities(model, [work], pad_id=0):
        parts = said.split([spoken_tokens(row) for row in rows])
        found |= {row.id: part for row, part in zip(rows, parts, strict=True)}
    return found


def _gradient(twin: Any, rows: Sequence[Encoded], work: StepPlan, again: bool) -> torch.Tensor:
    """Return the gradient of all weights, in a row, as a step of the run makes it."""
    if again:
        recompute_activations(twin, on=True)
        twin.train()  # it recomputes in no other mode; nothing on a twin is left to chance
    learner = Learner(
        twin, 0, BOTH, nullcontext, lambda loss: loss.backward(), lambda loss, _: loss
    )
    learner.learn([work], count_losses(rows))
    return _collected(twin)


def _gradient_one_by_one(twin: Any, rows: Sequence[Encoded]) -> torch.Tensor:
    """Return the same from each way of each row by itself, without masks or positions of ours."""
    for row in rows:
        said = torch.cat(
            [_probabilities_of(twin, line, last) for line, last in forked(row, 0).lines()]
        )
        BOTH.loss(said, [row], count_losses(rows)).backward()
    return _collected(twin)


def _probabilities_of(twin: Any, line: list[int], last: int) -> torch.Tensor:
    """Return the log-probabilities of a line's `last` tokens."""
    logits = twin(input_ids=torch.tensor([line]), use_cache=False).logits[0, -last - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(line[-last:])[:, None])[:, 0]


def _with_labels(rows: Sequence[Encoded]) -> list[Encoded]:
    """Return made-up rows whose answers say one of two labels, to score both as branches."""
    hate, normal = TAILS
    return [
        replace(
            row,
            answer=[*row.answer[:2], *(normal if n % 2 else hate), *row.answer[2:]],
            target=Target(LABELS[n % 2], 2, TAILS, (hate if n % 2 else normal,)),
        )
        for n, row in enumerate(rows)
    ]


def _collected(twin: Any) -> torch.Tensor:
    """Return the gradients that lie in the twin, and take them out."""
    found = torch.cat(
        [
            torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
            for p in twin.parameters()
        ]
    )
    twin.zero_grad()
    return found
