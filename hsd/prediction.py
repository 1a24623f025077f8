"""What a model said about one post, and what a reply can be."""

from dataclasses import dataclass
from typing import Any, Literal

from hsd.example import NONE, Example, Label

Outcome = Literal["valid", "repaired", "refusal", "truncated", "invalid"]
OUTCOMES: tuple[Outcome, ...] = ("valid", "repaired", "refusal", "truncated", "invalid")


def label_of(score: float) -> Label:
    """Return the likelier label of a P(hate): the one rule of scored labels, before a threshold."""
    return "hate" if score > 0.5 else "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row of `predictions.jsonl`.

    `label` is None unless `outcome` is valid or repaired: an unreadable reply is never "normal".
    `hate_share` is the share of annotators who said hate, where that is known.
    `score` is P(hate) in [0, 1] where the mode gives one. `response_time` is in seconds, the
    row's share of its batch. `truncated_post` says that the post was shortened to fit. Both are
    None where another program asked the model.
    `named` are the names of whom the post is about as its row writes them, `groups` what these were
    read into.
    `functionality` is what a test case tests, `reference_id` the row it is a contrast of,
    `cluster` what rows share that are no independent evidence (a template, a thread).
    """

    id: str
    strategy: str
    text: str
    true_label: Label
    label: Label | None
    outcome: Outcome
    reply: str = ""
    rationale: str = ""
    score: float | None = None
    response_time: float | None = 0.0
    truncated_post: bool | None = False
    named: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    persona_tag: str = ""
    source_dataset: str = ""
    label_multiclass: str = ""
    functionality: str = ""
    reference_id: str = ""
    cluster: str = ""
    hate_share: float | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """The groups that the post counts in; NONE where it is about none."""
        return self.groups or (NONE,)

    @property
    def is_right(self) -> bool:
        """Whether the label is the true one; no label never is."""
        return self.label == self.true_label


def prediction_of(example: Example, **said: Any) -> Prediction:
    """Return what was `said` of an example, with all that its row says itself."""
    return Prediction(
        id=example.id,
        text=example.text,
        true_label=example.label,
        named=example.named,
        groups=example.groups,
        persona_tag=example.persona_tag,
        source_dataset=example.source_dataset,
        label_multiclass=example.label_multiclass,
        functionality=example.functionality,
        reference_id=example.reference_id,
        cluster=example.cluster or example.case_id,
        hate_share=example.hate_share,
        **said,
    )
