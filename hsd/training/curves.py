"""The curves of one training run as a picture: loss, gradient norm, learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsd.io.files import atomic_file
from hsd.training.convergence import (
    ConvergenceVerdict,
    Patience,
    convergence_verdict,
    patience_of,
    smoothed,
)
from hsd.training.history import Curves, Point, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by lightness.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY = "#5a5a5a"
PANEL_INCHES = 2.3
DPI = 130


def convergence_report(
    run: Path, folder: Path | None = None, patience: Patience | None = None
) -> tuple[ConvergenceVerdict, list[Path]]:
    """Judge a run, draw its curves, and return the verdict and the pictures' paths.

    `folder` defaults to the run's own, `patience` to the early stopping of its config.json.
    """
    home = run if run.is_dir() else run.parent
    curves = read_curves(run)
    verdict = convergence_verdict(curves, patience or patience_of(home))
    return verdict, draw_curves(curves, verdict, folder or home)


def draw_curves(curves: Curves, verdict: ConvergenceVerdict, folder: Path) -> list[Path]:
    """Write convergence.png and convergence.svg into `folder` and return their paths."""
    import matplotlib as mpl

    paths = [folder / "convergence.png", folder / "convergence.svg"]
    # A fixed salt and no date: the same run draws the same bytes.
    with mpl.rc_context({"svg.hashsalt": "hsd", "font.size": 10}):
        figure = _figure(curves, verdict)
        for path in paths:
            kind = path.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else None
            with atomic_file(path, "wb") as file:
                figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
    return paths


def _figure(curves: Curves, verdict: ConvergenceVerdict) -> Figure:
    from matplotlib.figure import Figure

    panels = [
        panel
        for panel, points in (
            (_label_panel, curves.eval_label_accuracy),
            (_gradient_panel, curves.grad_norm),
            (_rate_panel, curves.learning_rate),
        )
        if points
    ]
    heights = [2.0] + [1.0] * len(panels)
    size = (8.0, PANEL_INCHES * sum(heights) * 0.8 + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _loss_panel(axes[0], curves, verdict)
    for axis, panel in zip(axes[1:], panels, strict=True):
        panel(axis, curves)
    for axis in axes:
        axis.grid(color="#e4e4e4", linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("optimiser step")
    figure.align_ylabels(axes)
    figure.suptitle(f"Training: {verdict.status}", fontweight="bold", x=0.01, ha="left")
    return figure


def _loss_panel(axis: Axes, curves: Curves, verdict: ConvergenceVerdict) -> None:
    if curves.loss:
        _line(axis, curves.loss, color=BLUE, alpha=0.3, linewidth=1, label="training, as logged")
        _line(axis, smoothed(curves.loss), color=BLUE, linewidth=1.8, label="training, smoothed")
    if curves.eval_loss:
        _line(axis, curves.eval_loss, color=RED, marker="o", markersize=4, label="validation")
    if verdict.best and verdict.judged == "validation loss":
        _mark(axis, verdict.best, GREEN, "--", f"best validation: {verdict.best.value:.3f}")
    if verdict.early_stop:
        _mark(axis, verdict.early_stop, GREY, ":", "early stopping")
    axis.set_ylabel("loss (nats)")
    # Above the panel, where it can hide no curve.
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)


def _label_panel(axis: Axes, curves: Curves) -> None:
    dots = {"marker": "o", "markersize": 4}
    _line(axis, curves.eval_label_accuracy, color=BLUE, label="accuracy", **dots)
    if curves.eval_auroc:
        _line(axis, curves.eval_auroc, color=RED, label="AUROC", **dots)
    axis.set_ylabel("validation labels")
    axis.legend(loc="lower right", frameon=False, fontsize=9)


def _gradient_panel(axis: Axes, curves: Curves) -> None:
    _line(axis, curves.grad_norm, color=ORANGE, linewidth=1.2)
    axis.set_ylabel("gradient norm")
    axis.set_ylim(bottom=0)


def _rate_panel(axis: Axes, curves: Curves) -> None:
    _line(axis, curves.learning_rate, color=GREEN, linewidth=1.5)
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)


def _line(axis: Axes, points: Sequence[Point], **style: Any) -> None:
    axis.plot([p.step for p in points], [p.value for p in points], **style)


def _mark(axis: Axes, point: Point, color: str, line: str, words: str) -> None:
    axis.axvline(point.step, color=color, linestyle=line, label=f"{words} (step {point.step})")
