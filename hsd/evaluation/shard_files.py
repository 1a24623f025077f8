"""What the shards of one evaluation tell each other: a file for each of them in its folder.

Shards are jobs that may run at different times, on different nodes. So nothing but the disk passes
between them: in which numbers each computes, with which packages, and whether its rows are
answered. Answers of unlike shards in one table would be no model's.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsd.config.run_record import counting_gpu_hours
from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_object
from hsd.io.manifest import manifest_of, update_manifest
from hsd.io.provenance import provenance
from hsd.io.run_identity import differences
from hsd.io.shard import Shard
from hsd.report.predictions import PARTS

Facts = dict[str, Any]
_FILES = "shard-*-of-*.json"
_COUNT = re.compile(r"-of-(\d+)\.json$")
_OF_A_SHARD = ".shard-"
_PACKAGES = ("hsd", "torch", "transformers", "peft", "bitsandbytes")
"""What decides the numbers of an answer; another version of one may answer otherwise."""
_ALIKE = ("number_format", "packages", "engine", "vllm")


def suffix(shard: Shard) -> str:
    """Return what the names of a shard's own files hold; nothing where there is one job alone."""
    return "" if shard.is_whole else f"{_OF_A_SHARD}{shard.name}"


def refuse_other_numbers(sentence: str) -> PreflightError:
    """Return the error of a shard that would compute otherwise than the others of its evaluation.

    `sentence` says where their answers are, and in which numbers.
    """
    return PreflightError(
        f"{sentence.partition(' and is left')[0]}, and shards must be alike: run all of them on "
        "nodes of one kind, or set model.dtype=float32 and model.quantization=none, which all can; "
        "or choose another output_dir."
    )


def require_same_shards(folder: Path, shard: Shard) -> None:
    """Raise PreflightError where the evaluation in `folder` began in another number of parts.

    Rows would be answered twice.
    """
    counts = {int(found[1]) for file in folder.glob(_FILES) if (found := _COUNT.search(file.name))}
    if any(_OF_A_SHARD not in file.name for file in folder.glob(PARTS)):
        counts.add(1)
    if counts <= {shard.count}:
        return
    began = max(counts - {shard.count})
    how = "by one job, without --shard" if began == 1 else f"in {began} shards (--shard I/{began})"
    raise PreflightError(
        f"{folder} was begun {how}; go on with it so, or remove the folder to start over."
    )


def join_shards(folder: Path, shard: Shard, numbers: Mapping[str, Any]) -> None:
    """Write down that a shard works here, and how it computes.

    Raises PreflightError where it is unlike another, or unlike what it was before.
    """
    packages = provenance()["packages"]
    _write_alike(
        folder,
        shard,
        {
            "number_format": dict(numbers),
            "packages": {name: packages[name] for name in _PACKAGES if name in packages},
        },
    )


def note_engine(folder: Path, shard: Shard, engine: Mapping[str, Any]) -> None:
    """Write down with which engine a shard answers: all rows decide, so that all must agree.

    Raises PreflightError where another shard answers otherwise, as one on another kind of node may.
    """
    _write_alike(folder, shard, {"engine": dict(engine)})


def note_vllm(folder: Path, shard: Shard, facts: Mapping[str, Any]) -> None:
    """Write down, before the first row counts, which vLLM answers: of one job alone too.

    Raises PreflightError where another shard, or an earlier start, was answered by another one.
    """
    _write_alike(folder, shard, {"vllm": dict(facts)})


def note_answering(folder: Path, shard: Shard, facts: Mapping[str, Any]) -> None:
    """Write down what answers and what its check found: the first shard in the manifest.

    The others have a file of their own, until all are answered: the manifest has one writer.
    """
    if shard.index == 0:
        update_manifest(folder, answering=dict(facts))
    else:
        write_json(_file(folder, shard), _known(folder, shard) | {"answering": dict(facts)})


def record_answering(folder: Path, count: int) -> None:
    """Write into the manifest what `note_answering` kept of the other shards, by their names."""
    others = {one.name: _known(folder, one) for one in _shards_after_first(count)}
    if found := {
        name: known["answering"] for name, known in others.items() if "answering" in known
    }:
        answering = manifest_of(folder).get("answering") or {}
        update_manifest(folder, answering={**answering, "shards": found})


@contextmanager
def hours_noted(folder: Path, shard: Shard, gpus: int, since: float) -> Iterator[None]:
    """Add a start's GPU-hours to a shard's, however the block ends.

    `since` is when the GPUs were taken, in `time.monotonic()` seconds. A start that was killed
    leaves none, nor one whose shard was taken over.
    """

    def add(hours: float) -> None:
        known = _known(folder, shard)
        spent = known.get("gpu_hours", 0.0) + hours
        write_json(_file(folder, shard), known | {"gpu_hours": round(spent, 6)})

    with counting_gpu_hours(gpus, since, add):
        yield


def note_answered(folder: Path, shard: Shard) -> None:
    """Write down that all rows of a shard are answered."""
    write_json(_file(folder, shard), _known(folder, shard) | {"answered": True})


def is_answered(folder: Path, shard: Shard) -> bool:
    """Whether all rows of a shard are answered."""
    return bool(_known(folder, shard).get("answered"))


def unanswered(folder: Path, shard: Shard) -> int:
    """Return how many of all shards have rows to answer."""
    return sum(not is_answered(folder, Shard(at, shard.count)) for at in range(shard.count))


def record_shards(folder: Path, shard: Shard) -> None:
    """Write into the manifest what all shards took, once all are answered and before the reports.

    Raises PreflightError where they turn out unlike. The first shard's starts are in the manifest;
    of the others it has the hours alone.
    """
    _require_alike(folder, shard, _known(folder, shard))
    own = [s["gpu_hours"] or 0.0 for s in manifest_of(folder).get("starts") or []]
    more = [_known(folder, one) for one in _shards_after_first(shard.count)]
    hours = sum(own) + sum(one.get("gpu_hours", 0.0) for one in more)
    update_manifest(folder, shards=shard.count, gpu_hours=round(hours, 4))
    record_answering(folder, shard.count)


def remove_shard_files(folder: Path) -> None:
    """Remove what only the shards needed, once the evaluation is finished."""
    for file in folder.glob(_FILES):
        file.unlink(missing_ok=True)


def _write_alike(folder: Path, shard: Shard, facts: Mapping[str, Any]) -> None:
    """Write facts down and then look at the others': of two that do so at once one sees both.

    What is refused is taken back.
    """
    file, before = _file(folder, shard), _known(folder, shard)
    _require_alike(folder, shard, facts)  # of what it was before too
    write_json(file, before | dict(facts))
    try:
        _require_alike(folder, shard, facts)
    except PreflightError:
        if before:
            write_json(file, before)
        else:
            file.unlink(missing_ok=True)
        raise


def _require_alike(folder: Path, shard: Shard, mine: Mapping[str, Any]) -> None:
    for file in sorted(folder.glob(_FILES)):
        try:
            other = read_object(file)
        except PreflightError:  # removed meanwhile, by who merged all
            if file.exists():
                raise
            continue
        parts = [part for part in _ALIKE if part in other and part in mine]
        lines = [line for part in parts for line in differences(other[part], mine[part], part)]
        if lines:
            raise PreflightError(_unlike(folder, shard, file, "; ".join(lines)))


def _unlike(folder: Path, shard: Shard, file: Path, lines: str) -> str:
    if shard.is_whole:
        return (
            f"{folder}: its rows so far were answered otherwise: {lines}; go on as they were "
            "answered, or remove the folder to start over."
        )
    return (
        f"{folder}: shard {shard.name} would answer otherwise than {file.stem}: {lines}; run all "
        "shards with one hsd and one vLLM on nodes of one kind, or remove the folder to start over."
    )


def _shards_after_first(count: int) -> list[Shard]:
    return [Shard(at, count) for at in range(1, count)]


def _file(folder: Path, shard: Shard) -> Path:
    return folder / f"shard-{shard.name}.json"


def _known(folder: Path, shard: Shard) -> Facts:
    """Return what a shard wrote; opened by its name, which a shared disk is never slow to show."""
    file = _file(folder, shard)
    return read_object(file) if file.exists() else {}
