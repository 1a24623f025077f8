"""Validation rows judged in training as `hsd evaluate` judges them: P(hate), F1, groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsd.config.train import TrainConfig
from hsd.data.example import Example, Label
from hsd.data.sampling import stratified
from hsd.errors import PreflightError
from hsd.inference.score import Candidates, candidates, log_probabilities, scored
from hsd.metrics.classification import classify
from hsd.metrics.gaps import largest_gap, worst_group_f1
from hsd.metrics.prediction import Prediction
from hsd.prompts.answers import read_reply
from hsd.prompts.render import Encoded, Renderer
from hsd.training.rows import TrainingRows, groups_of

Score = tuple[str, float]


@dataclass(frozen=True)
class Scorer:
    """The rows to score, who they are about, and how the two answers are spelled."""

    rows: Sequence[Encoded]
    labels: Mapping[str, Label]
    groups: Mapping[str, tuple[str, ...]]
    spelled: Candidates
    pad_id: int
    batch_size: int

    def scores(self, model: Any, rank: int = 0, ranks: int = 1) -> list[Score]:
        """Return the id and P(hate) of this rank's share. The model is held still by the caller.

        Raises EvaluationError for a row whose score is not a number.
        """
        own = sorted(self.rows, key=lambda row: (len(row.prompt), row.id))[rank::ranks]
        found: list[Score] = []
        for start in range(0, len(own), self.batch_size):
            batch = own[start : start + self.batch_size]
            prompts = [row.prompt for row in batch]
            both = log_probabilities(model, prompts, self.spelled, self.pad_id).tolist()
            for reply in scored(batch, both, 0.0):
                assert reply.score is not None, reply.id
                found.append((reply.id, reply.score))
        return found

    def metrics(self, scores: Sequence[Score]) -> dict[str, float]:
        """Return the metrics that are defined, under the names of the Trainer's log.

        The order of scores changes nothing: ranks come back in any.
        """
        rows = [self._prediction(id, score) for id, score in sorted(scores)]
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
            true_label=self.labels[id],
            label="hate" if score > 0.5 else "normal",
            outcome="valid",
            score=score,
            groups=self.groups.get(id, ()),
        )


def scorer(config: TrainConfig, rows: TrainingRows, tokenizer: Any) -> Scorer | None:
    """Return what scores the validation rows; None where the loss selects.

    Raises PreflightError when the metric cannot be had from these rows.
    """
    selection = config.selection
    if selection.metric == "loss":
        return None
    if not rows.validation or not config.data.validation_file:
        raise PreflightError(
            f"selection.metric {selection.metric} needs validation rows; set data.validation_file."
        )
    labels = {row.id: _label(tokenizer, row) for row in rows.validation}
    groups = groups_of(config.data.validation_file, rows.contract)
    examples = [
        Example(id=row.id, text="", label=labels[row.id], groups=groups.get(row.id, ()))
        for row in rows.validation
    ]
    if selection.max_rows is not None:
        examples = stratified(examples, selection.max_rows, config.seed)
    chosen = {example.id for example in examples}
    strategy = rows.contract.strategy
    spelled = candidates(
        Renderer(tokenizer, rows.contract),
        tokenizer,
        has_system=bool(strategy.system_prompt),
        rationale=strategy.parameters.rationale,
    )
    made = Scorer(
        [row for row in rows.validation if row.id in chosen],
        labels,
        groups,
        spelled,
        tokenizer.pad_token_id or 0,
        config.training.batch_size,
    )
    _require_defined(made, selection.metric)
    return made


def _label(tokenizer: Any, row: Encoded) -> Label:
    reading = read_reply(tokenizer.decode(row.answer, skip_special_tokens=True), cut_off=False)
    assert reading.label is not None, row.id
    return reading.label


def _require_defined(made: Scorer, metric: str) -> None:
    """Refuse a metric that no adapter could have on these rows."""
    halves = [(row.id, float(made.labels[row.id] == "hate")) for row in made.rows]
    needed = {"f1_within_gap": "eval_gap"}.get(metric, f"eval_{metric}")
    if needed not in made.metrics(halves):
        raise PreflightError(
            f"selection.metric {metric} is not defined on {len(made.rows)} validation rows: it "
            "needs hateful and normal ones, and for groups five of a label about each. Give more "
            "rows, set selection.max_rows higher, or select by f1."
        )
