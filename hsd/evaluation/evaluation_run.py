"""One evaluation: from a model and rows to a run folder with predictions and reports."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsd.config.run_record import recorded
from hsd.data.rows_identity import data_facts
from hsd.errors import Stopped
from hsd.evaluation.answer_rows import answer_rows
from hsd.evaluation.choose_engine import ChosenEngine, PrefixOnce, choose_engine
from hsd.evaluation.evaluation_folder import (
    existing_folder,
    existing_otherwise,
    finish,
    note_halving,
    record_halvings,
)
from hsd.evaluation.evaluation_lease import Leases
from hsd.evaluation.evaluation_plan import EvaluationPlan, engine_identity
from hsd.evaluation.load_model import full_memory, load_for
from hsd.evaluation.prompt_choice import prompt_facts, prompt_note
from hsd.evaluation.ranks import Ranks, StopRequested
from hsd.evaluation.served_counts import stopped_said
from hsd.evaluation.shard_files import (
    hours_noted,
    is_answered,
    note_engine,
    refuse_other_numbers,
    remove_shard_files,
    suffix,
    unanswered,
)
from hsd.evaluation.shard_merge import merge_answered
from hsd.evaluation.shards import done_before, own_batches, part
from hsd.evaluation.vllm_model import Surroundings, VllmModel
from hsd.inference.scored_alone import scored_alone
from hsd.io.dated_folder import stamp
from hsd.io.hashes import sha256_json
from hsd.io.log_file import logging_to
from hsd.io.manifest import DONE, update_manifest
from hsd.io.progress import Progress, Say
from hsd.io.progress_file import ProgressFile
from hsd.io.shard import Shard
from hsd.io.stopping import StopRequest
from hsd.model.memory import memory_error_as
from hsd.model.number_format import require_alike
from hsd.model.placement import launch
from hsd.prediction import Prediction
from hsd.prompts.contract import save_contract
from hsd.prompts.render import Encoded
from hsd.report.comparability import asked_of, shown_settings
from hsd.report.context import ReportContext
from hsd.report.predictions import answered_rows, finished_predictions
from hsd.report.regrouping import other_groups_said
from hsd.training.training_posts import training_posts

log = logging.getLogger(__name__)

Facts = dict[str, Any]
STATISTICS = "computing intervals"
"""What takes seconds once all rows are answered, for whoever watches."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation. `skipped` says it was finished before.

    With `missing` it is not finished: so many other shards have rows to answer, and the last of
    them finishes it.
    """

    folder: Path
    predictions: list[Prediction]
    skipped: bool = False
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Loading:
    """One model for several evaluations: loaded when the first of them needs it, and only once.

    `model_context` is entered while it answers.
    """

    load: Callable[[], tuple[Any, Facts]]
    model_context: Callable[[Any], AbstractContextManager[None]] = nullcontext
    once: PrefixOnce = field(default_factory=PrefixOnce)


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """One evaluation in its folder, on all of its ranks; what all of its steps need."""

    plan: EvaluationPlan
    loading: Loading
    request: StopRequest
    progress: Progress
    say: Say
    base: Evaluated | None = None
    """The base's evaluation on the same rows, to be compared with."""
    shard: Shard = Shard()
    """Which part of the rows this job answers."""

    def run(self) -> Evaluated:
        """Begin it, go on with it, or find it finished.

        Raises InUseError while another process is at it, and Stopped when a signal ended it.
        """
        before = existing_folder(self.plan)
        if finished := self._found(before):
            return finished
        if before is None and (left_alone := existing_otherwise(self.plan)):
            if not self.shard.is_whole:
                raise refuse_other_numbers(left_alone)
            self.say(left_alone)
        identity = self.plan.identity()
        # A process with other numbers has to find the others, to be told so.
        shared = {part: identity[part] for part in identity if part != "number_format"}
        name = sha256_json(shared if self.shard.is_whole else [shared, self.shard.name])
        try:
            with (
                Ranks(launch(), self.request, name) as ranks,
                Leases(self.plan, self.request, self.shard) as leases,
            ):
                numbers = ranks.exchange("numbers", json.dumps(self.plan.numbers))
                require_alike([json.loads(said) for said in numbers])
                ranks.as_the_first("leased", leases.take)
                before = existing_folder(self.plan)  # nobody else writes from here on
                if finished := self._found(before):
                    return finished
                folder = self._evaluate(identity, before, ranks, leases)
        except StopRequested:
            raise self._stopped() from None
        if not (folder / DONE).exists():
            return Evaluated(folder, [], missing=unanswered(folder, self.shard))
        return Evaluated(folder, finished_predictions(folder))

    def _found(self, before: Path | None) -> Evaluated | None:
        """Return what an earlier start finished; say where it counts other groups."""
        finished = _finished(before)
        for said in other_groups_said(finished.folder, self.plan.groups) if finished else []:
            self.say(said)
        return finished

    def _stopped(self) -> Stopped:
        folder = existing_folder(self.plan)
        answered = len(done_before(folder)) if folder else 0
        return Stopped(stopped_said(answered, len(self.plan.encoded), "rows"))

    def _evaluate(
        self, identity: Mapping[str, Any], before: Path | None, ranks: Ranks, leases: Leases
    ) -> Path:
        """Answer the rows that are left, with the other ranks; return the finished folder."""
        started, here = time.monotonic(), launch()
        known = done_before(before) if before else {}
        left = any(row.id not in known for row in self.plan.encoded) and not (
            before and is_answered(before, self.shard)
        )
        if not self.shard.is_whole:  # others answer meanwhile, and ranks looked at their own times
            left = "left" in ranks.exchange("left", "left" if left else "")
        model, facts = (
            load_for(self.plan, self.loading.load, ranks.check_stop) if left else (None, {})
        )
        folder = self._begin(identity, ranks, leases)
        of_shard = suffix(self.shard) if self.shard.index else ""
        log_name = f"validation_log_{stamp(folder)}{of_shard}.log"
        # One writes of the whole; of an answered shard nothing, as another may be merging.
        records = here.is_main and (self.shard.is_whole or (left and not self.shard.index))
        with (
            logging_to(folder / log_name, enabled=here.is_main),
            self._recorded(folder, identity, facts, started)
            if records
            else self._hours_noted(folder, started, left),
        ):
            self._log(facts, len(known))
            if left:
                with self.loading.model_context(model):
                    self._answer(model, known, folder, ranks)
            ranks.gather("answered")
            if here.is_main and self.shard.is_whole:
                self._finish(folder, leases)
                remove_shard_files(folder)  # vLLM's note
        if here.is_main and not self.shard.is_whole:
            self._merge(folder, ranks, leases)
        ranks.follow("finished")
        if self.shard.is_whole and not (folder / DONE).exists():
            raise StopRequested
        return folder

    def _finish(self, folder: Path, leases: Leases) -> None:
        """Merge what all have answered, and write the reports."""
        leases.require()
        record_halvings(folder)
        self.progress(0, 1, STATISTICS)
        ids = [example.id for example in self.plan.examples]
        finish(folder, ids, self._report_context(folder))
        self.progress(1, 1, STATISTICS)

    def _merge(self, folder: Path, ranks: Ranks, leases: Leases) -> None:
        """Say that this shard is answered; finish the evaluation where all are."""
        merge_answered(
            folder, self.shard, leases, ranks.check_stop, lambda: self._finish(folder, leases)
        )

    def _hours_noted(
        self, folder: Path, started: float, left: bool
    ) -> AbstractContextManager[None]:
        """Count the GPUs' time of a shard that the manifest has no start of."""
        here = launch()
        if not (left and self.shard.index and here.is_main):
            return nullcontext()
        return hours_noted(folder, self.shard, self.plan.gpus * here.world_size, started)

    def _begin(self, identity: Mapping[str, Any], ranks: Ranks, leases: Leases) -> Path:
        """Return the evaluation's folder, which the first rank makes once all know what is left."""
        ranks.gather("ready")  # nobody writes before
        ranks.as_the_first("claimed", lambda: leases.make_folder(identity, ranks.check_stop))
        folder = existing_folder(self.plan)
        if folder is None:
            raise StopRequested
        return folder

    def _log(self, facts: Mapping[str, Any], answered_before: int) -> None:
        plan = self.plan
        log.info("model: %s", json.dumps(facts, default=str))
        log.info("%d rows, %d answered before", len(plan.encoded), answered_before)
        if note := prompt_note(plan.contract, plan.renderer):
            log.info("prompt: %s", note)
        for note in plan.notes:
            log.warning("%s", note)

    def _answer(
        self, model: Any, known: Mapping[str, Prediction], folder: Path, ranks: Ranks
    ) -> None:
        """Answer this rank's share of the rows that are not known."""
        here, plan = launch(), self.plan
        try:
            with memory_error_as(full_memory(model.device.type)):
                chosen = engine_for(
                    plan,
                    model,
                    self.loading.once,
                    Surroundings(folder, ranks.check_stop, self.shard),
                )
                batches = chosen.engine.batches(plan.encoded)
                log.info("answering: %s", json.dumps(chosen.facts()))
                self._note_engine(folder, chosen, ranks)
                if chosen.fallback:
                    self.say(chosen.fallback)
                if here.is_main and not self.shard.index:
                    is_scored = plan.config.mode == "score"
                    alone = (
                        scored_alone(chosen.engine, batches, ranks.check_stop) if is_scored else {}
                    )
                    update_manifest(folder, answering={**chosen.facts(), "scored_alone": alone})
                answer_rows(
                    plan,
                    chosen.engine,
                    own_batches(batches, known, here.rank, here.world_size, self.shard),
                    part(folder, here.rank, self.shard),
                    self._watched(folder, batches) if here.is_main else self.progress,
                    known,
                    lambda halving: note_halving(folder, here.rank, halving, self.shard),
                    ranks.check_stop,
                )
        finally:
            if here.is_main and not self.shard.index and not ranks.lost:
                record_halvings(folder)

    def _note_engine(self, folder: Path, chosen: ChosenEngine, ranks: Ranks) -> None:
        """Let all shards answer with one engine; raises PreflightError on all ranks otherwise."""
        if not self.shard.is_whole:
            engine = {"shared": chosen.shared, "batch_size": chosen.engine.batch_size}
            ranks.as_the_first("engine", lambda: note_engine(folder, self.shard, engine))

    def _watched(self, folder: Path, batches: Sequence[Sequence[Encoded]]) -> Progress:
        """Return what reports progress, and writes how many rows all ranks have answered.

        Of a shard its own rows alone: a shard without a row must not pass for one that works.
        """
        shard = self.shard
        file = ProgressFile(folder, "rows", shard)
        every = sum(map(len, batches[shard.index :: shard.count]))

        def report(done: int, total: int, what: str) -> None:
            self.progress(done, total, what)
            file(lambda: answered_rows(folder, suffix(shard)), every, is_end=done >= total)

        return report

    def _report_context(self, folder: Path) -> ReportContext:
        """Return what the run's report can be compared with."""
        training, note = training_posts(self.plan.subject.adapter)
        groups = self.plan.groups
        if self.base is None:
            return ReportContext(training, note, groups=groups)
        update_manifest(folder, base_run=str(self.base.folder.absolute()))
        predictions = self.base.predictions or finished_predictions(self.base.folder)
        named = (shown_settings(self.base.folder), predictions)
        asked = asked_of(self.base.folder)
        return ReportContext(training, note, named, base_asked=asked, groups=groups)

    def _recorded(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any],
        started: float,
    ) -> AbstractContextManager[None]:
        plan, here = self.plan, launch()
        # A restart with every row answered loads no model, and keeps what the manifest says of it.
        loaded: Facts = {"model": dict(facts)} if facts else {}
        save_contract(folder, plan.contract)
        return recorded(
            folder,
            "evaluate",
            plan.config,
            gpus=plan.gpus * here.world_size,
            since=started,
            data=data_facts(identity, plan.examples),
            notes=plan.notes,
            **plan.groups.facts(),
            prompt=prompt_facts(plan.contract, plan.renderer),
            processes=here.world_size,
            **engine_identity(plan.config),
            **loaded,
        )


def engine_for(
    plan: EvaluationPlan, model: Any, once: PrefixOnce, at: Surroundings
) -> ChosenEngine:
    """Return how rows are answered by a model that hsd has loaded, or vLLM."""
    if isinstance(model, VllmModel):
        return model.choose(plan, at)
    return choose_engine(plan, model, once)


def _finished(folder: Path | None) -> Evaluated | None:
    """Return what an earlier start finished in a folder, None where nothing is finished."""
    if folder is None or not (folder / DONE).exists():
        return None
    return Evaluated(folder, finished_predictions(folder), skipped=True)
