"""How long the numbers of a report take: many posts and groups, a base and two baselines beside.

    python -m benchmarks.report_speed --rows 50000 --groups 13

prints seconds and peak memory as JSON. No model runs: answers are drawn.
"""

import json
import resource
import time

import click
import numpy as np

from hsd.metrics.evaluation import summarize
from hsd.prediction import Prediction

SOURCES = ("a", "b", "c")


def drawn_answers(rows: int, groups: int, seed: int, shift: float) -> list[Prediction]:
    """Return answers on the same posts for every seed; a post is about none, one or two groups."""
    posts, answers = np.random.default_rng(1), np.random.default_rng(seed)
    names = [f"group{number:02d}" for number in range(groups)]
    return [_answer(number, posts, answers, names, shift) for number in range(rows)]


def _answer(
    number: int,
    posts: np.random.Generator,
    answers: np.random.Generator,
    names: list[str],
    shift: float,
) -> Prediction:
    is_hate = bool(posts.random() < 0.5)
    about = posts.choice(len(names), size=posts.choice([0, 1, 1, 1, 2]), replace=False)
    logit = answers.normal(1.0 if is_hate else -1.0, 1.3) + shift
    score = float(1 / (1 + np.exp(-logit)))
    return Prediction(
        id=f"{number:06d}",
        strategy="standard",
        text=f"post {number}",
        true_label="hate" if is_hate else "normal",
        label="hate" if score > 0.5 else "normal",
        outcome="valid",
        score=score,
        groups=tuple(names[at] for at in about),
        source_dataset=str(posts.choice(SOURCES)),
    )


@click.command()
@click.option("--rows", type=click.IntRange(min=100), default=50_000, show_default=True)
@click.option("--groups", type=click.IntRange(min=2), default=13, show_default=True)
def main(rows: int, groups: int) -> None:
    """Time every number of a report."""
    own, base, first, second = (
        drawn_answers(rows, groups, seed, shift)
        for seed, shift in ((2, 0.0), (3, 1.0), (4, 0.2), (5, -0.2))
    )
    started = time.monotonic()
    summarize(own, base=("base", base), made={"first": first, "second": second})
    took = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    said = {"rows": rows, "groups": groups, "seconds": round(took, 1), "peak_mib": peak}
    click.echo(json.dumps(said))


if __name__ == "__main__":
    main()
