"""What an evaluation knows before any weight is loaded: rows, prompts, and who answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.data.data_sets import load_named, require_own_file, resolve_path
from hsd.data.loaded_file import Loaded, left_out_said
from hsd.data.sampling import of_sources, stratified
from hsd.data.table_columns import columns_in
from hsd.errors import ConfigError, DataError, EvaluationError
from hsd.evaluation.prompt_choice import contract_for, renderer_for, require_analysis_possible
from hsd.evaluation.subject import Subject, subject
from hsd.example import Example
from hsd.groups.group_set import DEFAULT, GroupSet, default_groups, load_groups
from hsd.groups.name_lists import unknown_said
from hsd.io.hashes import sha256_json
from hsd.model.context_length import positions_of
from hsd.model.number_format import NumberFormat, number_format
from hsd.model.own_tokenizer import blaming
from hsd.model.placement import launch
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Encoded, Renderer
from hsd.training.training_posts import require_known_sources

COPIED = (
    "groups",
    "persona_tag",
    "source_dataset",
    "label_multiclass",
    "functionality",
    "reference_id",
    "cluster",
)
"""What a prediction has of its row beside text and label, and its share of votes if any."""

SCORED_TOKENS = 64
"""Room for an answer's opening and label; JSON takes about 10, a channel before it some more."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What an evaluation knows before any weight is loaded."""

    config: EvalConfig
    subject: Subject
    numbers: NumberFormat
    contract: Contract
    renderer: Renderer
    examples: list[Example]
    encoded: list[Encoded]
    groups: GroupSet
    """What error rates are counted for."""
    what: str
    """What is answered, for whoever watches."""
    unread: tuple[str, ...] = ()
    """Columns that a person may believe to be read."""
    read_as: tuple[str, ...] = ()
    """How the rows were read, where that is not plain."""

    def of_base(self) -> "EvaluationPlan":
        """Return the evaluation of the adapter's base with the same rows, words and settings.

        It has the identity that the base alone would have. Raises EvaluationError without an
        adapter.
        """
        if self.subject.adapter is None:
            raise EvaluationError(
                f"model '{self.config.model.name}' is no adapter on a base, so there is no base to "
                "evaluate beside it; leave --with-base out."
            )
        changes = {
            "model": self.subject.config,
            "adapter": None,
            "output_dir": self.config.output_dir / "base",
            "prompt_template": self.contract.template,
            "strategy": self.contract.strategy_name,
        }
        base = replace(
            self,
            config=self.config.model_copy(update=changes),
            subject=self.subject.of_base(),
            what=f"{self.what} (base)",
        )
        if self.subject.own_tokenizer is None:
            return base
        # The base reads its own chat template, as it would alone.
        renderer = Renderer(base.subject.tokenizer, self.contract)
        encoded = _encoded(base, renderer, self.examples)
        return replace(base, renderer=renderer, encoded=encoded)

    def identity(self) -> dict[str, Any]:
        """Return what makes two evaluations the same one: model, prompt, rows, how it is read."""
        return {
            "kind": "evaluate",
            "model": self.subject.identity(),
            "number_format": self.numbers,
            "prompt_hash": self.contract.hash,
            "rows": len(self.examples),
            "data_sha256": sha256_json([[e.id, e.text, e.label] for e in self.examples]),
            # What predictions copy: groups that were corrected give another report.
            "about_sha256": sha256_json([_about(e) for e in self.examples]),
            "data_file": self.config.data_file,
            "mode": self.config.mode,
            "max_length": self.config.max_length,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
        }

    @property
    def splits(self) -> dict[str, int]:
        """How many rows say of which split they are; {} where none does."""
        return dict(Counter(e.split for e in self.examples if e.split))

    @property
    def notes(self) -> list[str]:
        """What a person should know of the rows, a sentence each."""
        learned = self.splits.get("train", 0)
        rows = f"{learned} of {len(self.examples)} posts"
        return [
            *self.read_as,
            *(f"a column is not read: {said}." for said in self.unread),
            *unknown_said(example.unknown_groups for example in self.examples),
            *[f"{rows} say that they are of the split that is trained on."] * bool(learned),
        ]

    @property
    def max_new_tokens(self) -> int:
        """Longest reply in tokens."""
        return reply_length(self.config, self.contract)

    @property
    def room(self) -> int:
        """How many tokens a prompt may have."""
        return _room(self.config, self.subject, self.max_new_tokens)


def plan_of_model(config: EvalConfig) -> EvaluationPlan:
    """Return what is known before any post is read: who answers, and in which words it is asked.

    Raises ConfigError, ModelError, PreflightError or EvaluationError.
    """
    _require_possible(config)
    chosen = subject(config)
    numbers = number_format(chosen.config, chosen.source)
    contract = contract_for(config, chosen.carries_prompt)
    with blaming(chosen.own_words_in):
        renderer = renderer_for(config, contract, chosen.tokenizer)
    require_analysis_possible(config, contract, renderer)
    return EvaluationPlan(config, chosen, numbers, contract, renderer, [], [], default_groups(), "")


def plan_evaluation(config: EvalConfig, data_dir: Path | None = None) -> EvaluationPlan:
    """Read and check everything that can be without weights; raises as `prepare_sets`."""
    (plan,) = prepare_sets([config], data_dir)
    return plan


def prepare_sets(
    configs: Sequence[EvalConfig], data_dir: Path | None = None
) -> list[EvaluationPlan]:
    """Read and check several sets for one model; `configs` differ in their `data_file` alone.

    Raises ConfigError, DataError, ModelError, PreflightError or EvaluationError, whichever set it
    is about.
    """
    config = configs[0]
    _require_possible(config)
    columns = columns_in(config)
    require_own_file([one.data_file for one in configs], columns)
    _require_each_once([one.data_file for one in configs], data_dir)
    groups = load_groups(config.groups or DEFAULT).with_intersections(config.intersections)
    sets = [load_named(one.data_file, data_dir, groups=groups, columns=columns) for one in configs]
    plan = plan_of_model(config)
    if plan.subject.adapter:
        require_known_sources(plan.subject.adapter)  # the report asks, once all rows are answered
    rows = [_sampled(one, loaded) for one, loaded in zip(configs, sets, strict=True)]
    with blaming(plan.subject.own_words_in):
        encoded = [_encoded(plan, plan.renderer, examples) for examples in rows]
    return [
        replace(
            plan,
            config=one,
            examples=rows[at],
            encoded=encoded[at],
            groups=groups,
            what=f"{one.data_file} rows",
            unread=tuple(sets[at].unread),
            read_as=(*sets[at].notes, *left_out_said(sets[at], one.data_file)),
        )
        for at, one in enumerate(configs)
    ]


def _require_possible(config: EvalConfig) -> None:
    launch()  # refuses a launcher that splits the base, before a file is read or converted
    if config.mode == "score" and config.temperature > 0:
        raise ConfigError(
            "temperature: nothing is sampled where labels are scored; add --mode generate, or "
            "leave the temperature out."
        )


def _require_each_once(data_files: Sequence[str], data_dir: Path | None) -> None:
    """Raise ConfigError where two names are of one file: its posts would count twice."""
    known: dict[Path, str] = {}
    for name in data_files:
        file = resolve_path(name, data_dir).resolve()
        if file in known:
            both = f"'{name}' twice" if known[file] == name else f"'{known[file]}' and '{name}'"
            raise ConfigError(f"data_file: {both} is one file ({file}); name each set once.")
        known[file] = name


def _sampled(config: EvalConfig, loaded: Loaded) -> list[Example]:
    rows = of_sources(loaded.examples, config.only_sources, config.data_file)
    if config.max_samples is None or config.max_samples >= len(rows):
        return rows
    return stratified(rows, config.max_samples, config.seed)


def _about(example: Example) -> list[Any]:
    """Return what a prediction copies; a share only where there is one, as in older identities."""
    copied = [getattr(example, name) for name in COPIED]
    return copied if example.hate_share is None else [*copied, example.hate_share]


def _encoded(
    plan: EvaluationPlan, renderer: Renderer, examples: Sequence[Example]
) -> list[Encoded]:
    room, strategy = plan.room, plan.contract.strategy
    return [renderer.encode(make_chat(strategy, e.id, e.text), room) for e in examples]


def reply_length(config: EvalConfig, contract: Contract) -> int:
    """Return the longest reply: what is asked for, else the strategy's own limit if it has one.

    Where labels are scored no reply is written; then it is the room for an answer's tokens.
    """
    if config.mode == "score":
        return SCORED_TOKENS
    own = contract.strategy.parameters.max_new_tokens
    if "max_new_tokens" in config.model_fields_set or own is None:
        return config.max_new_tokens
    return own


def _room(config: EvalConfig, chosen: Subject, reply: int) -> int:
    """Return how many tokens a prompt may have: what is asked, if the model's context holds it."""
    context = positions_of(chosen.source.config)
    if context is not None and reply >= context:
        raise DataError(f"max_new_tokens {reply} does not fit the model's {context} positions.")
    return min(config.max_length, context - reply) if context else config.max_length
