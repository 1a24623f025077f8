"""The sections of the text report about scores: AUCs, calibration, noise."""

from collections.abc import Iterable, Mapping

from hsd.metrics.bias import KINDS
from hsd.metrics.groups import ALL
from hsd.report.formatting import KIND_WORDS, between, number, score_targets, share_words
from hsd.report.noise_sentences import noise_lines
from hsd.report.report_model import EvaluationReport
from hsd.report.report_scores import AreasReport, CalibrationReport, ShareCalibrationReport
from hsd.report.text_columns import columns, titled


def area_sections(report: EvaluationReport) -> list[str]:
    """Return the AUCs by group; nothing without scores."""
    if report.auc_by_group is None:
        return []
    found = report.auc_by_group
    named = [*found.groups.items(), ("generalised mean", found.means)]
    return [titled("AUC by group (95 %)", _areas(named))]


def calibration_sections(report: EvaluationReport) -> list[str]:
    """Return calibration, the same against shares of annotators, and score noise, where known."""
    sections = []
    if report.calibration:
        named = {ALL: report.calibration, **report.calibration_by_group}
        sections.append(titled("Calibration (95 %)", _calibration(named)))
    if report.calibration_against_share:
        title = "Calibration against the share of annotators (95 %)"
        sections.append(titled(title, _by_share(report.calibration_against_share)))
    if lines := noise_lines(report):
        sections.append(titled("Score noise", "\n".join(lines)))
    return sections


def _calibration(named: Mapping[str, CalibrationReport]) -> str:
    rows = [
        (
            name,
            str(found.n),
            number(found.ece),
            between(found.ece_interval),
            number(found.brier),
            between(found.brier_interval),
        )
        for name, found in named.items()
    ]
    return columns([("posts", "n", "ECE", "95 %", "Brier", "95 %"), *rows])


def _by_share(found: ShareCalibrationReport) -> str:
    rows = [
        (
            words,
            str(found.n),
            number(apart.ece),
            number(apart.brier),
            between(apart.brier_interval),
            number(apart.log_loss),
            between(apart.log_loss_interval),
        )
        for words, apart in score_targets(found).items()
    ]
    header = ("compared with", "n", "ECE", "Brier", "95 %", "log-loss", "95 %")
    return f"{share_words(found)}\n{columns([header, *rows])}"


def _areas(named: Iterable[tuple[str, AreasReport]]) -> str:
    header = ("group", *(text for kind in KINDS for text in (KIND_WORDS[kind], "95 %")))
    rows = [
        (
            name,
            *(
                text
                for kind in KINDS
                for text in (number(areas.of(kind).value), between(areas.of(kind).interval))
            ),
        )
        for name, areas in named
    ]
    return columns([header, *rows])
