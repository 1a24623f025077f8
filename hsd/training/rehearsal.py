"""The largest piece of a run's steps, computed before step 1: does it fit, and how fast is it?"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch

from hsd.model.memory import is_memory_error
from hsd.model.recompute import recompute_activations
from hsd.training.microbatches import StepPlan
from hsd.training.objective import Objective, count_losses
from hsd.training.recompute_choice import Rehearsed
from hsd.training.step import Learner
from hsd.training.step_size import piece_sizes

TIMES = 2
"""The first time kernels are chosen and memory is fetched from the driver."""

Context = Callable[[], AbstractContextManager[Any]]
T = TypeVar("T")


def largest_work(steps: Iterable[Sequence[StepPlan]]) -> StepPlan:
    """Return the largest piece of the steps, with its prefix, as a step of its own.

    Logits count as much as a token: with a vocabulary of 200,000 they take as much memory.
    """
    single = [replace(w, pieces=[piece]) for step in steps for w in step for piece in w.pieces]

    def size(work: StepPlan) -> tuple[int, int]:
        (piece,) = piece_sizes([work])
        return piece.tokens + piece.prefix + piece.logits, piece.keys

    return max(single, key=size)


def rehearse(
    model: Any, work: StepPlan, objective: Objective, context: Context, pad_id: int
) -> Rehearsed:
    """Return how long a step takes in both ways. The model is afterwards as it was before."""
    learner = Learner(model, pad_id, objective, context, _backward, lambda loss, _: loss)
    with untouched(model):
        ways = (tried(model, again, lambda: _seconds(learner, work)) for again in (False, True))
        return Rehearsed(*ways)


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Within the block a model may learn; its gradients and all random numbers are put back.

    Nothing else of a run is touched: there is no optimiser yet, and weights change by it alone.
    """
    devices = [model.device] if model.device.type == "cuda" else []
    learning = _learning(model)
    gradients, training = [p.grad for p in learning], model.training
    for parameter in learning:
        parameter.grad = None
    try:
        with torch.random.fork_rng(devices):
            model.train()
            yield
    finally:
        recompute_activations(model, on=False)
        model.train(training)
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient
        _free(model)


def timed(model: Any, work: Callable[[], Any]) -> float:
    """Return the seconds that a piece of work takes on the model's device."""
    _wait(model)
    started = time.perf_counter()
    work()
    _wait(model)
    return time.perf_counter() - started


def learn_once(learner: Learner, work: StepPlan) -> None:
    """Add the gradient of a step that has only this work."""
    rows = [row for piece in work.pieces for row in piece]
    learner.learn([work], count_losses(rows))


def tried(model: Any, again: bool, work: Callable[[], T]) -> T | None:
    """Return what work gives with activations kept, or computed `again`.

    None where memory runs out, or where the model cannot compute them again.
    """
    if again and not model.supports_gradient_checkpointing:
        return None
    recompute_activations(model, on=again)
    found: T | None
    try:
        found = work()
    except (RuntimeError, MemoryError) as error:
        if not is_memory_error(error):
            raise
        found = None
    _forget(model)
    return found


def _seconds(learner: Learner, work: StepPlan) -> float:
    # The optimiser's moments are made at step 1, and have to fit too.
    moments = [torch.empty_like(p) for p in 2 * _learning(learner.model)]
    found = min(timed(learner.model, lambda: learn_once(learner, work)) for _ in range(TIMES))
    del moments
    return found


def _learning(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _forget(model: Any) -> None:
    for parameter in _learning(model):
        parameter.grad = None
    _free(model)


def _free(model: Any) -> None:
    """Give back what an error's traceback may still have held a moment ago."""
    gc.collect()
    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def _backward(loss: torch.Tensor) -> None:
    loss.backward()
