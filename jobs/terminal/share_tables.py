"""What `hsd predict` prints: how many posts were called hate, and the share that is likely true."""

from typing import TYPE_CHECKING

from hsd.metrics.true_share import KnownRates
from jobs.terminal.console import Terminal, escape
from jobs.terminal.output import echo

if TYPE_CHECKING:
    from rich.table import Table

    from hsd.metrics.intervals import Interval
    from hsd.predict.called_shares import CalledCounts, CalledShares
    from hsd.predict.predict_file import Predicted

_CALLED = ("rows", "labelled", "hate", "share", "95 %")
_TRUE = ("true share", "95 %")
MOST = 30
"""Parts that are shown, the largest first; all are in the run's manifest.json."""


def show_predicted(predicted: "Predicted", *, err: bool = False) -> None:
    """Print the shares, what was not labelled, and where the table is; `err` to standard error."""
    if predicted.missing:
        echo(
            f"This shard is done. {predicted.missing:,} posts of other shards are left to answer; "
            f"the last shard writes {predicted.output}."
        )
        return
    if predicted.shares is not None:
        Terminal(stderr=err).print(share_table(predicted.shares, predicted.rule.rates))
        for line in share_lines(predicted.shares, predicted.rule.rates):
            echo(line, err=err)
    if not err:
        echo(f"{'Was finished before' if predicted.skipped else 'Written'}: {predicted.output}")


def share_table(shares: "CalledShares", rates: KnownRates | None) -> "Table":
    """Return the shares of all rows and of each part, with the corrected ones where there are."""
    from jobs.terminal.data_tables import table

    known = rates if rates is not None and not rates.problem else None
    made = table(shares.by or "", *_CALLED, *(_TRUE if known else ()))
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
            f"The likely true share takes sensitivity {rates.sensitivity:.3f} and specificity "
            f"{rates.specificity:.3f} of the evaluation to hold for these posts too."
        )
    return lines


def _cells(counts: "CalledCounts", rates: KnownRates | None) -> list[str]:
    cells = [f"{counts.rows:,}", f"{counts.labelled:,}", f"{counts.hate:,}"]
    cells += [_percent(counts.share), _ends(counts.interval)]
    if rates is not None:
        corrected = counts.corrected(rates)
        cells += [
            _percent(corrected.value if corrected else None),
            _ends(corrected.interval if corrected else None),
        ]
    return cells


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _ends(interval: "Interval | None") -> str:
    return "-" if interval is None else f"{interval.low:.1%} to {interval.high:.1%}"
