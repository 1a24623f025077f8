"""A run worked out and checked before any weight is loaded."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from hsd.config.model_config import ModelConfig
from hsd.config.redaction import with_references
from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from hsd.groups.group_set import load_groups
from hsd.io.hashes import sha256_json
from hsd.model.base import BaseFiles, find_base
from hsd.model.context_length import positions_of
from hsd.model.family_table import unknown_family
from hsd.model.flex_probe import why_flex_is_off
from hsd.model.launcher import asked_by, not_followed, not_followed_sentence
from hsd.model.lora_targets import require_open_experts
from hsd.model.nf4_experts import NF4_EXPERTS
from hsd.model.number_format import FIELDS, NumberFormat, began_in, number_format
from hsd.model.placement import Launch, Placement, launch, place_to_train
from hsd.model.quantization import PACKED, again
from hsd.training.ancestor import Ancestor, find_ancestor
from hsd.training.dataset import TrainingRows, load_training_rows
from hsd.training.disk_space import adapter_parameters
from hsd.training.planned_attention import may_take_flex, planned_attention
from hsd.training.schedule import Schedule, plan_schedule
from hsd.training.scoring import Scorer, scorer

BY_GROUP = ("worst_group_f1", "f1_within_gap")
"""Metrics that hang on whom the posts are about."""

STAYS_PACKED = (
    "4 bit: the base's experts are stored in 4 bit already (MXFP4) and stay packed; NF4 would "
    "round them a second time."
)

COMPUTED_AGAIN = (
    "training.gradient_checkpointing: on, as the base's experts are in NF4; without it the "
    "backward pass would keep the dequantised experts of all layers."
)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a run knows before any weight is loaded."""

    config: TrainConfig
    source: BaseFiles
    rows: TrainingRows
    schedule: Schedule
    adapter_parameters: int
    here: Launch
    placement: Placement
    numbers: NumberFormat
    launcher_asks: dict[str, str]
    """What the launcher's environment says of what the config decides."""
    scorer: Scorer | None
    """Scores validation rows where more than their loss selects the adapter."""
    ancestor: Ancestor | None = None
    """The adapter that the run goes on from."""
    attention: str = "auto"
    """The attention code that the run learns with, as model.attention says it."""

    @property
    def model(self) -> ModelConfig:
        """The base as it is loaded for learning."""
        return self.config.model.model_copy(update={"attention": self.attention})

    def identity(self) -> dict[str, Any]:
        """Return what makes two runs the same one: everything that decides the adapter.

        Of the base's number format what was resolved here, not what was asked for: `auto` is
        another one on another machine.
        """
        shown = self.config.model_dump(mode="json", exclude={"output_dir", "description"})
        for name in ("cache_dir", *FIELDS):
            del shown["model"][name]
        if self.ancestor:
            shown["training"]["init_from"] = self.ancestor.sha256  # wherever it lies
        return {
            "kind": "train",
            "config": with_references(shown),
            "number_format": self.numbers,
            "processes": self.here.world_size,
            "base_revision": self.source.revision,
            **self.rows.facts(),
            **self._groups_that_select(),
            **self._groups_asked_for(),
        }

    @property
    def mixed_precision(self) -> str:
        """What accelerate casts a forward to: `bf16` for a bfloat16 base, else `no`."""
        return "bf16" if self.numbers["dtype"] == "bfloat16" else "no"

    @property
    def not_followed(self) -> dict[str, str]:
        """What the launcher's environment asks for, and the config decides otherwise."""
        return not_followed(self.launcher_asks, self.mixed_precision)

    def placed(self, placement: Placement) -> "TrainingPlan":
        """Return the run on another placement."""
        numbers = number_format(self.model, self.source, placement)
        return replace(self, placement=placement, numbers=numbers)

    def notes(self) -> list[str]:
        """Return what differs from what was asked for, and what is learned, in sentences."""
        asked, held = self.config.data.max_length, _max_length(self.config, self.source.config)
        family = self.source.config.get_text_config().model_type
        found = [unknown] if (unknown := unknown_family(family)) else []
        if held < asked:
            found.append(
                f"data.max_length {asked} is more than the {held} positions of "
                f"{self.source.name}; no row gets longer than {held} tokens."
            )
        asked_4bit, held_as = self.config.model.quantization, self.numbers["quantization"]
        if asked_4bit in ("nf4", NF4_EXPERTS) and held_as == PACKED:
            found.append(STAYS_PACKED)
        if held_as == NF4_EXPERTS:
            found.append(COMPUTED_AGAIN)
        if self.placement.measured:
            found.append(f"Number format: {self.placement.reason.partition('; ')[2]}.")
        if self.not_followed:
            found.append(not_followed_sentence(self.not_followed))
        if self.rows.shares_note:
            found.append(self.rows.shares_note)
        if idle := self.config.training.without_effect:
            found.append(
                f"Changes nothing without training.objective=label: "
                f"{', '.join(f'training.{name}' for name in idle)}."
            )
        if self.ancestor and self.ancestor.note:
            found.append(
                f"training.init_from: no validation post was compared with the posts that "
                f"{self.ancestor.folder} learned, as these are not known: {self.ancestor.note}."
            )
        return found

    def _groups_asked_for(self) -> dict[str, str]:
        """Return a digest of the groups' file, which may change under its name."""
        name = self.config.data.groups
        return {"groups_sha256": load_groups(name).digest} if name else {}

    def _groups_that_select(self) -> dict[str, str]:
        """Return a digest of the validation rows' groups, where they select the adapter."""
        if self.scorer is None or self.config.selection.metric not in BY_GROUP:
            return {}
        groups = {id: example.groups for id, example in self.scorer.examples.items()}
        return {"validation_groups_sha256": sha256_json(groups)}


def plan_training(config: TrainConfig) -> TrainingPlan:
    """Read and check everything that can be without weights.

    Raises ConfigError, DataError, ModelError or PreflightError.
    """
    here = launch()
    if config.model.dtype == "float16":
        raise PreflightError(
            "model.dtype float16: its small gradients vanish without loss scaling; train in "
            "bfloat16, float32 or auto."
        )
    config = _unpacked_as_it_began(config)
    source = find_base(config.model)
    placement = place_to_train(config.model, source.config, _began_on_cpu(config.output_dir))
    attention = learning_attention(config, source.config, placement)
    model = config.model.model_copy(update={"attention": attention})
    numbers = number_format(model, source, placement)
    require_open_experts(config.lora, numbers["quantization"], source.name)
    rows = load_training_rows(
        within_context(config, source.config), source.tokenizer, positions_of(source.config)
    )
    schedule = plan_schedule(config, len(rows.train), len(rows.validation), here.world_size)
    config = _computed_again(config.model_copy(update={"prompt": rows.asked}), numbers)
    validation_scorer = scorer(config, rows)
    ancestor = find_ancestor(config, rows.contract, rows.validation)
    parameters = adapter_parameters(config, source)
    return TrainingPlan(
        config,
        source,
        rows,
        schedule,
        parameters,
        here,
        placement,
        numbers,
        asked_by(os.environ),
        validation_scorer,
        ancestor,
        attention,
    )


def _computed_again(config: TrainConfig, numbers: NumberFormat) -> TrainConfig:
    """Return the config with gradient checkpointing where the experts are in NF4 (nf4_experts)."""
    if numbers["quantization"] != NF4_EXPERTS:
        return config
    training = config.training.model_copy(update={"gradient_checkpointing": True})
    return config.model_copy(update={"training": training})


def _unpacked_as_it_began(config: TrainConfig) -> TrainConfig:
    """Return the config of a run that an earlier hsd began with MXFP4 unpacked: it goes on so."""
    began = began_in(config.output_dir).get("quantization")
    if began != "dequantized" or config.model.quantization != "auto":
        return config
    model = config.model.model_copy(update={"quantization": again(began)})
    return config.model_copy(update={"model": model})


def learning_attention(config: TrainConfig, base: PretrainedConfig, placement: Placement) -> str:
    """Return the attention code to learn with: `auto` takes flex on a GPU where it is right.

    A run that began with another one keeps it.
    """
    device = placement.device
    if not may_take_flex(config, device):
        return config.model.attention
    began: str | None = began_in(config.output_dir).get("attention")
    if began:
        return began
    planned = planned_attention(config, base, device)
    if planned == "flex" and why_flex_is_off(base, placement.dtype, device):
        return "auto"
    return planned


def _began_on_cpu(folder: Path) -> str | None:
    """Return the number format of a run that began on a CPU; None of any other, or none."""
    began = began_in(folder)
    dtype: str | None = began.get("dtype") if began.get("device") == "cpu" else None
    return dtype


def within_context(config: TrainConfig, base: PretrainedConfig) -> TrainConfig:
    """Return the config with rows no longer than the base's context, as evaluation holds them."""
    data = config.data.model_copy(update={"max_length": _max_length(config, base)})
    return config.model_copy(update={"data": data})


def _max_length(config: TrainConfig, base: PretrainedConfig) -> int:
    return min(config.data.max_length, positions_of(base) or config.data.max_length)
