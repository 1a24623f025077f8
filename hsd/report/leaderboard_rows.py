"""A leaderboard as rows of a table, for a terminal and a Markdown page."""

from hsd.metrics.leaderboard import Leaderboard, Standing
from hsd.report.formatting import METRIC_WORDS, between, number


def ranking_header(board: Leaderboard) -> tuple[str, ...]:
    """Return the columns' names."""
    metric = METRIC_WORDS[board.metric]
    return ("run", "gate", metric, "95 %, all runs at once", "behind the best", "worst F1")


def ranking_rows(board: Leaderboard) -> list[tuple[str, ...]]:
    """Return each run's place; last those that have no evaluation, failed or not there yet."""
    failed = [(entry.name, "no result", "-", "-", "-", "-") for entry in board.failures]
    return [*(_row(one, board.metric) for one in board.standings), *failed]


def behind_best(one: Standing, metric: str) -> str:
    """Return whether a run is behind the best: yes or no, `-` for a run without the metric."""
    if getattr(one.metrics, metric) is None:
        return "-"
    return "yes" if one.is_apart else "no"


def _row(one: Standing, metric: str) -> tuple[str, ...]:
    return (
        one.name,
        one.verdict.status.value if one.verdict else "-",
        number(getattr(one.metrics, metric)),
        between(one.interval),
        behind_best(one, metric),
        number(one.gaps.worst.f1 if one.gaps.worst else None),
    )
