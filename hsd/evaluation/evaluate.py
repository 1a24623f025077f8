"""Evaluate a model: on one set of posts or several, alone or beside its base."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.server_config import require_server_engine
from hsd.errors import ConfigError, Stopped
from hsd.evaluation.evaluation_folder import existing_folder
from hsd.evaluation.evaluation_plan import EvaluationPlan, prepare_sets
from hsd.evaluation.evaluation_run import Evaluated, EvaluationRun, Loading
from hsd.evaluation.prompt_choice import PROBE, contract_for, prompt_facts, renderer_for
from hsd.evaluation.served_run import evaluate_served_sets
from hsd.evaluation.subject import subject
from hsd.evaluation.vllm_model import VllmModel
from hsd.inference.generate import plain_writing
from hsd.inference.replies import Asking
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.run_identity import set_name
from hsd.io.shard import Shard
from hsd.io.stopping import StopRequest, stop_request
from hsd.model.adapter import without_adapter
from hsd.model.own_tokenizer import blaming
from hsd.prompts.chat import make_chat


def evaluate(
    config: EvalConfig,
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> Evaluated:
    """Evaluate, or go on evaluating, one model on one set of rows; `say` gets what was decided.

    The run's folder is `run_YYYYMMDD_HHMMSS` in `config.output_dir`; the same evaluation finds its
    own folder there again, skips the rows that are answered, and is skipped when it is done.
    With a `shard` only its part of the rows is answered, in the same folder, and the last shard
    finishes the run as one job would have.
    Raises InUseError while another process is at it, and Stopped when a signal ended it; the rows
    that it had answered are kept.
    """
    (evaluated,) = evaluate_sets([config], progress, data_dir, say, shard)
    return evaluated


def evaluate_sets(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> list[Evaluated]:
    """Evaluate one model, loaded once, on several sets; `configs` differ in `data_file` alone.

    Each set is the evaluation that it would be by itself, in a folder of its own in `output_dir`,
    or where it began alone. All sets are read and checked before the model is loaded.
    """
    if configs[0].engine == "openai":
        _require_no_shard(shard)
        return evaluate_served_sets(configs, progress, data_dir, say)
    with stop_request() as request:
        sets = _in_own_folders(prepare_sets(configs, data_dir))
        with _loading(sets) as loading:
            return _each(sets, loading, progress, request, say, shard)


def evaluate_with_base(
    config: EvalConfig,
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> tuple[Evaluated, Evaluated]:
    """Evaluate an adapter's base and the adapter on the same rows.

    The base is asked with the adapter's prompt in its own chat template, and its folder is in
    `base` in `config.output_dir`; it is the same evaluation as one of the base alone. Both are one
    load, the adapter switched off for the base; two where that leaves something else than the
    base. Raises EvaluationError when there is no adapter.
    """
    (pair,) = evaluate_sets_with_base([config], progress, data_dir, say, shard)
    return pair


def evaluate_sets_with_base(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> list[tuple[Evaluated, Evaluated]]:
    """Do the same on several sets, which `evaluate_sets` describes, with as many loads as on one.

    Raises EvaluationError when there is no adapter, and ConfigError where a server answers.
    """
    if configs[0].engine == "openai":
        raise ConfigError(
            "engine openai: a server has no adapter to switch off; evaluate its model without the "
            "base: hsd.evaluate(config)."
        )
    with stop_request() as request, ExitStack() as stack:
        sets = _in_own_folders(prepare_sets(configs, data_dir))
        on_base = [one.of_base() for one in sets]
        judged = sets[0].subject
        adapted = stack.enter_context(_loading(sets))

        def load_base() -> tuple[Any, dict[str, Any]]:
            model, facts = adapted.load()
            return model, {k: v for k, v in facts.items() if k not in ("adapter", "tokenizer")}

        if judged.is_base_when_off:
            off = Loading(load_base, _adapter_off)
            bases = _each(on_base, off, progress, request, say, shard)
        else:
            alone = cache(on_base[0].subject.load)
            bases = _each(on_base, Loading(alone), progress, request, say, shard)
            del alone
            gc.collect()  # a model holds itself in circles, and the next one is as big
        adapters = _each(sets, adapted, progress, request, say, shard, bases)
        return list(zip(bases, adapters, strict=True))


def _require_no_shard(shard: Shard) -> None:
    if not shard.is_whole:
        raise ConfigError(
            f"shard {shard.name}: one server answers all rows; leave the shard out, and set "
            "server.concurrency."
        )


@contextmanager
def _loading(sets: Sequence[EvaluationPlan]) -> Iterator[Loading]:
    """Yield what loads the model of these sets once; vLLM ends with the block."""
    plan = sets[0]
    if plan.config.engine != "vllm":
        yield Loading(cache(plan.subject.load))
        return
    with VllmModel(plan) as model:
        rows = [row for one in sets for row in one.encoded]
        yield Loading(cache(lambda: model.load(rows)))


def _adapter_off(model: Any) -> AbstractContextManager[None]:
    return model.without_adapter() if isinstance(model, VllmModel) else without_adapter(model)


def try_connection(config: EvalConfig) -> tuple[dict[str, Any], str]:
    """Load what a config asks for, ask it about one mild post, and return facts and reply."""
    require_server_engine(config.server, config.engine)
    chosen = subject(config)
    contract = contract_for(config, chosen.carries_prompt)
    chat = make_chat(contract.strategy, "probe", PROBE)
    with blaming(chosen.own_words_in):
        renderer = renderer_for(config, contract, chosen.tokenizer)
        row = renderer.encode(chat)
    model, facts = chosen.load()
    asking = Asking(config.max_new_tokens, 1)
    plain = plain_writing(model, chosen.tokenizer, renderer.stop_ids(), asking)
    (reply,) = plain.answer([row])
    return {**facts, "prompt": prompt_facts(contract, renderer)}, reply.text


def _in_own_folders(sets: list[EvaluationPlan]) -> list[EvaluationPlan]:
    """Return several sets with a folder each in `output_dir`; one that began alone stays there."""
    if len(sets) == 1:
        return sets
    return [one if existing_folder(one) else _in_own_folder(one) for one in sets]


def _in_own_folder(plan: EvaluationPlan) -> EvaluationPlan:
    own = plan.config.output_dir / set_name(plan.config.data_file)
    return replace(plan, config=plan.config.model_copy(update={"output_dir": own}))


def _each(
    sets: Sequence[EvaluationPlan],
    loading: Loading,
    progress: Progress,
    request: StopRequest,
    say: Say,
    shard: Shard,
    bases: Sequence[Evaluated] | None = None,
) -> list[Evaluated]:
    """Run one evaluation after another; what is finished stays so whatever becomes of the next."""
    found: list[Evaluated] = []
    for at, plan in enumerate(sets):
        try:
            base = bases[at] if bases else None
            found.append(EvaluationRun(plan, loading, request, progress, say, base, shard).run())
        except Stopped as stopped:
            if len(sets) == 1:
                raise
            raise Stopped(f"{plan.what}, set {at + 1} of {len(sets)}: {stopped}") from None
    return found
