"""What a server replies to posts: so many requests at a time, and each reply as it comes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any

from hsd.counted import counted
from hsd.errors import ConfigError, ModelError, Stopped
from hsd.evaluation.prompt_choice import PROBE
from hsd.evaluation.served_plan import ServedPlan
from hsd.hub.token import token_in
from hsd.inference.chat_answer import ChatReply
from hsd.inference.chat_server import ChatServer
from hsd.inference.label_logprobs import label_score
from hsd.inference.server_use import ServerUse
from hsd.io.progress import Say, unsaid
from hsd.prediction import label_of
from hsd.prompts.answers import ParsedReply, read_reply
from hsd.prompts.chat import chat_messages

TOO_LONG = "the post is too long for the server"
KEPT = "The replies so far are kept; run the same command again to go on."
_NOTICED_S = 0.1
"""How often a stop is looked for while no reply comes."""


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """What a reply says; `score` in score mode alone, and `reason` where there is none."""

    read: ParsedReply
    score: float | None = None
    reason: str = ""


def server_of(plan: ServedPlan, say: Say = unsaid) -> ChatServer:
    """Return the server of a plan with its token. Raises DataError for a file that is not there."""
    config = plan.config
    file = config.server.token_file
    token = token_in(file, "--token-file") if file else None
    rationale = plan.contract.strategy.parameters.rationale
    return ChatServer(config.server, config.model.name, token, rationale, say=say)


def request_settings(plan: ServedPlan) -> dict[str, Any]:
    """Return what each request asks for beside the model, the messages and the form."""
    settings = {
        "max_tokens": plan.reply_length,
        "temperature": plan.config.temperature,
        "seed": plan.config.seed,
    }
    if plan.config.mode == "score":
        settings |= {"logprobs": True, "top_logprobs": plan.config.server.top_logprobs}
    return settings


def require_scores(plan: ServedPlan, server: ChatServer) -> ChatReply | None:
    """Ask about one mild post where labels are to be scored, and return the reply to it.

    Raises ConfigError where the reply has no log-probabilities that can be read.
    """
    if plan.config.mode != "score":
        return None
    messages = chat_messages(plan.contract.strategy, PROBE)
    reply = server.ask(messages, **request_settings(plan))
    server.has_replied = False  # a post may be longer
    if problem := _unscored(reply):
        raise ConfigError(
            f"mode: {plan.config.server.base_url}: {problem}, so nothing can be scored; "
            f"{_way_out(plan, reply)}leave --mode score out."
        )
    return reply


def _unscored(reply: ChatReply) -> str:
    """Return why a reply's log-probabilities give no score, or "" where it is the reply's fault."""
    if not reply.tokens:
        return "the server sent no log-probabilities"
    has_label = read_reply(reply.text, cut_off=reply.cut_off).label is not None
    if not reply.text or (_is_spelled(reply) and not has_label):
        return ""
    return label_score(reply.text, reply.tokens).reason


def _is_spelled(reply: ChatReply) -> bool:
    return reply.text.encode() in b"".join(token.text for token in reply.tokens)


def _way_out(plan: ServedPlan, reply: ChatReply) -> str:
    """Return what to set where a label is not among the likeliest tokens; else ""."""
    if not (reply.tokens and _is_spelled(reply)):
        return ""
    asked = plan.config.server.top_logprobs
    return f"raise server.top_logprobs (it is {asked}), if the server can send more tokens, or "


def answer_of(plan: ServedPlan, reply: ChatReply) -> ServedAnswer:
    """Return what a reply says. In score mode a reply without a score holds no label either."""
    if reply.is_too_long:
        return ServedAnswer(ParsedReply("invalid"), reason=TOO_LONG)
    refused = ParsedReply("refusal") if reply.is_refusal else None
    read = refused or read_reply(reply.text, cut_off=reply.cut_off)
    if plan.config.mode != "score" or read.label is None:
        return ServedAnswer(read)
    found = label_score(reply.text, reply.tokens)
    if found.score is None:
        return ServedAnswer(ParsedReply("invalid"), reason=f"no score: {found.reason}")
    return ServedAnswer(replace(read, label=label_of(found.score)), found.score)


def replies(
    plan: ServedPlan,
    server: ChatServer,
    use: ServerUse,
    posts: Sequence[str],
    is_over: Callable[[], bool],
) -> Iterator[tuple[int, ChatReply]]:
    """Yield the place of each post and the reply to it, as replies come.

    After a stop, a failure or the last money no further one is asked for, and those on their way
    are still kept. Raises as `ChatServer.ask`, but not Stopped.
    """
    ended = server.ended
    ended.clear()

    def ask(post: str) -> ChatReply | None:
        try:
            return None if ended.is_set() else _ask(plan, server, use, post)
        except Stopped:  # while it waited to ask again
            return None
        except BaseException:
            ended.set()
            raise

    failure: BaseException | None = None
    finished: SimpleQueue[Future[ChatReply | None]] = SimpleQueue()
    with ThreadPoolExecutor(plan.config.server.concurrency) as pool:
        asked = {pool.submit(ask, post): at for at, post in enumerate(posts)}
        for future in asked:
            future.add_done_callback(finished.put)
        try:
            for _ in asked:
                future = _next_finished(finished, is_over, server)
                failure = failure or future.exception()
                if not future.exception() and (reply := future.result()):
                    yield asked[future], reply
        finally:
            ended.set()
    if failure:
        raise failure


def after_a_reply(
    found: Iterable[tuple[int, ChatReply]], server: ChatServer, posts: int
) -> Iterator[tuple[int, ChatReply]]:
    """Yield replies as they come, but that posts are too long only once any post had a reply.

    Until then the server may be set up wrongly, and what is kept is never asked again. Raises
    ModelError where all posts are too long.
    """
    held: list[tuple[int, ChatReply]] = []
    for place in found:
        held.append(place)
        if server.has_replied:
            yield from held
            held.clear()
    if posts and len(held) == posts:
        raise ModelError(
            f"{server.config.base_url}: the server calls each prompt too long, of "
            f"{counted(posts, 'post')}; start the server with a longer context, such as vllm serve "
            "--max-model-len 8192."
        )


def _ask(plan: ServedPlan, server: ChatServer, use: ServerUse, post: str) -> ChatReply | None:
    """Ask about a post, unless that may cost too much; then nothing more is asked."""
    messages = chat_messages(plan.contract.strategy, post)
    most = use.most("".join(message["content"] for message in messages), plan.reply_length)
    if not use.reserve(most):
        server.ended.set()
        return None
    reply = None
    try:
        reply = server.ask(messages, **request_settings(plan))
    finally:
        use.count(reply, most)
    return reply


def _next_finished(
    finished: SimpleQueue[Future[ChatReply | None]],
    is_over: Callable[[], bool],
    server: ChatServer,
) -> Future[ChatReply | None]:
    """Return what finishes next. A stop meanwhile ends the server's waits.

    A signal's handler may not set an event: it would wait for the lock that it interrupted.
    """
    while True:
        if is_over():
            server.ended.set()
        try:
            return finished.get(timeout=_NOTICED_S)
        except Empty:
            continue
