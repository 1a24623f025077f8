"""Everything that decides what a training run does."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from hsd.config.model_config import ModelConfig
from hsd.config.strict import Folder, GroupsName, Names, RowsName, Strict, TemplateName, Text
from hsd.config.table_config import TableConfig

Share = Annotated[float, Field(ge=0, lt=1)]
Ratio = Annotated[float, Field(ge=1)]
TargetNames = Literal["qv", "attention", "all-linear", "experts"]


def _whole(number: float) -> int | float:
    """Return a whole number without a fraction: programs that serve adapters want `32`."""
    return int(number) if number == int(number) else number


Alpha = Annotated[PositiveFloat, AfterValidator(_whole), PlainSerializer(_whole)]
Labels = Literal["hard", "share"]
OtherSplits = Literal["fail", "leave_out"]


class LoraConfig(Strict):
    """What is trained. The base model's own weights never change."""

    rank: PositiveInt = 32
    """Inner dimension of the two adapter matrices; trainable parameters grow linearly with it."""
    alpha: Alpha = 32
    """The update is scaled by alpha / rank, so alpha == rank means a scale of 1."""
    dropout: Share = 0.05
    """Share of the adapter's inputs zeroed at each training step. 0 where experts learn."""
    target_modules: Names | TargetNames = ("q_proj", "v_proj")
    """Names of the linear layers that get an adapter, or a name that stands for them: `qv` queries
    and values, `attention` all layers of attention, `all-linear` every layer but the head,
    `experts` the fused experts and no layer."""
    target_parameters: Names | None = None
    """Names of fused experts that get an adapter beside the layers, such as `experts.down_proj`.
    Needs `dropout` 0."""
    rank_pattern: dict[Text, PositiveInt] | None = Field(None, examples=[{"v_proj": 64}])
    """Layers with another rank: the end of a layer's name (or a regular expression) and the rank,
    such as `{"v_proj": 64}`. Two that match one layer must give one value."""
    alpha_pattern: dict[Text, Alpha] | None = Field(None, examples=[{"v_proj": 64}])
    """Layers with another alpha, in the same form."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (rsLoRA): the update does not shrink with high ranks."""
    use_dora: bool = False
    """Learn the length of each output's weights apart from their direction (DoRA): slower, and
    better mostly at low ranks."""
    loraplus_lr_ratio: Ratio = 1.0
    """How many times the learning rate of the B matrices is that of the A matrices (LoRA+)."""

    @property
    def learns_experts(self) -> bool:
        """Whether fused experts get an adapter."""
        return self.target_modules == "experts" or self.target_parameters is not None

    @field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _in_one_order(cls, pattern: dict[str, float] | None) -> dict[str, float] | None:
        """peft takes the first key that matches, and sorts the keys in an adapter's file."""
        return None if pattern is None else dict(sorted(pattern.items()))

    @model_validator(mode="after")
    def _as_experts_can(self) -> Self:
        if self.learns_experts and self.dropout:
            raise ValueError(
                f"an adapter on fused experts has no inputs to drop; set lora.dropout=0 (it is "
                f"{self.dropout:g}), or leave target_parameters and target_modules experts out"
            )
        if self.learns_experts and self.use_dora:
            raise ValueError(
                "DoRA does not work on fused experts; set lora.use_dora=false, or leave "
                "target_parameters and target_modules experts out"
            )
        return self

    @model_validator(mode="after")
    def _patterns_that_are_some(self) -> Self:
        for name in ("rank_pattern", "alpha_pattern"):
            for pattern in getattr(self, name) or ():
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(
                        f"{name} '{pattern}' is no regular expression ({error}); the end of a "
                        "layer's name works, such as v_proj"
                    ) from None
        return self


class DataConfig(TableConfig):
    """The rows for training and for validation; the columns and labels are those of both files."""

    train_file: RowsName = "data/train.jsonl"
    """JSONL/CSV of posts, chat JSONL written by `hsd prepare`, or `embedded`."""
    validation_file: RowsName | None = None
    """The same kinds; None trains without validation. `embedded` for the embedded rows."""
    other_splits: OtherSplits = "fail"
    """What to do with rows whose own `split` differs from their use: refuse the run, or leave the
    rows out and count them, so that one file may serve both."""
    without_sources: tuple[Text, ...] = ()
    """Sources (`source_dataset` of a row) to leave out of training and validation. Evaluate on such
    a source to learn what a detector is worth beyond its training sources."""
    groups: GroupsName | None = None
    """Groups that rows are counted in: a shipped set (`hsd groups list`) or a group file; None:
    `three`. Counts for `training.balance = "group"` and where groups select the adapter."""
    max_train_rows: PositiveInt | None = None
    """Take a seeded, label-balanced sample of this many rows; None takes all."""
    max_validation_rows: PositiveInt | None = None
    """The same for the validation rows."""
    max_length: PositiveInt = 1024
    """Longest row in tokens: prompt, post and answer."""
    overflow: Literal["truncate_post", "fail"] = "truncate_post"
    """What to do with a longer row: truncate its post (and count the row), or refuse the run.
    The prompt and the answer are never truncated."""


class PromptConfig(Strict):
    """The prompt; saved with the adapter as prompt.json."""

    template: TemplateName = "combined/combined_gptoss_v1"
    """Name of a shipped template file, or a path to one."""
    strategy: Text = "combined_focused"
    """Name of a strategy in that file."""


class EarlyStoppingConfig(Strict):
    """Stop when what `selection.metric` asks of the validation rows no longer improves."""

    patience: PositiveInt = 2
    """How many units may pass without a better value of `selection.metric`."""
    unit: Literal["epochs", "steps"] = "epochs"
    """What patience counts: passes over the data, or optimiser steps."""
    min_delta: NonNegativeFloat = 0.0
    """An improvement smaller than this does not count."""


class SelectionConfig(Strict):
    """Which adapter is kept, and what early stopping watches."""

    metric: Literal["loss", "f1", "auroc", "worst_group_f1", "f1_within_gap"] = "loss"
    """Of the validation rows. All but `loss` are those of `hsd evaluate`, in score mode: the loss
    may fall while the label does not get better, or while one group's gets worse."""
    max_gap: Share | None = None
    """For `f1_within_gap`: neither error rate may differ by more than this between groups; an
    adapter that keeps to it wins over any that does not."""
    max_rows: PositiveInt | None = None
    """Use a seeded sample of this many validation rows, by group and label; None takes all."""

    @model_validator(mode="after")
    def _gap_where_it_counts(self) -> Self:
        if (self.metric == "f1_within_gap") != (self.max_gap is not None):
            raise ValueError("max_gap goes with metric f1_within_gap, and only with it")
        return self


class TrainingConfig(Strict):
    """The schedule of the optimiser."""

    epochs: PositiveFloat = 3.0
    """Passes over the training rows."""
    max_steps: PositiveInt | None = None
    """Stop after this many optimiser steps, whatever `epochs` says."""
    batch_size: PositiveInt = 4
    """How much a device takes at once: as many tokens as this many of the longest rows have.
    Shorter rows, and rows that share their prompt, are taken more at a time."""
    accumulation: PositiveInt = 4
    """An optimiser step learns from `batch_size` times this many rows on each device."""
    prefix_sharing: Literal["auto", "on", "off"] = "auto"
    """Compute the tokens that all prompts begin with once a step instead of once a row. The same
    gradient; with dropout another draw of it. `auto` does so where it is faster and a check on the
    model passes; `on` fails where not."""
    objective: Literal["answer", "label"] = "answer"
    """`answer` learns every token of the answer alike. `label` learns which of the two labels is
    likelier, which is what an evaluation in score mode reads; most tokens of a JSON answer say
    nothing about it."""
    labels: Labels = "hard"
    """With objective `label`: `share` learns P(hate) as the share of annotators who called a post
    hate (`hate_share`, HateXplain's votes), where a row has one, in validation too; for posts on
    which people disagree. `hard` learns the label alone."""
    answer_weight: NonNegativeFloat = 0.05
    """With objective `label`: how much the loss of the answer's tokens counts beside the label's,
    so that replies stay readable."""
    label_smoothing: Share = 0.0
    """With objective `label`: how far the share of hate that is learned is moved towards one half;
    for labels that are wrong now and then."""
    balance: Literal["none", "label", "group"] = "none"
    """With objective `label`: weigh rows so that both labels count alike, or both labels of every
    group; for data where a group stands mostly under one label."""
    init_from: Folder | None = None
    """Go on from this finished adapter, with other data or another schedule. It must have the same
    base, LoRA settings and prompt; the posts that it learned are still kept out of validation."""
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate of AdamW."""
    weight_decay: NonNegativeFloat = 0.01
    """AdamW's decoupled weight decay, on the adapter matrices."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_ratio: Share = 0.03
    """Share of all steps over which the learning rate rises from 0."""
    warmup_steps: NonNegativeInt | None = None
    """The same as a number of steps; wins over `warmup_ratio`."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this norm."""
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    """Recompute activations to save memory. On a GPU `auto` tries the largest piece of a step both
    ways before step 1, and takes the faster one that fits; a run that goes on keeps its choice. On
    a CPU `auto` keeps activations where they fit by the plan."""
    evaluate_every_steps: PositiveInt | None = None
    """Validate every this many steps; None is once an epoch."""
    save_every_steps: PositiveInt | None = None
    """Checkpoint every this many steps; None is at every validation, or once an epoch."""
    keep_checkpoints: PositiveInt = 2
    """How many checkpoints are kept, beside the best one."""
    log_every_steps: PositiveInt = 5
    """How often loss, gradient norm and learning rate are written to metrics.jsonl."""

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Names of settings that were changed and count with objective `label` alone."""
        if self.objective == "label":
            return ()
        plain = type(self).model_fields
        names = ("balance", "label_smoothing", "answer_weight")
        return tuple(name for name in names if getattr(self, name) != plain[name].default)

    @property
    def own_rows(self) -> int:
        """Rows that a step learns from on each device."""
        return self.batch_size * self.accumulation

    @model_validator(mode="after")
    def _shares_where_they_count(self) -> Self:
        if self.labels == "share" and self.objective != "label":
            raise ValueError(
                "labels share goes with objective label; set training.objective=label too, or "
                "leave training.labels at hard"
            )
        return self


class TrainConfig(Strict):
    """One training run: base, adapter, data, prompt, schedule."""

    description: str = ""
    """One sentence for `hsd config list`."""
    model: ModelConfig = ModelConfig()
    lora: LoraConfig = LoraConfig()
    data: DataConfig = DataConfig()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig = TrainingConfig()
    early_stopping: EarlyStoppingConfig | None = None
    """None never stops early."""
    selection: SelectionConfig = SelectionConfig()
    """Needs validation rows for anything but the loss."""
    seed: NonNegativeInt = 42
    """Sets the adapter's first values, the order of the rows and dropout."""
    output_dir: Folder = Path("runs/train")
    """The run's folder: the same folder is the same run and resumes."""
