"""An evaluation that a server answers: hsd asks with its own prompt and reads the replies."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.run_record import recorded
from hsd.errors import EvaluationError, ModelError, Stopped
from hsd.evaluation.evaluation_plan import reply_length
from hsd.evaluation.evaluation_run import Evaluated
from hsd.evaluation.served_plan import ServedPlan, plan_served
from hsd.evaluation.shards import done_before, merged_shards, part
from hsd.example import Example
from hsd.hub.token import token_in
from hsd.inference.chat_answer import ChatReply
from hsd.inference.chat_server import ChatServer
from hsd.io.dated_folder import existing_run, new_folder
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE, manifest_of, update_manifest
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.run_identity import claim, set_name
from hsd.io.stopping import StopRequest, stop_request
from hsd.prediction import Prediction, prediction_of
from hsd.prompts.answers import ParsedReply, read_reply
from hsd.prompts.chat import chat_messages
from hsd.prompts.contract import save_contract
from hsd.report.context import ReportContext
from hsd.report.finish_evaluation import finish_evaluation
from hsd.report.predictions import (
    append_predictions,
    finished_predictions,
)

_WORK = "hsd evaluate"
_KEPT = "The replies so far are kept; run the same command again to go on."
_NOTICED_S = 0.1
"""How often a stop is looked for while no reply comes."""
_NOTE = "hsd did not train the model of a server, so its training posts are not known"


def evaluate_served_sets(
    configs: Sequence[EvalConfig],
    progress: Progress = silent,
    data_dir: Path | None = None,
    say: Say = unsaid,
) -> list[Evaluated]:
    """Evaluate several sets one after another, each in a folder of its own in `output_dir`."""
    if len(configs) == 1:
        return [evaluate_served(configs[0], progress, data_dir, say=say)]
    own = [
        one.model_copy(update={"output_dir": one.output_dir / set_name(one.data_file)})
        for one in configs
    ]
    return [evaluate_served(one, progress, data_dir, say=say) for one in own]


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
    since = time.monotonic()
    plan = plan_served(config, data_dir)
    identity, output = plan.identity(), config.output_dir
    if (folder := existing_run(output, identity)) and (folder / DONE).exists():
        return Evaluated(folder, finished_predictions(folder), skipped=True)
    server = server or server_of(plan, say)
    with stop_request() as request, hold_lease(output, _WORK, lost=request.lose):
        folder = existing_run(output, identity) or new_folder(output)
        claim(folder, identity)
        if not (folder / DONE).exists():
            save_contract(folder, plan.contract)
            facts = plan.facts(identity)
            with recorded(folder, "evaluate", config, gpus=0, since=since, **facts):
                _ask_all(plan, server, folder, progress, request)
                _finish(folder, plan)
    return Evaluated(folder, finished_predictions(folder))


def server_of(plan: ServedPlan, say: Say = unsaid) -> ChatServer:
    """Return the server of a plan with its token. Raises DataError for a file that is not there."""
    config = plan.config
    file = config.server.token_file
    token = token_in(file, "--token-file") if file else None
    rationale = plan.contract.strategy.parameters.rationale
    return ChatServer(config.server, config.model.name, token, rationale, say=say)


def request_settings(plan: ServedPlan) -> dict[str, Any]:
    """Return what each request asks for beside the model, the messages and the form."""
    return {
        "max_tokens": reply_length(plan.asked, plan.contract),
        "temperature": plan.config.temperature,
        "seed": plan.config.seed,
    }


def _ask_all(
    plan: ServedPlan,
    server: ChatServer,
    folder: Path,
    progress: Progress,
    request: StopRequest,
) -> None:
    """Ask about every post that is not answered; each reply is on disk as soon as it comes."""
    known = done_before(folder)
    left = [example for example in plan.examples if example.id not in known]
    started, done, file = server.clock(), 0, part(folder, 0)
    used = {"requests": 0, "repeated": 0, "prompt_tokens": 0, "reply_tokens": 0, "seconds": 0.0}
    progress(0, len(left), f"{plan.config.data_file} rows")
    try:
        for example, reply in _replies(plan, server, left, request):
            append_predictions(file, [_prediction(plan, example, reply)])
            done += 1
            used["prompt_tokens"] += reply.prompt_tokens
            used["reply_tokens"] += reply.reply_tokens
            progress(done, len(left), f"{plan.config.data_file} rows")
    except (EvaluationError, ModelError) as error:
        if known or done:
            raise type(error)(f"{error} {_KEPT}") from None
        raise
    finally:
        used |= {"requests": server.sent, "repeated": server.repeated}
        used["seconds"] = round(server.clock() - started, 3)
        _note_answering(folder, used, server.not_sent)
    if done < len(left):
        answered = len(known) + done
        raise Stopped(
            f"answered {answered} of {len(plan.examples)} rows; run the same command again to go "
            "on."
        )


def _note_answering(folder: Path, used: Mapping[str, float], not_sent: Sequence[str]) -> None:
    """Add to what earlier starts have used, and to what the server did not take."""
    before = manifest_of(folder).get("answering") or {}
    counts = {name: before.get(name, 0) + value for name, value in used.items()}
    refused = sorted({*before.get("not_sent", ()), *not_sent})
    update_manifest(folder, answering={**counts, **({"not_sent": refused} if refused else {})})


def _replies(
    plan: ServedPlan, server: ChatServer, left: Sequence[Example], request: StopRequest
) -> Iterator[tuple[Example, ChatReply]]:
    """Yield replies as they come, so many at a time.

    After a stop or a failure no further one is asked for, and those on their way are still kept.
    """
    strategy, settings = plan.contract.strategy, request_settings(plan)
    ended = server.ended
    ended.clear()

    def ask(example: Example) -> ChatReply | None:
        if ended.is_set():
            return None
        try:
            return server.ask(chat_messages(strategy, example.text), **settings)
        except Stopped:  # while it waited to ask again
            return None
        except BaseException:
            ended.set()
            raise

    failure: BaseException | None = None
    finished: SimpleQueue[Future[ChatReply | None]] = SimpleQueue()
    with ThreadPoolExecutor(plan.config.server.concurrency) as pool:
        asked = {pool.submit(ask, example): example for example in left}
        for future in asked:
            future.add_done_callback(finished.put)
        try:
            for _ in asked:
                future = _next_finished(finished, request, server)
                failure = failure or future.exception()
                if not future.exception() and (reply := future.result()):
                    yield asked[future], reply
        finally:
            ended.set()
    if failure:
        raise failure


def _next_finished(
    finished: SimpleQueue[Future[ChatReply | None]], request: StopRequest, server: ChatServer
) -> Future[ChatReply | None]:
    """Return what finishes next. A stop meanwhile ends the server's waits.

    A signal's handler may not set an event: it would wait for the lock that it interrupted.
    """
    while True:
        if request.asked:
            server.ended.set()
        try:
            return finished.get(timeout=_NOTICED_S)
        except Empty:
            continue


def _prediction(plan: ServedPlan, example: Example, reply: ChatReply) -> Prediction:
    refused = ParsedReply("refusal") if reply.is_refusal else None
    read = refused or read_reply(reply.text, cut_off=reply.cut_off)
    return prediction_of(
        example,
        strategy=plan.contract.strategy_name,
        label=read.label,
        outcome=read.outcome,
        reply=reply.text,
        rationale=read.rationale,
        response_time=round(reply.seconds, 4),
        truncated_post=None,  # the server knows
    )


def _finish(folder: Path, plan: ServedPlan) -> None:
    predictions = merged_shards(folder, [example.id for example in plan.examples])
    finish_evaluation(folder, predictions, ReportContext(training_note=_NOTE, groups=plan.groups))
