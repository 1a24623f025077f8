"""What an evaluation is reported beside, where it is known, and what was therefore not measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hsd.counted import counted
from hsd.groups.group_set import GroupSet, default_groups
from hsd.metrics.baselines import Training
from hsd.metrics.calibration import BINS
from hsd.metrics.calibration import MINIMUM_N as CALIBRATED
from hsd.metrics.evaluation import Evaluation
from hsd.metrics.groups import ALL, MINIMUM_N
from hsd.metrics.operating_point import OperatingPoint
from hsd.metrics.score_noise import Noise
from hsd.metrics.thresholds import PREVALENCES
from hsd.prediction import Prediction
from hsd.report.comparability import RunSettings
from hsd.report.report_changes import GateReport

NOT_TRAINED_HERE = "hsd did not train this detector, so its training posts are not known"
"""Why there are no training posts of an imported run."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Training rows (or why they are unknown), the base's run, a frozen threshold, the gate.

    `base_asked` is how the base was asked and read; `prevalences` are the shares of hate that
    precision is said at; `baselines` answered before and go by their names; `noise` is how far the
    scores move; `groups` are those that posts are counted in.
    """

    training: Training | None = None
    training_note: str = "the evaluation does not know what the model was trained on"
    base: tuple[str, Sequence[Prediction]] | None = None
    point: OperatingPoint | None = None
    verdict: GateReport | None = None
    base_asked: RunSettings = RunSettings()
    prevalences: tuple[float, ...] = PREVALENCES
    baselines: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    noise: Noise | None = None
    groups: GroupSet = field(default_factory=default_groups)
    imported: bool = False
    """Another program asked the model: what it was trained on, and its base, are not known."""
    ranks: bool = False
    """The scores are ranks, no probabilities."""


def not_measured(evaluation: Evaluation, beside: ReportContext) -> list[str]:
    """Return what the reader must not read into the report, one sentence each."""
    gaps = _not_known(evaluation, beside) | {
        f"TF-IDF baseline: {beside.training_note}.": beside.training is None,
        "Whether the model was trained on any of these posts: its training posts are not known.": (
            evaluation.seen_in_training is None
        ),
        "The untouched base on the same posts: name it with --base.": (
            beside.base is None and not beside.imported
        ),
        **_without_scores(evaluation, beside),
        "A threshold of its own: the decision is the likelier label; see `hsd threshold`.": (
            evaluation.operated is None and not beside.imported
        ),
        "Single functionalities and contrast pairs: these posts name none (HateCheck does).": (
            not evaluation.functionalities
        ),
        "Whether answers change with the group named: see `hsd data swap`.": not evaluation.swaps,
    }
    return [
        *(sentence for sentence, absent in gaps.items() if absent),
        "What another training seed would give: intervals are over posts, not over runs.",
        "Whether the labels are right: they are taken as they are, and people disagree on them.",
        "Groups that these posts are not about, other languages, and other platforms.",
        "What a decision does to people: a rate is not a harm.",
    ]


def _not_known(evaluation: Evaluation, beside: ReportContext) -> dict[str, bool]:
    """Return what hsd cannot know of a detector that another program asked."""
    return {
        "How the detector was asked: its version, its settings, and whether it saw whole posts. "
        "hsd read its predictions from a file.": beside.imported,
        "Another threshold than the detector's own: see `hsd threshold`.": (
            beside.imported and bool(evaluation.curves) and evaluation.operated is None
        ),
    }


def unscored_said(unscored: int, n: int) -> str:
    """Return what the posts without a score leave unreported."""
    verb = "has" if unscored == 1 else "have"
    return (
        "AUROC, calibration and thresholds: they need a score for every post, and "
        f"{unscored:,} of {counted(n, 'post')} {verb} none."
    )


def _without_scores(evaluation: Evaluation, beside: ReportContext) -> dict[str, bool]:
    """Return what of scores is not reported, each with its own reason."""
    counts, curves = evaluation.headline.counts, evaluation.curves  # {} without scores
    hate, normal = counts.tp + counts.fn, counts.fp + counts.tn
    one_label = not hate or not normal
    return {
        "AUROC, calibration and thresholds: the replies carry no P(hate); use --mode score.": (
            not curves and not beside.imported and evaluation.unscored == counts.n
        ),
        unscored_said(evaluation.unscored, counts.n): (
            not curves and not beside.imported and evaluation.unscored < counts.n
        ),
        "AUROC, calibration and thresholds: they need a score for every post, and not all imported "
        "predictions have one.": not curves and beside.imported,
        "Calibration: the imported scores are ranks, and no probabilities.": beside.ranks,
        "AUROC: it compares hateful posts with normal ones, and these are all of one label.": (
            bool(curves) and one_label
        ),
        f"ROC and precision-recall curves: they need {MINIMUM_N} posts of each label; these are "
        f"{hate} hate and {normal} normal.": (
            bool(curves) and not one_label and curves[ALL].roc is None
        ),
        f"Calibration: {counts.n} posts are too few for its {BINS} bins; it needs {CALIBRATED}.": (
            bool(curves) and evaluation.calibration is None and not beside.ranks
        ),
    }
