"""The rows of two runs side by side, and how many turned right or wrong.

Every row is paired with itself, so runs on different posts are refused: a difference between them
would be a difference between posts.
"""

from collections.abc import Sequence

from hsd.counted import counted
from hsd.errors import EvaluationError
from hsd.metrics.clusters import design_effect, is_clustered, sums, units
from hsd.metrics.intervals import mcnemar, sign_flips
from hsd.prediction import Prediction

Pair = tuple[Prediction, Prediction]


def paired(
    reference: Sequence[Prediction], other: Sequence[Prediction], names: tuple[str, str]
) -> list[Pair]:
    """Return the rows of both runs side by side, ordered by id; refuse rows that differ."""
    before, after = _by_id(reference, names[0]), _by_id(other, names[1])
    if before.keys() != after.keys():
        raise EvaluationError(
            f"{names[0]} and {names[1]} hold different posts: "
            f"{_missing(before.keys() - after.keys(), names[0])}; "
            f"{_missing(after.keys() - before.keys(), names[1])}. "
            "Evaluate both on the same data_file, max_samples and seed."
        )
    pairs = [(before[id_], after[id_]) for id_ in sorted(before)]
    changed = [a.id for a, b in pairs if _facts(a) != _facts(b)]
    if changed:
        raise EvaluationError(
            f"{len(changed)} of {len(pairs)} ids have another text, true label, group or cluster "
            f"in {names[1]} than in {names[0]} (first: {_first(changed)}). Evaluate both on the "
            "same data_file."
        )
    if not pairs:
        raise EvaluationError(f"{names[0]} and {names[1]} hold no predictions.")
    return pairs


def turns_of(pairs: list[Pair]) -> list[int]:
    """Return 1 for each post that was right and is wrong, -1 the other way round, 0 as it was."""
    return [a.is_right - b.is_right for a, b in pairs]


def effect_of(pairs: list[Pair]) -> float:
    """Return how many posts' turns tell as much as one post's by itself."""
    return design_effect(turns_of(pairs), units([a for a, _ in pairs])) if pairs else 1.0


def turn_p_value(pairs: list[Pair]) -> float:
    """Return the exact p of as many posts turning wrong as right."""
    turns = turns_of(pairs)
    before = [a for a, _ in pairs]
    if not is_clustered(before):
        return mcnemar(turns.count(1), turns.count(-1))
    return sign_flips(int(one) for one in sums(turns, units(before)).values())


def _facts(prediction: Prediction) -> tuple[object, ...]:
    """Return what two runs must agree on: the data's, not the model's."""
    p = prediction
    return p.true_label, p.text, sorted(p.groups), p.cluster


def _by_id(predictions: Sequence[Prediction], name: str) -> dict[str, Prediction]:
    rows = {p.id: p for p in predictions}
    if again := len(predictions) - len(rows):
        raise EvaluationError(
            f"{name}: {counted(again, 'row repeats', 'rows repeat')} an id; each post counts once."
        )
    return rows


def _missing(ids: set[str], name: str) -> str:
    return f"{len(ids)} ids only in {name}" + (f" (first: {_first(ids)})" if ids else "")


def _first(ids: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(ids)[:3])
