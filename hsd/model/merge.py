"""An adapter merged into its base: a folder that stands alone and is proven to answer the same.

Weights in 4 bit are never merged into: the sum would be quantised once more, which destroys the
model (measured: loss .013 -> 3.69).
"""

import errno
import gc
import glob
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from torch import Tensor

from hsd.config.merge_config import MergeConfig, Onto
from hsd.errors import InUseError, ModelError, PreflightError
from hsd.hub.weight_files import bytes_digest, weight_files
from hsd.io.digests import recorded_digests
from hsd.io.files import LEASE, require_space
from hsd.io.lease import Lease, hold_lease
from hsd.io.manifest import MANIFEST, manifest_of, update_manifest
from hsd.io.progress import Progress, silent
from hsd.io.provenance import now, provenance
from hsd.io.run_identity import ADAPTER_SETTINGS, IDENTITY, claim, identity_of
from hsd.model.adapter import load_adapter, merged_adapter
from hsd.model.adapter_folder import CONFIG, recorded_base
from hsd.model.base import load_base
from hsd.model.dequantize import dequantize
from hsd.model.describe import describe_base, has_other_files
from hsd.model.memory import memory_error_as
from hsd.model.merge_check import TOLERANCE, disagreement, disagreement_with_4bit
from hsd.model.merge_figures import sentences_of
from hsd.model.merge_plan import MergePlan, plan_merge
from hsd.model.packed_merge import read_packed, write_packed
from hsd.model.placement import place
from hsd.model.probes import Agreement, agreement, answer_logits, make_probes
from hsd.model.standalone import read_back, write_standalone
from hsd.prompts.contract import FILE

log = logging.getLogger(__name__)

UNPACK = " --experts unpacked writes float32 where that is needed."


@dataclass(frozen=True, slots=True)
class Merged:
    """A finished merge. `figures` say what was verified; `skipped`: it was finished before."""

    folder: Path
    onto: Onto
    figures: Mapping[str, Any]
    skipped: bool = False

    def sentences(self) -> list[str]:
        """Return what a person wants to know at the end."""
        before = ["Was finished before."] if self.skipped else []
        return [*before, *sentences_of(self.figures), f"Merged model: {self.folder}"]


def merge(config: MergeConfig, progress: Progress = silent) -> Merged:
    """Merge an adapter into its base and return the verified folder.

    The folder appears only when adapter and merged model were shown to agree. Raises ModelError
    when they do not, or when adapter and base do not fit; PreflightError when `output_dir` holds
    something else or the disk is too small, and InUseError while another process merges into it.
    """
    planned, output = plan_merge(config), config.output_dir
    if before := _made_before(planned, output):
        return before
    _require_room(planned, output, planned.formats[0])
    target = output.resolve()
    # Beside the folder, which must stay absent, or empty, until the merged model takes its name.
    with hold_lease(target.parent, "hsd merge", name=f"{LEASE}-{target.name}", of=output) as lease:
        # By who had the lease a moment ago.
        return _made_before(planned, output) or _made(planned, output, lease, progress)


def _made_before(planned: MergePlan, output: Path) -> Merged | None:
    """Return the merge that is there; None where nothing is, and an error for anything else."""
    if not (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        return None
    claim(output, planned.identity())  # raises, unless it is this very merge
    _require_known_settings(planned, output)
    if has_other_files(planned.source, recorded_base(output)):
        raise ModelError(
            f"{output}: the weight files of {planned.source.name} have changed since the adapter "
            "was merged into them; put them back, or remove the folder, and the same command "
            "merges again."
        )
    return Merged(output, planned.onto, _verified(output), skipped=True)


def _require_known_settings(planned: MergePlan, output: Path) -> None:
    """Refuse a merge of an earlier hsd, unless the adapter's settings are those of its training."""
    known = identity_of(output) or {}
    of_training = CONFIG in recorded_digests(planned.adapter)  # compared in the plan
    if ADAPTER_SETTINGS in known or of_training:
        return
    raise ModelError(
        f"{output}: an earlier hsd merged here and did not record the adapter's settings, so "
        f"{planned.adapter / CONFIG} may have changed since; remove the folder, and the same "
        "command merges again."
    )


def _made(planned: MergePlan, output: Path, lease: Lease, progress: Progress) -> Merged:
    with _staged(output, lease) as folder:
        claim(folder, planned.identity())
        full = ModelError(
            f"{planned.source.name}: memory is full; where that is the GPU's, use --device-map cpu."
        )
        with memory_error_as(full):
            base, figures = _build(planned, folder, progress)
        _describe(planned, folder, base, figures)
    return Merged(output, planned.onto, figures)


def _verified(output: Path) -> dict[str, Any]:
    """Return the figures of a finished merge, once its weights are those that were verified."""
    manifest = manifest_of(output)
    known = manifest.get("files_sha256")  # none of an earlier hsd
    if known and known != bytes_digest(weight_files(output)):
        raise ModelError(
            f"{output}: its weights are not those that were verified when it was merged; remove "
            "the folder, and the same command merges again."
        )
    figures: dict[str, Any] = manifest["figures"]
    return figures


def _require_room(planned: MergePlan, folder: Path, dtype: torch.dtype) -> None:
    require_space(folder, planned.written_gb(dtype), f"the merged model in {_name(dtype)}")


@contextmanager
def _staged(output: Path, lease: Lease) -> Iterator[Path]:
    """Yield a folder beside `output` that takes its name when the block ends well, else goes."""
    target = output.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_killed(target)
        folder = target.parent / f".{target.name}.{token_hex(4)}"
        folder.mkdir()
    except OSError as error:
        raise PreflightError(f"{output}: cannot be written ({error.strerror}).") from None
    try:
        yield folder
        for file in folder.glob("*.safetensors"):
            shutil.copymode(folder / MANIFEST, file)  # safetensors lets nobody but the owner read
        lease.require()
        _give_name(folder, target, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_killed(target: Path) -> None:
    """Remove what merges into this folder left that were killed: each is as big as the model."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*"):
        if re.fullmatch(r"[0-9a-f]{8}", path.suffix[1:]) and (path / IDENTITY).is_file():
            shutil.rmtree(path, ignore_errors=True)


def _give_name(folder: Path, target: Path, output: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise InUseError(
            f"{output}: something was put there while the adapter was merged; nothing of the merge "
            "is left. Look at what it is, or choose another folder."
        ) from None


def _build(
    planned: MergePlan, folder: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the merged model; return the facts of its base, and the figures.

    The base's own number format is tried first; where that rounds too much away, float32 is,
    unless experts stay packed: what serves those would round to the base's format once more.
    """
    in_4bit = _trained(planned, progress) if planned.trained_in_4bit else None
    refused: dict[str, str] | None = None
    for dtype in planned.formats:
        _require_room(planned, folder, dtype)
        base, adapted, effect = _write(planned, folder, dtype, progress)
        merged = _read(planned, folder, progress)
        to_adapter = agreement(planned.probes, adapted, merged)
        to_4bit = agreement(planned.probes, in_4bit, merged) if in_4bit else None
        problem = disagreement(to_adapter, effect, dtype)
        if to_4bit and planned.dequantizes:
            problem = problem or disagreement_with_4bit(to_4bit)
        log.info("merged in %s: %s; %s", dtype, to_adapter, problem or "agrees")
        if problem is None:
            return base, {
                "into": planned.target,
                "dtype": _name(dtype),
                "refused": refused,
                "tolerance": TOLERANCE[dtype],
                "to_adapter": to_adapter.facts(),
                "adapter_to_base": effect.facts(),
                "to_4bit": to_4bit.facts() if to_4bit else None,
            }
        refused = {"dtype": _name(dtype), "because": problem}
    raise ModelError(
        f"{planned.adapter}: merged into {planned.target} ({planned.source.name}) it does not "
        f"answer as before: {problem}. Nothing was kept.{UNPACK if planned.packed else ''}"
    )


def _trained(planned: MergePlan, progress: Progress) -> list[Tensor]:
    """Return the logits of the 4-bit model as it was trained."""
    note = _counter(progress, len(planned.probes), "probes on the 4-bit model")
    base = load_base(
        planned.model.model_copy(update={"quantization": planned.as_trained}), planned.source
    )
    logits = answer_logits(load_adapter(base, planned.adapter), planned.probes, note)
    del base
    gc.collect()
    return logits


def _write(
    planned: MergePlan, folder: Path, dtype: torch.dtype, progress: Progress
) -> tuple[dict[str, Any], list[Tensor], Agreement]:
    """Write the merged model; return its base's facts, the adapter's logits and its effect."""
    note = _counter(progress, 2 * len(planned.probes), "probes on base and adapter")
    base = load_base(planned.model, planned.source)
    facts = describe_base(base)
    if planned.dequantizes:
        dequantize(base)
    plain = answer_logits(base.model, planned.probes, note)  # before: loading may rewrite the base
    model = load_adapter(base, planned.adapter)
    adapted = answer_logits(model, planned.probes, note)
    write = write_packed if planned.packed else write_standalone
    write(merged_adapter(model, planned.adapter), base, folder, dtype)
    del base, model
    gc.collect()  # a model holds itself in circles, and the next one is as big
    return facts, adapted, agreement(planned.probes, adapted, plain)


def _read(planned: MergePlan, folder: Path, progress: Progress) -> list[Tensor]:
    """Return the logits of the model that was written, asked through its own tokenizer."""
    note = _counter(progress, len(planned.probes), "probes on the merged model")
    if planned.packed:
        model, tokenizer = read_packed(folder, planned.model)
    else:
        model, tokenizer = read_back(folder, place(planned.model))
    context = getattr(model.config, "max_position_embeddings", None)
    if make_probes(tokenizer, planned.contract, len(planned.probes), context) != planned.probes:
        raise ModelError("the merged model's tokenizer does not read back whole; nothing was kept.")
    logits = answer_logits(model, planned.probes, note)
    del model
    gc.collect()
    return logits


def _counter(progress: Progress, total: int, what: str) -> Callable[[], None]:
    progress(0, total, what)
    numbers = count(1)
    return lambda: progress(next(numbers), total, what)


def _describe(
    planned: MergePlan, folder: Path, base: Mapping[str, Any], figures: Mapping[str, Any]
) -> None:
    prompt = planned.adapter / FILE
    if prompt.exists():
        shutil.copyfile(prompt, folder / FILE)
    update_manifest(
        folder,
        kind="merge",
        base=base,
        adapter={"path": str(planned.adapter), "sha256": planned.adapter_sha256},
        onto=planned.onto,
        prompt={"hash": planned.contract.hash, "of_the_adapter": prompt.exists()},
        figures=figures,
        files_sha256=bytes_digest(weight_files(folder)),
        finished=now(),
        **provenance(),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
