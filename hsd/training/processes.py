"""Several processes that learn together, each with a whole copy of the base."""

from collections.abc import Sequence

import torch
from accelerate.utils import DistributedType

from hsd.errors import PreflightError
from hsd.stopping import StopRequest


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
    flag = torch.tensor(float(request.signal is not None), device=device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(flag)
    return bool(flag > 0)


def require_whole_copies(how: DistributedType) -> None:
    """Refuse launchers that split the base over processes: pieces run on whole copies."""
    if how not in (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        raise PreflightError(
            f"the launcher splits the model over processes ({how.value}); hsd trains with a whole "
            "copy in each. Start it with `accelerate launch --multi_gpu` or torchrun."
        )
