"""Several processes that learn together, each with a whole copy of the base."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import set_seed

from hsd.errors import PreflightError, TrainingError
from hsd.io.lease import Lease, hold_lease
from hsd.io.stopping import StopRequest
from hsd.model.number_format import require_alike
from hsd.model.placement import Launch, agreed
from hsd.training.training_plan import TrainingPlan

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: NCCL's own 10 minutes are short where one machine reads
a base of 40 GB from its own disk, and another one from a network's. A launcher ends the rest of a
failed group long before."""

_GONE = re.compile(r"gloo/transport|Connection (closed|reset) by|remote process exited")


def linked(here: Launch, device: str) -> PartialState:
    """Return the link between the processes, once it has as many as the launcher started.

    Raises PreflightError when it has not.
    """
    # Made here, not by the Trainer: what it gives the group as a timeout comes too late.
    state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
    if state.num_processes != here.world_size:
        raise PreflightError(
            f"the launcher started {here.world_size} processes, but "
            f"{state.num_processes} found each other; use accelerate launch or torchrun."
        )
    return state


def in_one_format(plan: TrainingPlan) -> TrainingPlan:
    """Return a run in the number format that all of its linked processes compute in.

    Raises PreflightError when they have none in common.
    """
    found = plan.placed(agreed(plan.placement, gather_object([plan.placement])))
    require_alike(gather_object([found.numbers]))
    return found


def as_the_first_sees(found: Any) -> Any:
    """Return what the first process found in the folder, to all of them.

    A shared file system may show another machine an older listing. Processes that went on from
    different steps, or in different forms, would wait for each other for ever.
    """
    told = [found]
    broadcast_object_list(told)
    return told[0]


@contextmanager
def said_in_a_line() -> Iterator[None]:
    """Within the block, say in one line that another process of the training has ended.

    Whoever waits for it is told by gloo or NCCL, in a RuntimeError about a place in their code.
    """
    try:
        yield
    except RuntimeError as error:
        if not _GONE.search(str(error)):
            raise
        raise TrainingError(
            "another process of this training has ended; the first error that one of them printed "
            "says why. The same command goes on from the newest checkpoint."
        ) from None


@contextmanager
def leased(folder: Path, here: Launch, request: StopRequest) -> Iterator[Lease | None]:
    """Hold the folder's lease on the first process within the block; the others have None.

    Raises, on all processes alike, what the first one was refused with.
    """
    with ExitStack() as stack:
        lease, refusal = None, None
        if here.is_main:
            try:
                lease = stack.enter_context(hold_lease(folder, "hsd train", lost=request.lose))
            except PreflightError as error:
                refusal = error
        if refused := as_the_first_sees(refusal):
            raise refused
        yield lease


def sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes; none at all counts as zero.

    In one message: an adapter has hundreds of small matrices.
    """
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def any_asked(request: StopRequest, device: torch.device) -> bool:
    """Return, to all processes alike, whether any of them was asked to stop.

    Without agreement they would stop at different places, and wait for each other for ever.
    """
    flag = torch.tensor(float(request.asked), device=device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(flag)
    return bool(flag > 0)


def keep_frozen_at_home(model: Any) -> None:
    """Let a wrapped model send what learns, and no more, when it is made.

    Each process has read the frozen base from the same files; DistributedDataParallel would send
    all of it again, 42 GB of gpt-oss-20b, before the first step.
    """
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    model._ddp_params_and_buffers_to_ignore = frozen  # torch's own name for it (issue 43690)


def draw_apart(seed: int, rank: int) -> None:
    """Let each process draw a dropout of its own, once all have made the same adapter.

    The first one goes on with the numbers that it would have alone.
    """
    if rank:
        set_seed(seed + rank)
