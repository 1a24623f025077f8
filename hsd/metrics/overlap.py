"""Posts that stand in two sets, told by their words and not by their ids."""

from collections.abc import Iterable

from hsd.data.duplicates import normalise
from hsd.metrics.prediction import Prediction


def among(predictions: Iterable[Prediction], texts: Iterable[str]) -> list[str]:
    """Return the ids of the posts that are among `texts`, in order.

    Two texts are one post as `hsd data check` compares them: case, punctuation, addresses, user
    names and numbers do not tell them apart.
    """
    known = set(map(normalise, texts))
    return [p.id for p in predictions if normalise(p.text) in known]
