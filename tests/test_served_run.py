"""An OpenAI-compatible server on loopback answers in the place of a model, and misbehaves."""

import threading
from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, completion, config, honest, posts, served
from click.testing import CliRunner

from hsd.config.loading import load_eval_config
from hsd.errors import ConfigError, EvaluationError, ModelError
from hsd.evaluation.served_plan import plan_served
from hsd.evaluation.served_run import server_of
from hsd.inference.chat_server import ChatServer
from hsd.io.manifest import DONE, manifest_of
from hsd.report.predictions import load_run
from jobs.cli import hsd

TOKEN = "invented-token-of-the-test"
asked = chat_service.asked


def test_every_post_is_asked_once_with_hsds_prompt_and_a_schema(asked: Asked) -> None:
    folder = served(asked)
    run = load_run(folder)
    assert [p.label for p in run.predictions] == ["normal", "hate"] * 3
    assert {p.outcome for p in run.predictions} == {"valid"}
    assert len(asked.requests) == 6
    assert {request["model"] for request in asked.requests} == {"served"}
    form = asked.requests[0]["response_format"]["json_schema"]["schema"]
    assert form["properties"]["classification"]["enum"] == ["hate", "normal"]
    manifest = manifest_of(folder)
    assert manifest["engine"] == "openai"
    assert manifest["model"] == {"name": "served", "server": asked.url}
    used = manifest["answering"]
    assert (used["requests"], used["prompt_tokens"], used["reply_tokens"]) == (6, 180, 30)


def test_a_finished_run_asks_nothing(asked: Asked) -> None:
    folder = served(asked)
    assert served(asked) == folder
    assert len(asked.requests) == 6


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(asked: Asked) -> None:
    asked.script = [(429, {"Retry-After": "7"}, {}), (500, {}, {}), (503, {}, {})]
    waits: list[float] = []
    folder = served(asked, waits, server={"concurrency": 1})
    assert waits == [7.0, 2.0, 4.0]
    assert len(load_run(folder).predictions) == 6
    assert manifest_of(folder)["answering"]["repeated"] == 3


def test_a_wait_may_be_told_as_a_date(asked: Asked) -> None:
    from datetime import UTC, datetime

    asked.script = [(503, {"Retry-After": "Fri, 02 Jan 2026 12:00:30 GMT"}, {})]
    wanted, waits = config(asked), list[float]()
    server = server_of(plan_served(wanted))
    server.sleep, server.now = waits.append, lambda: datetime(2026, 1, 2, 12, tzinfo=UTC)
    with server.client:
        server.ask([{"role": "user", "content": "post"}])
    assert waits == [30.0]


def test_a_cut_connection_and_a_timeout_are_repeated(asked: Asked) -> None:
    release = threading.Event()

    def slow(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        release.wait(10)
        return honest(request)

    asked.script = [None, slow]
    waits: list[float] = []
    folder = served(asked, waits, server={"concurrency": 1, "timeout_s": 0.3})
    release.set()
    assert len(load_run(folder).predictions) == 6
    assert waits == [1.0, 2.0]


def test_what_was_answered_is_kept_and_never_asked_again(asked: Asked) -> None:
    asked.script = [honest, honest, *[(500, {}, {})] * 3]
    with pytest.raises(EvaluationError, match=r"no answer in 3 requests \(status 500\)"):
        served(asked, server={"concurrency": 1, "retries": 2})
    before = len(asked.requests)
    assert before == 5
    folder = served(asked)
    assert len(asked.requests) == before + 4
    assert len(load_run(folder).predictions) == 6
    assert manifest_of(folder)["answering"]["requests"] == before + 4


def test_a_server_that_asks_for_a_long_wait_ends_the_run(asked: Asked) -> None:
    asked.script = [(429, {"Retry-After": "86400"}, {})]
    with pytest.raises(EvaluationError, match="asks to wait 86,400 s"):
        served(asked, server={"concurrency": 1})


def test_a_server_without_schemas_is_asked_without(asked: Asked) -> None:
    def plain(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if "response_format" in request:
            return 400, {}, {"error": {"message": "response_format is not supported"}}
        return honest(request)

    asked.answer = plain
    served(asked, server={"concurrency": 1})
    assert len(asked.requests) == 7  # once with it, then never again


def test_replies_are_kept_as_they_are_and_read_as_ever(asked: Asked) -> None:
    replies = [completion("I'm sorry, I can't help."), completion('{"classif', "length")]
    asked.script = [(200, {}, reply) for reply in replies]
    run = load_run(served(asked, server={"concurrency": 1}))
    assert [p.outcome for p in run.predictions[:2]] == ["refusal", "truncated"]
    assert run.predictions[0].reply == "I'm sorry, I can't help."


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ((401, {}, {}), "refuses the token"),
        ((404, {}, {}), "does not know the model 'served'"),
        ((400, {}, {}), "refuses the request .400."),
        ((200, {}, {"models": []}), "no chat completion"),
        ((200, {}, {"choices": []}), "no chat completion"),
    ],
)
def test_what_no_repetition_mends_ends_the_run_at_once(
    asked: Asked, answer: tuple[int, dict[str, str], Any], word: str
) -> None:
    asked.script = [answer]
    waits: list[float] = []
    with pytest.raises(ModelError, match=word):
        served(asked, waits, server={"concurrency": 1})
    assert waits == []


def test_the_token_is_sent_and_stands_nowhere(asked: Asked) -> None:
    Path("token").write_text(f"{TOKEN}\n")
    folder = served(asked, server={"token_file": "token"})
    assert asked.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in repr(server_of(plan_served(config(asked, server={"token_file": "token"}))))
    written = [file for file in Path("runs").rglob("*") if file.is_file()]
    assert folder / DONE in written
    assert not [file for file in written if TOKEN in file.read_text("utf-8")]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mode": "score"}, "nothing can be scored"),
        ({"adapter": "runs/adapter"}, "leave --adapter out"),
        ({"server": {"base_url": "localhost:8000"}}, "begins with http"),
        ({"server": {"base_url": "http://[::1/v1"}}, "begins with http"),
        ({"server": {"base_url": "http://me:invented@localhost/v1"}}, "holds a secret"),
        (
            {"server": {"base_url": "http://localhost/v1?api-key=x"}},
            "no query .* --token-file FILE",
        ),
    ],
)
def test_what_a_server_cannot_do_is_refused_before_it_is_asked(
    asked: Asked, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        plan_served(config(asked, **options))
    assert asked.requests == []


def test_the_command_asks_a_server(asked: Asked) -> None:
    said = CliRunner().invoke(
        hsd,
        ["evaluate", "--engine", "openai", "--base-url", asked.url, "--model-name", "served",
         "--data-file", posts(), "--output-dir", "runs/served", "--prompt-template", "baseline",
         "--strategy", "standard"],
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "Written: runs/served/run_" in said.output
    assert len(asked.requests) == 6


def test_a_server_knows_its_address_and_no_token_by_itself() -> None:
    server = ChatServer(load_eval_config(server={"base_url": "http://localhost/v1"}).server, "m")
    with server.client:
        assert server.token is None
