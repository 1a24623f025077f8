"""An evaluation that a server answers: hsd asks with its own prompt and reads the replies."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.run_record import recorded
from hsd.errors import EvaluationError, ModelError, Stopped
from hsd.evaluation.evaluation_run import Evaluated
from hsd.evaluation.served_counts import Noted, spent_said, stopped_said, unscored_said
from hsd.evaluation.served_plan import ServedPlan, plan_served, plan_served_sets
from hsd.evaluation.served_replies import (
    KEPT,
    ServedAnswer,
    after_a_reply,
    answer_of,
    replies,
    require_scores,
    server_of,
)
from hsd.evaluation.shards import done_before, merged_shards, part
from hsd.example import Example
from hsd.inference.chat_answer import ChatReply
from hsd.inference.chat_server import ChatServer
from hsd.inference.server_use import ServerUse
from hsd.io.dated_folder import existing_run, new_folder
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE, manifest_of, update_manifest
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.run_identity import claim
from hsd.io.stopping import StopRequest, stop_request
from hsd.prediction import Prediction, prediction_of
from hsd.prompts.contract import save_contract
from hsd.report.context import ReportContext
from hsd.report.finish_evaluation import finish_evaluation
from hsd.report.predictions import append_predictions, finished_predictions

_WORK = "hsd evaluate"
_NOTE = "hsd did not train the model of a server, so its training posts are not known"


def evaluate_served_sets(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> list[Evaluated]:
    """Evaluate several sets one after another, each in a folder of its own in `output_dir`.

    All are read before any is asked about, and paid for.
    """
    plans = plan_served_sets(configs, data_dir)
    return [_evaluate(plan, progress, None, say) for plan in plans]


def evaluate_served(
    config: EvalConfig,
    progress: Progress = silent,
    data_dir: Path | None = None,
    server: ChatServer | None = None,
    say: Say = unsaid,
) -> Evaluated:
    """Evaluate what a server answers, or go on with it.

    A row that was answered is never asked again. Raises Stopped when a signal ended it, ModelError
    where the server refuses, and EvaluationError where it stays busy: the replies are kept.
    """
    return _evaluate(plan_served(config, data_dir), progress, server, say)


def _evaluate(
    plan: ServedPlan, progress: Progress, server: ChatServer | None, say: Say
) -> Evaluated:
    since, config = time.monotonic(), plan.config
    identity, output = plan.identity(), config.output_dir
    if (folder := existing_run(output, identity)) and (folder / DONE).exists():
        return Evaluated(folder, finished_predictions(folder), skipped=True)
    server = server or server_of(plan, say)
    with closing(server.client):
        use = ServerUse(config.server)
        use.count(require_scores(plan, server))
        return _evaluated(plan, identity, server, use, progress, since)


def _evaluated(
    plan: ServedPlan,
    identity: dict[str, Any],
    server: ChatServer,
    use: ServerUse,
    progress: Progress,
    since: float,
) -> Evaluated:
    """Ask about what is left and write the report, once nobody else is at it."""
    output = plan.config.output_dir
    with stop_request() as request, hold_lease(output, _WORK, lost=request.lose):
        folder = existing_run(output, identity) or new_folder(output)
        claim(folder, identity)
        if not (folder / DONE).exists():
            save_contract(folder, plan.contract)
            facts = plan.facts(identity)
            with recorded(folder, "evaluate", plan.config, gpus=0, since=since, **facts):
                use.before = manifest_of(folder).get("answering") or {}
                _ask_all(plan, server, use, folder, progress, request)
                _finish(folder, plan)
    return Evaluated(folder, finished_predictions(folder))


def _ask_all(
    plan: ServedPlan,
    server: ChatServer,
    use: ServerUse,
    folder: Path,
    progress: Progress,
    request: StopRequest,
) -> None:
    """Ask about every post that is not answered; each reply is on disk as soon as it comes."""
    known = done_before(folder)
    left = [example for example in plan.examples if example.id not in known]
    done, file, what = 0, part(folder, 0), f"{plan.config.data_file} rows"
    server.has_replied = any(one.reply or one.outcome != "invalid" for one in known.values())
    noted = Noted(use, server, lambda counts: update_manifest(folder, answering=counts))
    progress(0, len(left), what)
    try:
        with noted.at_the_end():
            texts = [example.text for example in left]
            found = replies(plan, server, use, texts, lambda: request.asked)
            for at, reply in after_a_reply(found, server, len(left)):
                answer = answer_of(plan, reply)
                append_predictions(file, [_prediction(plan, left[at], reply, answer)])
                noted.row(answer.reason)
                done += 1
                progress(done, len(left), what)
    except (EvaluationError, ModelError) as error:
        if known or done:
            raise type(error)(f"{error} {KEPT}") from None
        raise
    if done < len(left):
        raise Stopped(stopped_said(len(known) + done, len(plan.examples), "rows", spent_said(use)))


def _prediction(
    plan: ServedPlan, example: Example, reply: ChatReply, answer: ServedAnswer
) -> Prediction:
    return prediction_of(
        example,
        strategy=plan.contract.strategy_name,
        label=answer.read.label,
        outcome=answer.read.outcome,
        reply=reply.text,
        rationale=answer.read.rationale,
        score=answer.score,
        response_time=round(reply.seconds, 4),
        truncated_post=None,  # the server knows
    )


def _finish(folder: Path, plan: ServedPlan) -> None:
    predictions = merged_shards(folder, [example.id for example in plan.examples])
    answering = manifest_of(folder).get("answering") or {}
    update_manifest(folder, notes=[*plan.notes, *unscored_said(answering)])
    finish_evaluation(folder, predictions, ReportContext(training_note=_NOTE, groups=plan.groups))
