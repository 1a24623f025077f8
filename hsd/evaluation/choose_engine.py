"""How rows are answered: behind the prompt that they share, or one by one. Decided here."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from hsd.errors import EvaluationError
from hsd.evaluation.engine_test import (
    TOKENS,
    check_replies,
    check_scores,
    check_twins_replies,
    check_twins_scores,
    rows_of_test,
)
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.inference.generate import plain_writing
from hsd.inference.replies import Asking, Engine
from hsd.inference.score import Candidates, candidates, plain_scoring
from hsd.inference.shared_generate import SharedGenerate
from hsd.inference.shared_score import SharedScore
from hsd.model.packing import Prefix, compute_prefix, obstacle, shared_length
from hsd.model.tolerance import SelfTest, TestPart, exact_tolerance
from hsd.prompts.render import Encoded

log = logging.getLogger(__name__)

WORTH_IT = 0.1
"""Share of the prompts' tokens that sharing has to save, its self-test paid for."""

ROOM = 2048
"""Most tokens of one packed batch. Every one looks at all others, if only at a mask: beyond some
thousand that costs more than what the tokens themselves do. Posts seldom come near."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Prompt tokens to compute for all rows, either engine."""

    prefix_tokens: int
    plain_tokens: int
    shared_tokens: int
    self_test_tokens: int

    @property
    def is_worth_it(self) -> bool:
        """Whether sharing saves more than it costs to check it."""
        saved = self.plain_tokens - self.shared_tokens - self.self_test_tokens
        return saved > WORTH_IT * self.plain_tokens


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """The engine that answers rows, and why it is this one."""

    engine: Engine
    shared: bool
    reason: str
    expected: Expected
    self_test: SelfTest | None = None
    fallback: str | None = None
    """A sentence for who waits, where prompts should have been shared and are not."""
    served: dict[str, Any] | None = None
    """What answers instead of hsd's own engine, and what its check found."""

    def facts(self) -> dict[str, Any]:
        """Return the decision for the manifest."""
        if self.served is not None:
            return {**self.served, "batch_size": self.engine.batch_size}
        tested = self.self_test.facts() if self.self_test else None
        return {
            "shared": self.shared,
            "reason": self.reason,
            "batch_size": self.engine.batch_size,
            **asdict(self.expected),
            "self_test": tested,
        }


@dataclass(slots=True)
class PrefixOnce:
    """What is computed once for a loaded model, however many sets it answers.

    The check of the twin is about the model's code, and the shared prompt's keys and values are the
    same numbers wherever they are the same tokens. The check of the loaded model is about a set's
    own rows, the longest among them: each set has its own.
    """

    twin: TestPart | None = None
    prefixes: dict[tuple[int, ...], Prefix] = field(default_factory=dict)


def choose_engine(plan: EvaluationPlan, model: Any, once: PrefixOnce | None = None) -> ChosenEngine:
    """Return how rows are answered; `auto` shares where it pays and is right.

    All rows decide, whichever are left and however many ranks answer them: a restart goes on
    with the engine that it began with. `once` has what other sets computed with the same model.

    Raises EvaluationError when sharing is asked for and cannot be had.
    """
    asked = plan.config.prefix_sharing
    coarse, plain = exact_tolerance(model) is None, plain_engine(plan, model)
    expected = expect(plan.encoded, coarse=coarse)
    if asked == "off":
        return ChosenEngine(plain, False, "as asked", expected)
    if asked == "auto" and not expected.is_worth_it:
        return ChosenEngine(plain, False, "sharing would gain little", expected)
    engine, tested = _tested(plan, model, expected.prefix_tokens, once or PrefixOnce())
    if engine:
        log.info("%s", tested.sentence())
        return ChosenEngine(engine, True, "the self-test passed", expected, tested)
    problem = str(tested.problem)
    if asked == "on":
        raise EvaluationError(
            f"prefix_sharing on: {problem}. Leave --prefix-sharing out, or set it to off, which "
            "computes each prompt whole."
        )
    log.warning("prompts are not shared: %s", problem)
    more = expected.plain_tokens / expected.shared_tokens
    fallback = f"Each prompt is computed whole ({more:.1f} times as many tokens), since {problem}."
    return ChosenEngine(plain, False, problem, expected, tested, fallback)


def expect(rows: Sequence[Encoded], *, coarse: bool = False) -> Expected:
    """Return the tokens to compute; the prefix is what all prompts begin with.

    A prompt's last token stays its row's own: the reply is read from it. Where numbers are coarse
    the self-test takes more rows, and computes them padded too.
    """
    prefix = shared_length([row.prompt[:-1] for row in rows])
    plain = sum(len(row.prompt) for row in rows)
    shared = prefix + plain - prefix * len(rows)
    tested = sum(len(row.prompt) for row in rows_of_test(rows, coarse=coarse))
    return Expected(prefix, plain, shared, 2 * tested if coarse else tested)


def plain_engine(plan: EvaluationPlan, model: Any) -> Engine:
    """Return the engine that computes each prompt whole."""
    tokenizer = plan.subject.tokenizer
    if plan.config.mode == "score":
        return plain_scoring(model, tokenizer, spelled_of(plan), plan.config.batch_size)
    return plain_writing(model, tokenizer, plan.renderer.stop_ids(), asking_of(plan))


def _tested(
    plan: EvaluationPlan, model: Any, prefix_tokens: int, once: PrefixOnce
) -> tuple[Engine | None, SelfTest]:
    """Return the engine that shares the prompt, where it passes its test, and what was found."""
    if problem := obstacle(model):
        return None, SelfTest(obstacle=problem)
    twin = once.twin = once.twin or _check_twin(plan, model)
    if twin.problem:
        return None, SelfTest(twin)
    engine, loaded = _shared(plan, model, _prefix(plan, model, prefix_tokens, once))
    return None if loaded.problem else engine, SelfTest(twin, loaded)


def _check_twin(plan: EvaluationPlan, model: Any) -> TestPart:
    if plan.config.mode == "score":
        return check_twins_scores(model)
    tokenizer, stops = plan.subject.tokenizer, plan.renderer.stop_ids()
    return check_twins_replies(model, tokenizer, stops)


def _prefix(plan: EvaluationPlan, model: Any, tokens: int, once: PrefixOnce) -> Prefix:
    """Return the shared prompt's keys and values, computed now or with another set."""
    ids = tuple(plan.encoded[0].prompt[:tokens])
    if ids not in once.prefixes:
        with torch.inference_mode():
            once.prefixes[ids] = compute_prefix(model, ids)
    return once.prefixes[ids]


def _shared(plan: EvaluationPlan, model: Any, prefix: Prefix) -> tuple[Engine, TestPart]:
    """Return the engine that reads behind the shared prompt, and whether it answers rightly."""
    prefix_tokens = len(prefix.tokens)
    rows = rows_of_test(plan.encoded, coarse=exact_tolerance(model) is None)
    batch_size = max(plan.config.batch_size, len(rows))
    if plan.config.mode == "score":
        spelled = spelled_of(plan)
        scoring = SharedScore(model, prefix, spelled)
        engine = Engine(scoring, plan.config.batch_size, prefix_tokens, ROOM)
        return engine, check_scores(scoring, model, rows, spelled, batch_size)
    asking = asking_of(plan)
    writing = _generating(plan, model, prefix, asking)
    engine = Engine(writing, plan.config.batch_size, prefix_tokens, ROOM)
    limit = min(asking.max_new_tokens, TOKENS)
    tested = _generating(
        plan, model, prefix, replace(asking, max_new_tokens=limit, temperature=0.0)
    )
    tokenizer, stops = plan.subject.tokenizer, plan.renderer.stop_ids()
    return engine, check_replies(tested, model, tokenizer, rows, stops, batch_size)


def _generating(plan: EvaluationPlan, model: Any, prefix: Prefix, asking: Asking) -> SharedGenerate:
    tokenizer, stops = plan.subject.tokenizer, plan.renderer.stop_ids()
    return SharedGenerate(model, tokenizer, prefix, stops, asking)


def asking_of(plan: EvaluationPlan) -> Asking:
    """Return how replies are made."""
    config = plan.config
    return Asking(plan.max_new_tokens, config.batch_size, config.temperature, config.seed)


def spelled_of(plan: EvaluationPlan) -> Candidates:
    """Return the tokens of both answers."""
    strategy = plan.contract.strategy
    return candidates(
        plan.renderer,
        plan.subject.tokenizer,
        has_system=bool(strategy.system_prompt),
        rationale=strategy.parameters.rationale,
    )
