"""Draw docs/figures/report.png: the top of a report page, with invented answers.

`make picture` writes two small evaluations of the embedded posts, calls `hsd report`, and takes a
screenshot with Chromium.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from hsd.data.data_sets import resolve
from hsd.example import Example
from hsd.prediction import Prediction

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "figures" / "report.png"
LARGEST = 250_000
"""Bytes; a README should load at once."""
_WINDOW = "1100,1000"
_ENDS_WELL = (0, 20, 21)
"""A gate's verdict is no error here."""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def answers(examples: list[Example], spread: float, seed: int) -> Iterator[Prediction]:
    """Yield an invented answer for each post; a larger `spread` makes more of them wrong."""
    draw = random.Random(seed)
    for example in examples:
        centre = 0.8 if example.label == "hate" else 0.2
        score = min(0.999, max(0.001, draw.gauss(centre, spread)))
        yield Prediction(
            id=example.id,
            strategy="standard",
            text=example.text,
            true_label=example.label,
            label="hate" if score >= 0.5 else "normal",
            outcome="valid",
            score=round(score, 4),
            groups=example.groups,
            source_dataset=example.source_dataset,
            response_time=0.1,
            reply="{}",
        )


def write_run(folder: Path, rows: Iterator[Prediction]) -> Path:
    """Write an evaluation's predictions and return its folder."""
    folder.mkdir(parents=True)
    lines = [json.dumps(asdict(row)) + "\n" for row in rows]
    (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def make_page(folder: Path) -> Path:
    """Write a run and its base into `folder`, and return the run's report page."""
    examples = resolve("embedded")
    base = write_run(folder / "base", answers(examples, 0.6, seed=1))
    run = write_run(folder / "adapter", answers(examples, 0.24, seed=2))
    _hsd(folder, "report", run.name, "--base", base.name)
    _hsd(folder, "gate", run.name, "--reference", base.name)
    return run / "report.html"


def _hsd(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True)
    if done.returncode not in _ENDS_WELL:
        sys.exit(done.stderr.decode())


def photograph(chromium: str, page: Path, picture: Path) -> None:
    """Write the top of the page as PNG."""
    profile = f"--user-data-dir={page.parent / 'profile'}"
    options = (*_FLAGS, profile, f"--window-size={_WINDOW}", f"--screenshot={picture}")
    subprocess.run([chromium, *options, page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Write the picture, or say what is missing."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("The picture needs Chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        photograph(chromium, make_page(Path(folder)), PICTURE)
    size = PICTURE.stat().st_size
    if size > LARGEST:
        sys.exit(f"{PICTURE.name}: {size:,} bytes; at most {LARGEST:,} are wanted")


if __name__ == "__main__":
    main()
