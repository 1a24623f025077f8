"""One evaluation: from a model and rows to a run folder with predictions and reports."""

import gc
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hsd.config.evaluate_config import EvalConfig
from hsd.config.run_record import recorded
from hsd.errors import EvaluationError, Stopped
from hsd.evaluation.answer_rows import answer_rows
from hsd.evaluation.choose_engine import PrefixOnce, choose_engine
from hsd.evaluation.evaluation_folder import (
    existing_folder,
    existing_otherwise,
    finish,
    note_halving,
    record_halvings,
    stamp,
)
from hsd.evaluation.evaluation_lease import Leases
from hsd.evaluation.evaluation_plan import EvaluationPlan, prepare_sets
from hsd.evaluation.prompt_choice import contract_for, prompt_facts, prompt_note, renderer_for
from hsd.evaluation.ranks import Ranks, StopRequested
from hsd.evaluation.shards import done_before, own_batches, part
from hsd.evaluation.subject import subject
from hsd.inference.generate import plain_writing
from hsd.inference.replies import Asking
from hsd.inference.scored_alone import scored_alone
from hsd.io.hashes import sha256_json
from hsd.io.log_file import logging_to
from hsd.io.manifest import DONE, update_manifest
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.run_identity import set_name
from hsd.io.stopping import StopRequest, stop_request
from hsd.model.adapter import without_adapter
from hsd.model.memory import memory_error_as
from hsd.model.number_format import require_alike
from hsd.model.own_tokenizer import blaming
from hsd.model.placement import Launch, launch, place
from hsd.prediction import Prediction
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import save_contract
from hsd.report.comparability import asked_of, shown_settings
from hsd.report.context import ReportContext
from hsd.report.predictions import finished_predictions
from hsd.training.training_posts import training_posts

log = logging.getLogger(__name__)

Facts = dict[str, Any]
STATISTICS = "computing intervals"
"""What takes seconds once all rows are answered, for whoever watches."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation. `skipped` says it was finished before."""

    folder: Path
    predictions: list[Prediction]
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Loading:
    """One model for several evaluations: loaded when the first of them needs it, and only once.

    `model_context` is how it is held while it answers.
    """

    load: Callable[[], tuple[Any, Facts]]
    model_context: Callable[[Any], AbstractContextManager[None]] = nullcontext
    once: PrefixOnce = field(default_factory=PrefixOnce)


def evaluate(
    config: EvalConfig,
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> Evaluated:
    """Evaluate, or go on evaluating, one model on one set of rows; `say` gets what was decided.

    The run's folder is `run_YYYYMMDD_HHMMSS` in `config.output_dir`; the same evaluation finds its
    own folder there again, skips the rows that are answered, and is skipped when it is done.
    Raises InUseError while another process is at it, and Stopped when a signal ended it; the rows
    that it had answered are kept.
    """
    (evaluated,) = evaluate_sets([config], progress, data_dir, say)
    return evaluated


def evaluate_sets(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> list[Evaluated]:
    """Evaluate one model, loaded once, on several sets; `configs` differ in `data_file` alone.

    Each set is the evaluation that it would be by itself, in a folder of its own in `output_dir`,
    or where it began alone. All sets are read and checked before the model is loaded.
    """
    with stop_request() as request:
        sets = _in_own_folders(prepare_sets(configs, data_dir))
        return _each(sets, Loading(cache(sets[0].subject.load)), progress, request, say)


def evaluate_with_base(
    config: EvalConfig,
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> tuple[Evaluated, Evaluated]:
    """Evaluate an adapter's base and the adapter on the same rows.

    The base is asked with the adapter's prompt in its own chat template, and its folder is in
    `base` in `config.output_dir`; it is the same evaluation as one of the base alone. Both are one
    load, the adapter switched off for the base; two where that leaves something else than the
    base. Raises EvaluationError when there is no adapter.
    """
    (pair,) = evaluate_sets_with_base([config], progress, data_dir, say)
    return pair


def evaluate_sets_with_base(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> list[tuple[Evaluated, Evaluated]]:
    """Do the same on several sets, which `evaluate_sets` describes, with as many loads as on one.

    Raises EvaluationError when there is no adapter.
    """
    with stop_request() as request:
        sets = _in_own_folders(prepare_sets(configs, data_dir))
        on_base = [one.of_base() for one in sets]
        judged = sets[0].subject
        adapted = Loading(cache(judged.load))

        def load_base() -> tuple[Any, Facts]:
            model, facts = adapted.load()
            return model, {k: v for k, v in facts.items() if k not in ("adapter", "tokenizer")}

        if judged.is_base_when_off:
            bases = _each(on_base, Loading(load_base, without_adapter), progress, request, say)
        else:
            alone = cache(on_base[0].subject.load)
            bases = _each(on_base, Loading(alone), progress, request, say)
            del alone
            gc.collect()  # a model holds itself in circles, and the next one is as big
        adapters = _each(sets, adapted, progress, request, say, bases)
        return list(zip(bases, adapters, strict=True))


def try_connection(config: EvalConfig) -> tuple[Facts, str]:
    """Load what a config asks for, ask it about one mild post, and return facts and reply."""
    chosen = subject(config)
    contract = contract_for(config, chosen.carries_prompt)
    chat = make_chat(contract.strategy, "probe", "The library opens at nine today.")
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


def _in_own_folder(prepared: EvaluationPlan) -> EvaluationPlan:
    own = prepared.config.output_dir / set_name(prepared.config.data_file)
    return replace(prepared, config=prepared.config.model_copy(update={"output_dir": own}))


def _each(
    sets: Sequence[EvaluationPlan],
    loading: Loading,
    progress: Progress,
    request: StopRequest,
    say: Say,
    bases: Sequence[Evaluated] | None = None,
) -> list[Evaluated]:
    """Run one evaluation after another; what is finished stays so whatever becomes of the next."""
    found: list[Evaluated] = []
    for at, prepared in enumerate(sets):
        try:
            base = bases[at] if bases else None
            found.append(_evaluated(prepared, loading, progress, request, base, say))
        except Stopped as stopped:
            if len(sets) == 1:
                raise
            raise Stopped(f"{prepared.what}, set {at + 1} of {len(sets)}: {stopped}") from None
    return found


def _evaluated(
    prepared: EvaluationPlan,
    loading: Loading,
    progress: Progress,
    request: StopRequest,
    base: Evaluated | None,
    say: Say,
) -> Evaluated:
    """Run one evaluation."""
    identity, before = prepared.identity(), existing_folder(prepared)
    if before and (before / DONE).exists():
        return Evaluated(before, finished_predictions(before), skipped=True)
    if before is None and (left_alone := existing_otherwise(prepared)):
        say(left_alone)
    # A process with other numbers has to find the others, to be told so.
    name = sha256_json({part: identity[part] for part in identity if part != "number_format"})
    try:
        with Ranks(launch(), request, name) as ranks, Leases(prepared, request) as leases:
            require_alike(
                [json.loads(n) for n in ranks.exchange("numbers", json.dumps(prepared.numbers))]
            )
            ranks.as_the_first("leased", leases.take)
            before = existing_folder(prepared)  # nobody else writes from here on
            if before and (before / DONE).exists():
                return Evaluated(before, finished_predictions(before), skipped=True)
            folder = _continue(
                prepared, identity, before, loading, progress, ranks, leases, base, say
            )
    except StopRequested:
        left_in = existing_folder(prepared)
        answered = len(done_before(left_in)) if left_in else 0
        raise Stopped(
            f"answered {answered} of {len(prepared.encoded)} rows; run the same command again to "
            "go on."
        ) from None
    return Evaluated(folder, finished_predictions(folder))


def _continue(
    prepared: EvaluationPlan,
    identity: Mapping[str, Any],
    before: Path | None,
    loading: Loading,
    progress: Progress,
    ranks: Ranks,
    leases: Leases,
    base: Evaluated | None,
    say: Say,
) -> Path:
    """Answer the rows that are left, with the other ranks; return the finished folder."""
    started, here = time.monotonic(), launch()
    known = done_before(before) if before else {}
    left = any(row.id not in known for row in prepared.encoded)
    model, facts = _loaded(prepared, loading.load, ranks) if left else (None, {})
    folder = _begin(prepared, identity, ranks, leases)
    with (
        logging_to(folder / f"validation_log_{stamp(folder)}.log", enabled=here.is_main),
        _recorded(folder, prepared, identity, facts, here, started)
        if here.is_main
        else nullcontext(),
    ):
        log.info("model: %s", json.dumps(facts, default=str))
        log.info("%d rows, %d answered before", len(prepared.encoded), len(known))
        if note := prompt_note(prepared.contract, prepared.renderer):
            log.info("prompt: %s", note)
        for note in prepared.notes:
            log.warning("%s", note)
        if left:
            with loading.model_context(model):
                _answer(prepared, model, loading.once, known, folder, progress, ranks, say)
        ranks.gather("answered")
        if here.is_main:
            leases.require()
            record_halvings(folder)
            progress(0, 1, STATISTICS)
            beside = _beside(prepared, folder, base)
            finish(folder, [example.id for example in prepared.examples], beside)
            progress(1, 1, STATISTICS)
    ranks.follow("finished")
    if not (folder / DONE).exists():
        raise StopRequested
    return folder


def _loaded(
    prepared: EvaluationPlan, load: Callable[[], tuple[Any, Facts]], ranks: Ranks
) -> tuple[Any, Facts]:
    device = place(prepared.config.model).device
    if device != "cpu":
        torch.cuda.set_device(device)  # some kernels start on the current one, whatever they get
    ranks.check_stop()
    with memory_error_as(_full(device)):
        loaded = load()
    ranks.check_stop()
    return loaded


def _begin(
    prepared: EvaluationPlan, identity: Mapping[str, Any], ranks: Ranks, leases: Leases
) -> Path:
    """Return the evaluation's folder, which the first rank makes once all know what is left."""
    ranks.gather("ready")  # nobody writes before
    ranks.as_the_first("claimed", lambda: leases.make_folder(identity))
    folder = existing_folder(prepared)
    if folder is None:
        raise StopRequested
    return folder


def _beside(prepared: EvaluationPlan, folder: Path, base: Evaluated | None) -> ReportContext:
    """Return what the run's report can be compared with."""
    training, note = training_posts(prepared.subject.adapter)
    if base is None:
        return ReportContext(training, note)
    update_manifest(folder, base_run=str(base.folder.absolute()))
    named = (shown_settings(base.folder), base.predictions)
    return ReportContext(training, note, named, base_asked=asked_of(base.folder))


def _answer(
    prepared: EvaluationPlan,
    model: Any,
    once: PrefixOnce,
    known: Collection[str],
    folder: Path,
    progress: Progress,
    ranks: Ranks,
    say: Say,
) -> None:
    """Answer this rank's share of the rows that are not known."""
    here = launch()
    try:
        with memory_error_as(_full(model.device.type)):
            chosen = choose_engine(prepared, model, once)
            batches = chosen.way.batches(prepared.encoded)
            log.info("answering: %s", json.dumps(chosen.facts()))
            if chosen.fallback:
                say(chosen.fallback)
            if here.is_main:
                is_scored = prepared.config.mode == "score"
                alone = scored_alone(chosen.way, batches, ranks.check_stop) if is_scored else {}
                update_manifest(folder, answering={**chosen.facts(), "scored_alone": alone})
            answer_rows(
                prepared,
                chosen.way,
                own_batches(batches, known, here.rank, here.world_size),
                part(folder, here.rank),
                progress,
                known,
                lambda halving: note_halving(folder, here.rank, halving),
                ranks.check_stop,
            )
    finally:
        if here.is_main and not ranks.lost:
            record_halvings(folder)


def _full(device: str) -> EvaluationError:
    whose = "this machine's" if device == "cpu" else "the GPU's"
    return EvaluationError(
        f"{whose} memory is full with one row at a time. End what else runs on it and run the "
        "same command, which goes on from the rows that are answered; or take "
        "model.quantization=nf4 or a shorter --max_length."
    )


def _recorded(
    folder: Path,
    prepared: EvaluationPlan,
    identity: Mapping[str, Any],
    facts: Mapping[str, Any],
    here: Launch,
    started: float,
) -> AbstractContextManager[None]:
    contract = prepared.contract
    # A restart with every row answered loads no model, and keeps what the manifest says of it.
    loaded: Facts = {"model": dict(facts)} if facts else {}
    save_contract(folder, contract)
    return recorded(
        folder,
        "evaluate",
        prepared.config,
        gpus=0 if place(prepared.config.model).device == "cpu" else here.world_size,
        since=started,
        data={name: identity[name] for name in ("data_file", "data_sha256", "rows")}
        | ({"splits": prepared.splits} if prepared.splits else {}),
        notes=prepared.notes,
        prompt=prompt_facts(contract, prepared.renderer),
        processes=here.world_size,
        **loaded,
    )
