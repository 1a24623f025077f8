"""What is said of a server that is busy, lost or unwilling, without a network."""

from typing import Any

import httpx2
import pytest
from completions import completion

from hsd.config.loading import load_eval_config
from hsd.errors import EvaluationError, ModelError
from hsd.inference.chat_server import ChatServer

TOKEN = "invented-token-of-the-test"
Step = Exception | httpx2.Response


def scripted(*steps: Step, **server: Any) -> tuple[ChatServer, list[str]]:
    """Give a server that answers step by step, the last one for ever, and what it says."""
    left = list(steps)

    def answer(_: httpx2.Request) -> httpx2.Response:
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, Exception):
            raise step
        return step

    said: list[str] = []
    fields = {"base_url": "http://localhost:8000/v1", **server}
    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    known = ChatServer(load_eval_config(server=fields).server, "m", TOKEN, client=client)
    known.sleep, known.clock, known.say = lambda _: None, lambda: 100.0, said.append
    return known, said


def refused(message: str, status: int = 400) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": message}})


MESSAGES = [{"role": "user", "content": "a private post"}]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            httpx2.ConnectError("[Errno 111] Connection refused"),
            "nothing listens at localhost:8000",
        ),
        (httpx2.ReadTimeout("timed out"), "no answer within 9 s"),
        (httpx2.ReadError(""), "the connection broke before the answer was whole"),
        (httpx2.Response(503), "the server said 503"),
        (refused("overloaded.", 500), "the server said 500: overloaded"),
    ],
)
def test_a_server_that_answered_once_is_asked_again_whatever_happens(
    step: Step, words: str
) -> None:
    server, said = scripted(
        httpx2.Response(200, json=completion("{}")), step, retries=1, timeout_s=9
    )
    with server.client, pytest.raises(EvaluationError) as failed:
        [server.ask(MESSAGES) for _ in range(2)]
    assert str(failed.value) == f"http://localhost:8000/v1: no reply in 2 requests: {words}."
    assert said == []  # a second is no pause that anybody wonders about


def test_one_try_is_said_in_good_grammar() -> None:
    server, _ = scripted(httpx2.Response(503), retries=0)
    with server.client, pytest.raises(EvaluationError, match="no reply in 1 request: "):
        server.ask(MESSAGES)


def test_a_long_pause_is_told_once_however_many_requests_wait() -> None:
    busy = httpx2.Response(429, headers={"Retry-After": "20"})
    server, said = scripted(busy, busy, httpx2.Response(200, json=completion("{}")))
    with server.client:
        server.ask(MESSAGES)
    assert said == ["the server said 429; next try in 20 s"]


def test_a_servers_own_words_are_short_visible_and_without_post_or_secret() -> None:
    words = f"no \x1b[2J{TOKEN} at hf_{'a1' * 15}\nof a private post {'long ' * 100}"
    server, _ = scripted(refused(words))
    with server.client, pytest.raises(ModelError) as failed:
        server.ask(MESSAGES)
    said = str(failed.value)
    assert "refuses the request (400: no \\u001b[2J*** at *** of *** long long" in said
    assert said.endswith("...).")
    assert len(said) < 300


@pytest.mark.parametrize(
    "answer",
    [{"error": "in short"}, {"message": "in short"}, {"detail": "in short"},
     {"detail": [{"loc": ["body"], "msg": "in short", "input": "a post"}]}, {"object": "error",
     "message": "in short"}],
)  # fmt: skip
def test_a_servers_words_are_found_in_each_form_of_an_error(answer: dict[str, Any]) -> None:
    server, _ = scripted(httpx2.Response(400, json=answer))
    with server.client, pytest.raises(ModelError, match=r"refuses the request .400: in short.\."):
        server.ask(MESSAGES)


def test_a_reply_length_that_is_too_large_is_not_left_out() -> None:
    words = "'max_tokens' is too large: 512. This model's maximum context length is 400 tokens."
    server, _ = scripted(refused(words))
    with server.client, pytest.raises(ModelError, match="refuses the request"):
        server.ask(MESSAGES, max_tokens=512)
    assert server.not_sent == []


def test_a_post_that_is_quoted_leaves_nothing_out() -> None:
    server, _ = scripted(refused("cannot read 'a seed of max_tokens'"))
    with server.client, pytest.raises(ModelError, match="refuses the request"):
        server.ask([{"role": "user", "content": "a seed of max_tokens"}], max_tokens=5, seed=1)
    assert server.not_sent == []


def test_a_server_knows_its_address_and_no_token_by_itself() -> None:
    server = ChatServer(load_eval_config(server={"base_url": "http://localhost/v1"}).server, "m")
    with server.client:
        assert server.token is None
