"""`python -m benchmarks.kill`: hsd's commands, killed at random times and on full disks."""

import argparse
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests" / "support"
"""The tiny model, and the processes that start in a tenth of a second, are the tests' own."""

SIZES = 40
"""Of the disks that each command finds full."""

HEAD = ["command", "kills or full disks", "ended as undisturbed", "left over", "seconds"]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    add = made.add_argument
    add(
        "--only",
        nargs="+",
        metavar="CASE",
        help="names that begin so, such as train (default: all)",
    )
    add("--seed", type=int, default=1, help="of the times of the kills (default: 1)")
    add("--share", type=float, default=1.0, help="of the kills: .1 is a quick look (default: 1)")
    add("--work", type=Path, help="where all is written (default: a temporary folder)")
    return made


def main() -> int:
    """Run the campaigns and print their table; 1 where something was wrong."""
    asked = parser().parse_args()
    sys.path.insert(0, str(TESTS))
    if asked.work:
        return _run(asked, asked.work.absolute())
    with tempfile.TemporaryDirectory(prefix="hsd-kill-") as folder:
        return _run(asked, Path(folder))


def _run(asked: argparse.Namespace, work: Path) -> int:
    from dataclasses import replace

    from benchmarks.kill.campaign import campaign
    from benchmarks.kill.cases import cases
    from benchmarks.kill.disk import can_mount, full_disk
    from benchmarks.kill.real_slurm import HEAD as SLURM_HEAD
    from benchmarks.kill.real_slurm import NAME as ON_SLURM
    from benchmarks.kill.real_slurm import can_submit, on_slurm
    from benchmarks.kill.submission import NAME, submissions

    def wanted(name: str) -> bool:
        return not asked.only or any(name.startswith(start) for start in asked.only)

    outcomes = []
    chosen = [case for case in cases(work) if wanted(case.name)]
    for case in chosen:
        fewer = replace(case, kills=max(1, round(case.kills * asked.share)))
        outcomes.append(campaign(fewer, asked.seed, _tell))
    if not can_mount(work / "mount"):
        _tell("full disks: not tried, since a tmpfs cannot be mounted here (it needs root)")
        chosen = []
    for case in chosen:
        outcomes.append(full_disk(case, max(2, round(SIZES * asked.share)), _tell))
    if wanted(NAME):
        outcomes.append(submissions(work / "submission", asked.share, _tell))
    if wanted(ON_SLURM) and can_submit():
        outcome, rows = on_slurm(work / "slurm", asked.share, _tell)
        outcomes.append(outcome)
        _show(SLURM_HEAD, rows)
    elif wanted(ON_SLURM):
        _tell(f"{ON_SLURM}: not tried, since no SLURM answers here")
    _show(HEAD, [outcome.row() for outcome in outcomes])
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def _show(head: list[str], rows: list[list[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
