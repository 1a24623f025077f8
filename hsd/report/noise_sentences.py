"""What a report says of its scores' last digits, beside each threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

from hsd.metrics.score_noise import Near, Noise, near
from hsd.report.predictions import Run
from hsd.report.report_model import EvaluationReport
from hsd.report.report_scores import NearReport, NoiseReport

SHOWN_FROM = 1e-4
"""Scores are shown with four digits; what moves none of them is left to report.json."""


def noise_of(manifest: Mapping[str, Any]) -> Noise | None:
    """Return the noise that a run measured, None where it did not."""
    found = (manifest.get("answering") or {}).get("noise")
    return Noise(**found) if found else None


def noise_lines(report: EvaluationReport) -> list[str]:
    """Return a sentence for each threshold that scores move visibly at."""
    found = report.score_noise
    return _lines(found, found.near, report.headline.n) if found else []


def noise_at(run: Run, threshold: float) -> list[str]:
    """Return the sentence for one threshold of a run; none where nothing moves visibly."""
    found = noise_of(run.manifest)
    if found is None:
        return []
    return _lines(found, [near(run.predictions, found, threshold)], len(run.predictions))


def _lines(
    noise: Noise | NoiseReport, thresholds: Sequence[Near | NearReport], posts: int
) -> list[str]:
    return [
        f"Scores are computed in {noise.dtype}: beside other posts the same post's score "
        f"differs by up to {one.moves:.4f} at the threshold {one.threshold:.4f} "
        f"({noise.largest_log_odds:.3f} in log-odds, on {noise.posts} posts scored alone and "
        f"in their batch). {one.posts:,} of {posts:,} posts lie that near it."
        for one in thresholds
        if one.moves >= SHOWN_FROM
    ]
