"""Two learning rates: the B matrices of an adapter learn faster than the A matrices (LoRA+).

Hayou et al. 2024, arXiv 2402.12354. peft's own makes of DoRA's lengths what decays, and another
number of groups for plain LoRA, which a checkpoint of an earlier hsd does not have.
"""

import torch
from torch import nn

LENGTHS = "lora_magnitude_vector"
"""What names of DoRA's learned lengths hold."""
FASTER = ("lora_B", "lora_embedding_B", LENGTHS)
"""What names hold of parameters that learn at the higher rate, as in peft."""
PLAIN_GROUPS = 2
"""Groups of the Trainer's optimiser: what decays, and what does not."""


def split_for_loraplus(optimizer: torch.optim.Optimizer, model: nn.Module, ratio: float) -> None:
    """Give what learns faster groups of its own, with `ratio` times the learning rate."""
    faster = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if any(part in name for part in FASTER)
    }
    for group in list(optimizer.param_groups):
        moved = [p for p in group["params"] if id(p) in faster]
        group["params"] = [p for p in group["params"] if id(p) not in faster]
        settings = {name: value for name, value in group.items() if name != "params"}
        settings["lr"] = ratio * group["lr"]
        optimizer.add_param_group({"params": moved, **settings})
