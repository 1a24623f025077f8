"""What a launcher's environment asks of accelerate and the Trainer, and what hsd makes of it.

`accelerate launch` hands its user's default_config.yaml on in variables, which accelerate 1.15 and
transformers 5.23 read by themselves. A run is what its config says: what would split the base is
refused, what would change the numbers is not followed, and said.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hsd.errors import ErrorCode, PreflightError

SPLITTING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
SPLITTING_SIZES = tuple(
    f"PARALLELISM_CONFIG_{kind}_SIZE" for kind in ("DP_SHARD", "TP", "CP", "SP")
)

DECIDED_BY = {
    "ACCELERATE_MIXED_PRECISION": "model.dtype",
    "ACCELERATE_DOWNCAST_BF16": "model.dtype",
    "ACCELERATE_FP8_BACKEND": "model.dtype",
    "ACCELERATE_TORCH_DEVICE": "model.device",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "training.accumulation",
    "ACCELERATE_DYNAMO_BACKEND": "nothing is compiled",
}
"""What would change a run's numbers where it is followed, and what decides instead."""
_DETAILS = ("ACCELERATE_DYNAMO_", "ACCELERATE_FP8_", "ACCELERATE_DOWNCAST_")

GPUS_ASKED = "HSD_GPUS"
"""A job's variable: how many GPUs its stage asked the scheduler for on each node."""
USE_CPU = "ACCELERATE_USE_CPU"

_ON = frozenset({"1", "true", "t", "yes", "y", "on"})
_NOTHING = frozenset({"", "no", "none", "false", "0", "off"})
"""What `accelerate launch` writes where its user asked for nothing."""


def is_on(env: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is set to what the libraries read as yes."""
    return env.get(name, "").strip().lower() in _ON


def refuse_cpu_for_gpus(env: Mapping[str, str]) -> None:
    """Raise PreflightError when this job asked for GPUs, and nobody said that the CPU is meant.

    For where none is visible and the device is `auto`: on the CPU a training would take days, in
    another number format, on a node that is paid for its GPUs.
    """
    asked = env.get(GPUS_ASKED, "").strip()
    if not asked.isdigit() or not int(asked) or is_on(env, USE_CPU):
        return
    raise PreflightError(
        f"this job asked for {asked} GPU{'s' if int(asked) > 1 else ''} on each node, but torch "
        f"sees no GPU on {os.uname().nodename}; look at nvidia-smi and CUDA_VISIBLE_DEVICES there, "
        f"or say that the CPU is meant: model.device=cpu, or {USE_CPU}=true in [env.set].",
        code=ErrorCode.GPU_NOT_FOUND,
    )


def require_whole_copies(env: Mapping[str, str]) -> None:
    """Raise PreflightError when the launcher splits the base over processes.

    Before the libraries read the same variables: DeepSpeed that is not installed ends in a
    traceback, and with FSDP every process loads the whole base before anything is refused.
    """
    asked = {name: what for name, what in SPLITTING.items() if is_on(env, name)}
    sizes = {name for name in SPLITTING_SIZES if env.get(name, "1").strip() not in ("", "1")}
    asked |= dict.fromkeys(sorted(sizes), "a parallelism config")
    if not asked:
        return
    name, what = next(iter(asked.items()))
    raise PreflightError(
        f"{name}={env[name]}: the launcher splits the base over processes ({what}), but hsd keeps "
        "a whole copy on each GPU; start it with `torchrun --nproc_per_node N` or `accelerate "
        "launch --multi_gpu --num_processes N` without that setting. Where a copy does not fit, "
        "model.quantization=nf4 or a smaller base does: GPUs of 24 GB hold one of 8 B parameters "
        "in nf4 (about 6 GB each), but not gpt-oss-20b (42 GB)."
    )


def asked_by(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that say something of what a config decides."""
    return {name: env[name] for name in DECIDED_BY if name in env}


def not_followed(env: Mapping[str, str], mixed_precision: str) -> dict[str, str]:
    """Return the variables that ask for another run than the config does, with their values.

    `mixed_precision` is the run's own, `bf16` or `no`. Who asks for the same, or for nothing in
    particular, contradicts nothing.
    """
    agreed = {
        "ACCELERATE_MIXED_PRECISION": mixed_precision,
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
    }
    return {
        name: said
        for name, said in asked_by(env).items()
        if (value := said.strip().lower()) not in _NOTHING and value != agreed.get(name)
    }


def not_followed_sentence(ignored: Mapping[str, str]) -> str:
    """Return what a person wants to know of variables that are not followed."""
    parts = [f"{name}={value} ({DECIDED_BY[name]})" for name, value in ignored.items()]
    return f"The launcher's settings that a run does not follow: {', '.join(parts)}."


@contextmanager
def unseen() -> Iterator[None]:
    """Within the block the libraries find none of the variables that would change the numbers."""
    names = [n for n in os.environ if n in DECIDED_BY or n.startswith(_DETAILS)]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)
