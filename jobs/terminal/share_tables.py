"""What `hsd predict` prints: how many posts were called hate, and the share that is likely true."""

from typing import TYPE_CHECKING

from hsd.metrics.true_share import KnownRates
from jobs.terminal.console import Terminal, escape
from jobs.terminal.output import echo
from jobs.terminal.server_lines import server_lines

if TYPE_CHECKING:
    from rich.table import Table

    from hsd.metrics.intervals import Interval
    from hsd.predict.called_shares import CalledCounts, CalledShares
    from hsd.predict.predict_file import Predicted

_CALLED = ("rows", "labelled", "hate", "hate %")
MOST = 30
"""Parts that are shown, the largest first; all are in the run's manifest.json."""


def show_predicted(predicted: "Predicted", *, err: bool = False) -> None:
    """Print the shares, what was not labelled, and where the table is; `err` to standard error."""
    for line in server_lines(predicted.answering or {}):
        echo(line, err=err)
    if predicted.missing:
        echo(
            f"{'This shard is done' if predicted.had_rows else 'This shard had no rows'}. "
            f"{predicted.missing:,} posts of other shards are left to answer; the last shard "
            f"writes {predicted.output}."
        )
        return
    if predicted.shares is not None:
        Terminal(stderr=err).print(share_table(predicted.shares, predicted.rule.rates))
        for line in share_lines(predicted.shares, predicted.rule.rates):
            echo(line, err=err)
    if not err:
        echo(f"{'Was finished before' if predicted.skipped else 'Written'}: {predicted.output}")


def share_table(shares: "CalledShares", rates: KnownRates | None) -> "Table":
    """Return the share of hate in all rows and in each part, with its interval of 95 %.

    Where the error rates are known that is the true share's, else that of the share called hate.
    """
    from jobs.terminal.data_tables import table

    known = rates if rates is not None and not rates.problem else None
    made = table(shares.by or "", *_CALLED, *(("true %",) if known else ()), "95 %")
    parts = sorted(shares.parts.items(), key=lambda part: -part[1].rows)[:MOST]
    for name, counts in [("all rows", shares.whole), *((n or "(empty)", c) for n, c in parts)]:
        made.add_row(escape(name), *_cells(counts, known))
    return made


def share_lines(shares: "CalledShares", rates: KnownRates | None) -> list[str]:
    """Return the sentences below the table."""
    lines = [
        f"{count:,} row{'s' * (count > 1)}: {reason}." for reason, count in shares.reasons.items()
    ]
    if len(shares.parts) > MOST:
        lines.append(f"{len(shares.parts) - MOST:,} smaller parts are in manifest.json.")
    if rates is None:
        lines.append(
            "The share of posts called hate is no share of hate: it holds false alarms and lacks "
            "misses. hsd corrects it where `hsd threshold` froze a threshold for this model."
        )
    elif rates.problem:
        lines.append(f"The share of hate cannot be corrected: {rates.problem}.")
    else:
        lines.append(
            "true % is the likely true share of hate, with its interval. It takes sensitivity "
            f"{rates.sensitivity:.3f} and specificity {rates.specificity:.3f} of the evaluation to "
            "hold for these posts too."
        )
    return lines


def _cells(counts: "CalledCounts", rates: KnownRates | None) -> list[str]:
    cells = [f"{counts.rows:,}", f"{counts.labelled:,}", f"{counts.hate:,}"]
    cells.append(_percent(counts.share))
    if rates is None:
        return [*cells, _ends(counts.interval)]
    true = counts.corrected(rates)
    return [*cells, _percent(true.value if true else None), _ends(true.interval if true else None)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _ends(interval: "Interval | None") -> str:
    return "-" if interval is None else f"{_percent(interval.low)}-{_percent(interval.high)}"
