"""Predictions over several processes: each row on one rank, merged by id, exactly once."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from hsd.errors import EvaluationError
from hsd.evaluation.shard_files import suffix
from hsd.io.shard import Shard
from hsd.prediction import Prediction
from hsd.prompts.render import Encoded
from hsd.report.predictions import PARTS, read_predictions


def part(folder: Path, rank: int, shard: Shard = Shard()) -> Path:  # noqa: B008 - frozen
    """Return the file that one rank appends its predictions to."""
    return folder / f"predictions.rank{rank}{suffix(shard)}.jsonl"


def done_before(folder: Path) -> dict[str, Prediction]:
    """Return all predictions that earlier or present ranks wrote, by id."""
    found = [p for file in sorted(folder.glob(PARTS)) for p in read_predictions(file)]
    return {prediction.id: prediction for prediction in found}


def own_batches(
    batches: Sequence[Sequence[Encoded]], known: Collection[str], rank: int, ranks: int,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> list[Sequence[Encoded]]:  # fmt: skip
    """Return one rank's share of the batches that hold a row whose id is not `known`.

    Of batches sorted by length each rank gets every `ranks`-th, so all get alike; of shards each
    has every `count`-th of all batches, whatever is known, as they start at different times. They
    stay whole: a row beside fewer others would be another computation.
    """
    mine = batches[shard.index :: shard.count]
    left = [batch for batch in mine if any(row.id not in known for row in batch)]
    return left[rank::ranks]


def merged_shards(folder: Path, ids: Sequence[str]) -> list[Prediction]:
    """Return the predictions of all ranks in the order of `ids`.

    Raises EvaluationError unless each id was answered exactly once, and no other was.
    """
    files = sorted(folder.glob(PARTS))
    found = [prediction for file in files for prediction in read_predictions(file)]
    counts = Counter(prediction.id for prediction in found)
    missing = [id for id in ids if not counts[id]]
    twice = [id for id in ids if counts[id] > 1]
    strange = sorted(counts.keys() - set(ids))
    if missing or twice or strange:
        raise EvaluationError(
            f"{folder}: of {len(ids)} rows {len(missing)} have no prediction and {len(twice)} have "
            f"several, and {len(strange)} predictions are of other rows "
            f"({', '.join([*missing, *twice, *strange][:3])}); run the same command again, or "
            "remove the folder to start over."
        )
    by_id = {prediction.id: prediction for prediction in found}
    return [by_id[id] for id in ids]
