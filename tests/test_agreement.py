"""What hsd reports is what scikit-learn, fairlearn, statsmodels and scipy say of the same rows."""

import numpy as np
from posts import predictions

from benchmarks.agreement import differences
from hsd.prediction import Prediction


def drawn(seed: int, lean: float, n: int = 300) -> list[Prediction]:
    """Posts about one group or two, with scores that lean towards the label by so much."""
    groups = np.random.default_rng(0).choice(["lgbtq", "mexican", "lgbtq+mexican", "zebra"], n)
    truth = np.random.default_rng(1).choice(["h", "n"], n)
    leaning = np.random.default_rng(seed).normal(lean * np.where(truth == "h", 1, -1), 1)
    rows = zip(groups, truth, 1 / (1 + np.exp(-leaning)), strict=True)
    return predictions("\n".join(f"{g} {t} {'h' if s > 0.5 else 'n'} {s}" for g, t, s in rows))


def test_every_quantity_agrees_with_the_libraries_to_1e_12() -> None:
    found = differences(drawn(2, 0.5), drawn(3, 0.2))
    assert len(found) > 60
    assert {name: apart for name, apart in found.items() if apart > 1e-12} == {}
