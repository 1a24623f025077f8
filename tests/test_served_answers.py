"""What a chat server's answers say, whether they are replies at all, and when waiting ends."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import chat_service
import httpx2
import pytest
from chat_service import Asked, Scripted, config, honest, served

from hsd.config.loading import load_eval_config
from hsd.errors import EvaluationError, ModelError, Stopped
from hsd.evaluation.served_plan import plan_served
from hsd.evaluation.served_replies import server_of
from hsd.evaluation.served_run import evaluate_served
from hsd.inference.chat_server import ChatServer
from hsd.prompts.chat import Message
from hsd.report.predictions import load_run
from hsd.report.report_file import read_report

asked = chat_service.asked
ONE = {"concurrency": 1}
ANSWER, NORMAL = '{"classification": "hate"}', '{"classification": "normal"}'
QUESTION: list[Message] = [{"role": "user", "content": "post"}]


def choice(finish: str | None = "stop", **said: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", **said}, "finish_reason": finish}]}


def failed(finish: str, **message: Any) -> dict[str, Any]:
    broken = choice(finish, **message)
    broken["choices"][0]["error"] = {"code": 502, "message": "invented"}
    return broken


AGAIN: dict[str, Scripted] = {
    "a choice with an error": (200, {}, failed("error", content="")),
    "an error beside half a reply": (200, {}, failed("stop", content='{"classification": "')),
    "a choice that ended in an error": (200, {}, choice("error", content="")),
    "an error beside the choices": (200, {}, {"error": {"code": 502}, **choice(content=ANSWER)}),
    "an error in the place of choices": (200, {}, {"error": "overloaded"}),
    "no content and no reason": (200, {}, choice(None, content=None)),
    "a page": (200, {}, "<html>one moment</html>"),
    "half an answer": (200, {}, '{"choices": [{"mess'),
    "an answer without end": (200, {}, "[" * 100_000),
    "status 500": (500, {}, {}),
    "status 520": (520, {}, "<html>"),
    "status 524": (524, {}, "<html>"),
    "status 529": (529, {}, {"error": {"type": "overloaded_error"}}),
    "bad gzip": (200, {"Content-Encoding": "gzip"}, "this is no gzip"),
    "a cut connection": None,
    "an answer that is cut while it is read": (200, {"Transfer-Encoding": "chunked"}, "fff\r\n{"),
}


@pytest.fixture
def server(asked: Asked) -> Iterator[ChatServer]:
    """Give a client that repeats a question once."""
    address = load_eval_config(server={"base_url": asked.url, "retries": 1}).server
    with httpx2.Client() as client:
        yield ChatServer(address, "m", client=client)


@pytest.mark.parametrize("answer", AGAIN.values(), ids=AGAIN.keys())
def test_an_answer_that_is_no_reply_is_asked_for_again_and_then_ends_the_run(
    asked: Asked, server: ChatServer, answer: Scripted
) -> None:
    assert server.ask(QUESTION).text == NORMAL
    asked.script, waits = [answer], list[float]()
    server.sleep = waits.append
    assert server.ask(QUESTION).text == NORMAL
    assert waits == [1.0]
    asked.script = [answer] * 2
    with pytest.raises(EvaluationError, match="no reply in 2 requests") as error:
        server.ask(QUESTION)
    assert waits == [1.0, 1.0]
    assert "\n" not in str(error.value)


def test_a_page_as_the_first_answer_of_a_server_is_a_wrong_address(
    asked: Asked, server: ChatServer
) -> None:
    asked.answer = lambda _: (200, {}, f"<html>\n<title>\x1b[2J Wiki</title>{'long ' * 50}")
    with pytest.raises(ModelError) as refused:
        server.ask(QUESTION)
    assert len(asked.requests) == 1
    begins = f"<html> <title>\\u001b[2J Wiki</title>{'long ' * 50}"[:60]
    assert str(refused.value) == (
        f'{asked.url}: an answer that is not JSON, which begins "{begins}..."; is this the address '
        "of an OpenAI-compatible server, such as http://localhost:8000/v1?"
    )


REFUSALS: dict[str, tuple[Scripted, str]] = {
    "a refusal": ((200, {}, choice(content=None, refusal="I would rather not.")),
                  "I would rather not."),
    "a refusal as a part": (
        (200, {}, choice(content=[{"type": "refusal", "refusal": "Rather not."}])), "Rather not."),
    "a filtered reply": ((200, {}, choice("content_filter", content="")), ""),
    "a filtered reply without content": ((200, {}, choice("content_filter")), ""),
    "a filter's code": ((400, {}, {"error": {"code": "content_filter"}}), ""),
    "a filter's type": ((400, {}, {"error": {"type": "content_policy_violation"}}), ""),
}  # fmt: skip


def test_refusals_are_kept_as_such_and_asked_for_once(asked: Asked) -> None:
    asked.script = [answer for answer, _ in REFUSALS.values()]
    found = load_run(served(asked, server=ONE)).predictions
    said = [(p.outcome, p.label, p.reply) for p in found]
    assert said == [("refusal", None, text) for _, text in REFUSALS.values()]
    assert len(asked.requests) == len(REFUSALS)


def test_a_reply_in_parts_is_the_text_of_its_parts(asked: Asked) -> None:
    thought = {"type": "thinking", "thinking": "hm", "text": "hm"}
    parts = [thought, *({"type": "text", "text": half} for half in (ANSWER[:9], ANSWER[9:]))]
    asked.script = [(200, {}, choice(content=parts))]
    first = load_run(served(asked, server=ONE)).predictions[0]
    assert (first.outcome, first.label, first.reply) == ("valid", "hate", ANSWER)


def test_half_a_character_and_strange_counts_are_no_reason_to_end(asked: Asked) -> None:
    strange = json.dumps({**choice(content="\ud800"), "usage": ["many"]})
    asked.script = [(200, {}, strange), (200, {}, choice("length", content=None))]
    first, second, *_ = load_run(served(asked, server=ONE)).predictions
    assert (first.reply, first.outcome) == ("?", "invalid")
    assert (second.reply, second.outcome) == ("", "truncated")


TOO_LONG: Any = (400, {}, {"error": {"code": "context_length_exceeded"}})


@pytest.mark.parametrize("rows", [4, 6])
def test_a_run_whose_posts_are_all_too_long_keeps_none_of_them(asked: Asked, rows: int) -> None:
    for _ in range(2):
        asked.answer = lambda _: TOO_LONG
        with pytest.raises(ModelError, match="too long|refuses the request") as error:
            served(asked, server=ONE, max_samples=rows)
        assert "kept" not in str(error.value)
    asked.answer = honest
    found = load_run(served(asked, server=ONE, max_samples=rows)).predictions
    assert [p.outcome for p in found] == ["valid"] * rows


def test_a_post_that_is_too_long_before_any_reply_is_kept_once_one_comes(asked: Asked) -> None:
    asked.script = [TOO_LONG, TOO_LONG]
    found = load_run(served(asked, server=ONE)).predictions
    assert [p.outcome for p in found] == ["invalid"] * 2 + ["valid"] * 4
    assert len(asked.requests) == 6


def test_nobody_knows_whether_a_server_cut_posts(asked: Asked) -> None:
    folder = served(asked)
    (text,) = folder.glob("evaluation_report_*.txt")
    assert read_report(folder).truncated_posts is None
    (line,) = [line for line in text.read_text().splitlines() if "posts cut to fit" in line]
    assert line.split()[-1] == "unknown"


def stoppable(asked: Asked, **server: Any) -> tuple[Any, ChatServer]:
    wanted = config(asked, server={**ONE, **server})
    return wanted, server_of(plan_served(wanted))


def test_a_stop_ends_a_wait_at_once_and_starts_no_further_row(asked: Asked) -> None:
    wanted, server = stoppable(asked)

    def busy(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return 503, {"Retry-After": "60"}, {}

    asked.script = [honest, busy]
    started = server.clock()
    with server.client, pytest.raises(Stopped, match="answered 1 of 6 rows"):
        evaluate_served(wanted, server=server)
    assert len(asked.requests) == 2
    assert server.clock() - started < 60  # it would have waited so long
    assert len(load_run(served(asked)).predictions) == 6


def test_after_a_stop_a_reply_on_its_way_is_kept_and_no_row_is_started(asked: Asked) -> None:
    wanted, server = stoppable(asked)

    def late(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        assert server.ended.wait(30)  # the stop is noticed while this row is on its way
        return honest(request)

    asked.script = [late]
    with server.client, pytest.raises(Stopped, match="answered 1 of 6 rows"):
        evaluate_served(wanted, server=server)
    assert len(asked.requests) == 1


def test_a_failure_ends_the_waits_of_other_rows(asked: Asked) -> None:
    wanted, server = stoppable(asked, concurrency=2)
    both = threading.Barrier(2)

    def busy(_: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        both.wait(30)
        return 503, {"Retry-After": "60"}, {}

    def quota(_: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        both.wait(30)
        return 429, {"Retry-After": "86400"}, {}

    asked.script = [busy, quota]
    with server.client, pytest.raises(EvaluationError, match="asks to wait 86,400 s"):
        evaluate_served(wanted, server=server)
    assert len(asked.requests) == 2


def test_the_time_of_a_request_is_for_all_that_is_read() -> None:
    now, waits = [0.0], list[float]()

    class SignsOfLife(httpx2.SyncByteStream):
        """A blank line every 50 seconds, and no end."""

        def __iter__(self) -> Iterator[bytes]:
            for _ in range(100):
                now[0] += 50.0
                yield b"\n"

    answers = [httpx2.Response(200, stream=SignsOfLife()),
               httpx2.Response(200, json=choice(content=ANSWER))]  # fmt: skip
    base = load_eval_config(server={"base_url": "http://localhost/v1", "timeout_s": 120.0}).server
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: answers.pop(0))) as client:
        server = ChatServer(base, "m", sleep=waits.append, clock=lambda: now[0], client=client)
        assert server.ask(QUESTION).text == ANSWER
    assert now == [150.0]
    assert waits == [1.0]
