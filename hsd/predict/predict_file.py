"""`hsd predict` on a file: answered in windows, and written as one table once all are answered.

Beside the table lies its run's folder, `OUTPUT.run`: whose table it is, how it was made, and the
answers until the table is whole. A process that dies costs seconds of work: the same command goes
on, and comes to the same bytes, since each window is computed by its rows alone.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.run_record import recorded
from hsd.counted import counted
from hsd.errors import EvaluationError, InUseError, Stopped
from hsd.evaluation.ranks import Ranks, StopRequested
from hsd.evaluation.served_counts import stopped_said
from hsd.evaluation.shard_files import join_shards, record_answering, remove_shard_files
from hsd.io.files import LEASE
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import parse_json
from hsd.io.lease import POLL_S, hold_lease
from hsd.io.manifest import DONE, update_manifest
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.run_identity import claim
from hsd.io.stopping import StopRequest, stop_request
from hsd.model.number_format import require_alike
from hsd.model.placement import launch
from hsd.predict.called_shares import CalledShares
from hsd.predict.input_posts import InputPost
from hsd.predict.label_rule import LabelRule
from hsd.predict.output_tables import new_table
from hsd.predict.post_answers import PostAnswer
from hsd.predict.predict_folder import (
    REMEDIES,
    SETTING,
    answered_posts,
    is_whole,
    put_table,
    require_own_output,
    require_unchanged,
    shares_of_table,
)
from hsd.predict.predict_job import PredictJob, PredictPlan, plan_predict
from hsd.predict.window_asker import WindowAsker
from hsd.predict.window_files import known_answers
from hsd.prompts.contract import save_contract

_WORK = "hsd predict"
_TABLE_LEASE = f"{LEASE}-table"


@dataclass(frozen=True, slots=True)
class Predicted:
    """A table that is whole, or `missing` posts that other shards have to answer.

    `skipped` says that it was whole before. Only the first process has the shares.
    """

    output: str
    rule: LabelRule
    shares: CalledShares | None = None
    skipped: bool = False
    missing: int = 0
    had_rows: bool = True
    """Whether this shard had rows of its own: a small file has fewer parts than shards."""
    answering: Mapping[str, Any] | None = None
    """What a server was asked, and the cost."""


def predict_file(job: PredictJob, progress: Progress = silent, say: Say = unsaid) -> Predicted:
    """Label the posts of a file, or go on labelling them; `say` gets what was decided.

    Raises InUseError while another process is at it, and Stopped when a signal ended it; what it
    had answered is kept.
    """
    with stop_request() as request:
        plan = plan_predict(job)
        say(plan.rule.said)
        return PredictRun(plan, request, progress, say).run()


@dataclass(frozen=True, slots=True)
class PredictRun:
    """One table in the making, on all of its ranks; what all of its steps need."""

    plan: PredictPlan
    request: StopRequest
    progress: Progress
    say: Say

    def run(self) -> Predicted:
        """Begin it, go on with it, or find it finished."""
        identity = self.plan.identity()
        require_own_output(self.plan, identity)
        if is_whole(self.plan):
            return self._found()
        if not self.plan.job.shard.is_whole:
            self.say(self._shard_said())
        with closing(self.plan.model):
            self.plan.model.check(self.say)
            return self._run(identity)

    def _shard_said(self) -> str:
        """Return how many rows this shard has; a file is split into windows, not into rows."""
        plan, own, of = self.plan, self._own_rows, counted(self.plan.found.rows, "row")
        shard = f"Shard {plan.job.shard.index}/{plan.job.shard.count}"
        if own:
            return f"{shard} has {own:,} of {of}."
        return (
            f"{shard} has none of {of}: a file is split every {counted(plan.window, 'row')}, and "
            f"this file has only {counted(-(-plan.found.rows // plan.window), 'part')}."
        )

    @property
    def _own_rows(self) -> int:
        return self.plan.rows_of_shard(launch().world_size)

    def _run(self, identity: dict[str, Any]) -> Predicted:
        """Answer what is left, once nobody else is at it."""
        shared = {part: identity[part] for part in identity if part != "number_format"}
        name = sha256_json([shared, self.plan.job.shard.name])
        try:
            with Ranks(launch(), self.request, name) as ranks, ExitStack() as leases:
                numbers = ranks.exchange("numbers", json.dumps(self.plan.model.numbers))
                require_alike([parse_json(said, "numbers") for said in numbers])
                ranks.as_the_first("leased", lambda: self._begin(identity, leases))
                if is_whole(self.plan):
                    return self._found()
                return self._predict(identity, ranks)
        except StopRequested as stop:
            raise self._stopped(str(stop)) from None

    def _begin(self, identity: dict[str, Any], leases: ExitStack) -> None:
        plan, shard = self.plan, self.plan.job.shard
        name = LEASE if shard.count == 1 else f"{LEASE}-{shard.name}"
        shown = Path(plan.job.output)
        leases.enter_context(
            hold_lease(plan.folder, _WORK, name=name, lost=self.request.lose, of=shown)
        )
        require_own_output(plan, identity)
        claim(plan.folder, identity, None, REMEDIES, SETTING)
        self._forget_removed_table()
        if not shard.is_whole and not is_whole(plan):
            join_shards(plan.folder, shard, plan.model.numbers)

    def _forget_removed_table(self) -> None:
        """Take back that a table is whole which is there no more; not while a shard writes it."""
        plan = self.plan
        if not (plan.folder / DONE).exists():
            return
        with (
            suppress(InUseError),
            hold_lease(plan.folder, _WORK, name=_TABLE_LEASE, of=Path(plan.job.output)),
        ):
            if not is_whole(plan):
                (plan.folder / DONE).unlink(missing_ok=True)

    def _predict(self, identity: dict[str, Any], ranks: Ranks) -> Predicted:
        """Answer this process's windows; the first process then writes the table."""
        here, shard = launch(), self.plan.job.shard
        ranks.gather("ready")  # nobody writes before
        with self._recorded(identity) if here.is_main and not shard.index else nullcontext():
            WindowAsker(self.plan, ranks, self.progress, self.say).answer_all()
            ranks.gather("answered")
            whole = Predicted(self.plan.job.output, self.plan.rule)
            predicted = self._finish(ranks) if here.is_main else whole
        ranks.follow("finished")
        if shard.count == 1 and not is_whole(self.plan):  # the first process was stopped
            raise StopRequested
        return predicted

    def _finish(self, ranks: Ranks) -> Predicted:
        """Write the table, unless another shard has posts left to answer, or wrote it."""
        plan = self.plan
        if is_whole(plan):  # another shard wrote it meanwhile
            return self._found()
        if plan.job.shard.count > 1 and (missing := self._missing()):
            asked = plan.model.answering(plan.folder)
            return Predicted(
                plan.job.output,
                plan.rule,
                missing=missing,
                had_rows=self._own_rows > 0,
                answering=asked,
            )
        while True:
            try:
                with hold_lease(plan.folder, _WORK, name=_TABLE_LEASE, of=Path(plan.job.output)):
                    if is_whole(plan):
                        return self._found()
                    return self._write_table(ranks)
            except InUseError:  # another shard was done at the same time, and may yet be killed
                ranks.check_stop()
                time.sleep(POLL_S)

    def _missing(self) -> int:
        missing = 0
        for number, window in self.plan.windows():
            known = known_answers(self.plan.folder, number)
            missing += sum(p.text is not None and p.number not in known for p in window)
        return missing

    def _write_table(self, ranks: Ranks) -> Predicted:
        plan, columns = self.plan, self.plan.columns
        shares, written = CalledShares(plan.job.by), plan.folder / Path(plan.job.output).name
        for left in plan.folder.glob(f".{written.name}.????????"):
            left.unlink(missing_ok=True)  # of a process that was killed while it wrote
        kinds: dict[str, str | set[str]] = {**plan.found.columns, **columns.kinds}
        with new_table(written, plan.layout, kinds) as write:
            for number, window in plan.windows():
                ranks.check_stop()
                answers = self._answers(number, window)
                rows = [
                    {**post.values, **cells}
                    for post, cells in zip(window, columns.cells(answers), strict=True)
                ]
                shares.add_all(rows, columns.label_column, columns.reason_column)
                write(rows)
        ranks.check_stop()
        put_table(plan, written)
        record_answering(plan.folder, plan.job.shard.count)
        remove_shard_files(plan.folder)
        asked = plan.model.answering(plan.folder)
        said = {} if asked is None else {"answering": asked}
        update_manifest(plan.folder, called=shares.facts(plan.rule.rates), **said)
        return Predicted(plan.job.output, plan.rule, shares, answering=asked)

    def _answers(self, number: int, window: Sequence[InputPost]) -> list[PostAnswer]:
        known = known_answers(self.plan.folder, number)
        try:
            return [
                PostAnswer(row=post.number, reason=post.reason)
                if post.text is None
                else known[post.number]
                for post in window
            ]
        except KeyError as missing:
            raise EvaluationError(
                f"{self.plan.folder}: row {missing} has no answer; run the same command again."
            ) from None

    def _found(self) -> Predicted:
        """Return what an earlier start finished; only the first process reads the table."""
        plan, shares = self.plan, None
        if launch().is_main:
            require_unchanged(plan)
            shares = shares_of_table(plan)
        asked = plan.model.answering(plan.folder)
        return Predicted(plan.job.output, plan.rule, shares, skipped=True, answering=asked)

    def _stopped(self, spent: str) -> Stopped:
        answered = answered_posts(self.plan.folder)
        return Stopped(stopped_said(answered, self.plan.found.posts, "posts", spent))

    def _recorded(self, identity: dict[str, Any]) -> AbstractContextManager[None]:
        plan, here, model = self.plan, launch(), self.plan.model
        save_contract(plan.folder, model.contract)
        return recorded(
            plan.folder,
            "predict",
            model.config,
            gpus=model.gpus * here.world_size,
            since=time.monotonic(),
            data={name: identity[name] for name in ("data_file", "data_sha256")}
            | {"rows": plan.found.rows, "posts": plan.found.posts},
            processes=here.world_size,
            threshold={"value": plan.rule.threshold, "said": plan.rule.said},
            **model.facts(),
        )
