"""What validation scores in training say, as `hsd evaluate` says it: F1, AUROC, groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.config.train_config import TrainConfig
from hsd.data.sampling import stratified
from hsd.errors import PreflightError
from hsd.example import Example, Label
from hsd.metrics.classification import classify
from hsd.metrics.gaps import largest_gap
from hsd.metrics.group_f1 import worst_group_f1
from hsd.prediction import Prediction, label_of
from hsd.prompts.render import Encoded
from hsd.training.dataset import TrainingRows
from hsd.training.validation import Score


@dataclass(frozen=True)
class Scorer:
    """The rows that count, by their ids."""

    examples: Mapping[str, Example]

    def metrics(self, scores: Sequence[Score]) -> dict[str, float]:
        """Return the metrics that are defined, under the names of the Trainer's log.

        Rows that do not count are left out. The order of scores changes nothing: ranks come back
        in any.
        """
        rows = [self._prediction(id, score) for id, score in sorted(scores) if id in self.examples]
        found = classify(rows)
        values = {
            "eval_f1": found.f1,
            "eval_auroc": found.auroc,
            "eval_worst_group_f1": worst_group_f1(rows),
            "eval_gap": largest_gap(rows),
        }
        return {name: value for name, value in values.items() if value is not None}

    def _prediction(self, id: str, score: float) -> Prediction:
        return Prediction(
            id=id,
            strategy="validation",
            text="",
            true_label=self.examples[id].label,
            label=label_of(score),
            outcome="valid",
            score=score,
            groups=self.examples[id].groups,
        )


def scorer(config: TrainConfig, rows: TrainingRows) -> Scorer | None:
    """Return what reads the validation scores; None where the loss selects.

    Raises PreflightError when the metric cannot be had from these rows.
    """
    selection = config.selection
    if selection.metric == "loss":
        return None
    if not rows.validation or not config.data.validation_file:
        raise PreflightError(
            f"selection.metric {selection.metric} needs validation rows; set data.validation_file."
        )
    examples = [
        Example(id=row.id, text="", label=_label(row), groups=row.groups) for row in rows.validation
    ]
    if selection.max_rows is not None:
        examples = stratified(examples, selection.max_rows, config.seed)
    made = Scorer({example.id: example for example in examples})
    _require_defined(made, selection.metric)
    return made


def _label(row: Encoded) -> Label:
    assert row.target is not None, row.id
    return row.target.label


def _require_defined(made: Scorer, metric: str) -> None:
    """Refuse a metric that no adapter could have on these rows."""
    halves = [(id, float(example.label == "hate")) for id, example in made.examples.items()]
    needed = {"f1_within_gap": "eval_gap"}.get(metric, f"eval_{metric}")
    if needed not in made.metrics(halves):
        raise PreflightError(
            f"selection.metric {metric} is not defined on {len(halves)} validation rows: it "
            "needs hateful and normal ones, and for groups five of a label about each. Give more "
            "rows, set selection.max_rows higher, or select by f1."
        )
