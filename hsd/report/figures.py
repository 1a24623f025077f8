"""The drawings of the pages, as inline SVG: words stay words, and colours follow the page's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hsd.metrics.groups import RATES
from hsd.report.formatting import spelled_out
from hsd.report.report_scores import CalibrationReport, CurveReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#010203"  # becomes the page's own ink, in light and dark
FAINT = "#8a93a0"
LINES = ("-", "--", "-.", ":")
LONGEST = 28  # characters of a name in a drawing; names come from data


def reliability(overall: CalibrationReport, by_group: Mapping[str, CalibrationReport]) -> str:
    """Draw the share of hate against the score, for all posts and each group."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for place, (name, found) in enumerate({"all posts": overall, **by_group}.items()):
            x = [b.mean_score for b in found.bins]
            y = [b.share_hate for b in found.bins]
            axis.plot(x, y, marker="o", markersize=3, label=_short(name), **_style(place))
        axis.set(xlabel="P(hate) as scored", ylabel="share that is hate", xlim=(0, 1), ylim=(0, 1))
        _legend(axis)

    return _svg("reliability", draw, "Reliability: share of hate by score", width=5.2, height=4)


MOST_CURVES = 8


def shown_curves(curves: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what a drawing can hold: all posts, and the largest groups."""
    groups = sorted((n for n in curves if n in sizes), key=lambda name: -sizes[name])
    kept = {*groups[: MOST_CURVES - 1]}
    return {name: c for name, c in curves.items() if name not in sizes or name in kept}


def roc_and_pr(curves: Mapping[str, CurveReport]) -> str:
    """Draw ROC and precision-recall curves for all posts and each group."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for axis, kind in ((left, "roc"), (right, "pr")):
            for place, (name, curve) in enumerate(curves.items()):
                if points := curve.roc if kind == "roc" else curve.pr:
                    axis.plot(*zip(*points, strict=True), label=_short(name), **_style(place))
            axis.set(xlim=(0, 1), ylim=(0, 1.02))
        left.set(xlabel="false-positive rate", ylabel="recall")
        right.set(xlabel="recall", ylabel="precision")
        _legend(left)

    return _svg("curves", draw, "ROC and precision-recall curves by group", height=4)


def threshold_rates(curves: Mapping[str, CurveReport], threshold: float | None) -> str:
    """Draw both error rates over the threshold, by group."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, rate in zip(axes, RATES, strict=True):
            for place, (name, curve) in enumerate(curves.items()):
                if rates := curve.rate(rate):
                    axis.plot(curve.thresholds, rates, label=_short(name), **_style(place))
            axis.axvline(0.5, color=FAINT, linewidth=1, linestyle=":")
            if threshold is not None:
                axis.axvline(threshold, color=INK, linewidth=1)
            axis.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
            axis.set_title(spelled_out(rate), loc="left", fontsize=10)
        _legend(axes[0])

    return _svg("thresholds", draw, "Error rates over the threshold by group", height=3.6)


def heat_map(rows: Sequence[str], columns: Sequence[str], shares: Sequence[Any]) -> str:
    """Draw accuracy per functionality and target; what is not estimable stays blank."""
    import numpy as np

    values = np.array([[np.nan if v is None else v for v in row] for row in shares], dtype=float)

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(columns)), [*map(_short, columns)], rotation=30, ha="right")
        axis.set_yticks(range(len(rows)), [*map(_short, rows)])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        for (y, x), share in np.ndenumerate(values):
            if np.isfinite(share):
                ink = "white" if share < 0.5 else "black"
                axis.text(x, y, f"{share:.2f}", ha="center", va="center", color=ink, fontsize=8)

    width, height = 3.2 + 0.75 * len(columns), 1.2 + 0.28 * len(rows)
    return _svg("heat", draw, "Accuracy by functionality and target", width, height)


def histogram(counts: Mapping[str, int], label: str) -> str:
    """Draw how many rows fall under each name."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.bar(range(len(counts)), list(counts.values()), color=COLOURS[0])
        axis.set_xticks(range(len(counts)), [*map(_short, counts)], rotation=30, ha="right")
        axis.set(xlabel=label, ylabel="rows")

    return _svg("histogram", draw, label, height=3)


def _short(name: str) -> str:
    """Return a name that leaves room for the drawing."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


def _style(place: int) -> dict[str, Any]:
    """Return colour and dash; the first line, of all posts, is the page's ink."""
    if place == 0:
        return {"color": INK, "linewidth": 1.8}
    at = place - 1
    return {"color": COLOURS[at % len(COLOURS)], "linestyle": LINES[at % len(LINES)]}


def _legend(axis: Axes) -> None:
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=4, frameon=False, fontsize=9,
                handlelength=1.8, columnspacing=1.2)  # fmt: skip


def _svg(
    name: str, draw: Callable[[Figure], None], title: str, width: float = 8.0, height: float = 3.0
) -> str:
    """Return a drawing as SVG that the same numbers always draw alike."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings = {
        "svg.hashsalt": f"hsd {name}", "svg.fonttype": "none", "font.size": 10,
        "font.sans-serif": ["DejaVu Sans"], "text.color": INK, "axes.edgecolor": FAINT,
        "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.grid": True,
        "grid.color": FAINT, "grid.alpha": 0.25, "grid.linewidth": 0.7, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False,
    }  # fmt: skip
    out = io.StringIO()
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), title, "wide" if width >= 8 else "small")


def _inline(svg: str, title: str, kind: str) -> str:
    """Return the bare element, with the page's ink and a name for those who cannot see it."""
    from markupsafe import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # several drawings share a page
    body = body.replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui, sans-serif")
    return body.replace("<svg", f'<svg class="{kind}" role="img" aria-label="{escape(title)}"', 1)
