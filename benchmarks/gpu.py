"""Speed and memory on one GPU: training steps and scores of real shapes, with random weights.

    python -m benchmarks.gpu                 on a GPU, under 9 minutes, no network
    python -m benchmarks.gpu --dry-run       every part on a CPU with tiny shapes, a minute

Each part is a process with a time budget of its own. A part that fails is a row with its error, and
the others still run. Each row is printed as a line of JSON when it is measured, and kept in
`gpu.jsonl`; a table comes at the end. Needs torch 2.11 and transformers 5.17 or newer.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from packaging.version import Version

from benchmarks.gpu_table import gains, table

Row = dict[str, Any]
LEAST = {"torch": "2.11", "transformers": "5.17"}
BUDGETS_S = {
    "card": 40,
    "llama train": 120,
    "gpt-oss train": 150,
    "llama score": 60,
    "gpt-oss score": 60,
    "llama trl": 90,
}
"""Together 520 s: under 9 minutes, whatever fails. The names are those of gpu_parts.PARTS, which
loads torch: a parent need not."""
TINY_BUDGET_S = 240


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--dry-run", action="store_true", help="every part on a CPU, with tiny shapes")
    add(
        "--parts", nargs="+", choices=tuple(BUDGETS_S), default=list(BUDGETS_S), help="default: all"
    )
    add("--work", type=Path, default=Path("runs/gpu"), help="logs and rows (default: %(default)s)")
    add("--part", choices=tuple(BUDGETS_S), help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    if problem := too_old({name: version(name) for name in LEAST}):
        print(problem, file=sys.stderr)
        return 3
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.part:
        return _be_part(asked.part, asked.work, tiny=asked.dry_run)
    return _all_parts(asked.parts, asked.work, tiny=asked.dry_run)


def too_old(installed: dict[str, str]) -> str | None:
    """Return what is to be upgraded, None where nothing is."""
    old = {n: v for n, v in installed.items() if Version(v) < Version(LEAST[n])}
    found = ", ".join(f"{name} {LEAST[name]} or newer (here: {old[name]})" for name in old)
    return f"benchmarks.gpu needs {found}." if found else None


def _all_parts(parts: Sequence[str], work: Path, *, tiny: bool) -> int:
    rows: list[Row] = []
    with (work / "gpu.jsonl").open("w", encoding="utf-8") as kept:
        for part in parts:
            for row in part_rows(part, work, tiny=tiny):
                rows.append({"part": part, **row})
                for stream in (sys.stdout, kept):
                    print(json.dumps(rows[-1]), file=stream, flush=True)
    rows += gains(rows)
    print(table(rows))
    return 1 if any("error" in row for row in rows) else 0


def part_rows(part: str, work: Path, *, tiny: bool, budget_s: int | None = None) -> Iterator[Row]:
    """Yield the rows of a part as they are measured, and one more with what ended it early."""
    budget = (TINY_BUDGET_S if tiny else BUDGETS_S[part]) if budget_s is None else budget_s
    log = work / f"{part.replace(' ', '-')}.log"
    command = [sys.executable, "-m", "benchmarks.gpu", "--work", str(work), "--part", part]
    command += ["--dry-run"] if tiny else []
    with log.open("wb") as errors, _started(command, errors) as child:
        timer = threading.Timer(budget, child.kill)
        timer.start()
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("{"):  # what libraries print is none
                yield json.loads(line)
        code, is_late = child.wait(), timer.finished.is_set()
        timer.cancel()
    if code:
        why = f"took longer than its {budget} s" if is_late else f"ended with {code}"
        yield {"variant": "part", "error": f"{why}: {_last_line(log)}"}


def _started(command: Sequence[str], errors: IO[bytes]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=_checkout()
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it printed nothing"


def _checkout() -> Path:
    return Path(__file__).resolve().parents[1]


def _be_part(name: str, work: Path, *, tiny: bool) -> int:
    """Measure one part in this process, and print its rows."""
    import torch

    from benchmarks.gpu_parts import PARTS, Asked

    if not tiny and not torch.cuda.is_available():
        print("torch sees no GPU; --dry-run runs every part on a CPU", file=sys.stderr)
        return 3
    asked = Asked("cpu" if tiny else "cuda:0", tiny, work)
    for row in PARTS[name](asked):
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
