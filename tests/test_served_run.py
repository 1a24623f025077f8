"""An OpenAI-compatible server on loopback answers in the place of a model, and misbehaves."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, config, honest, posts, served
from click.testing import CliRunner
from completions import completion

from hsd.config.server_config import require_server_engine
from hsd.errors import ConfigError, EvaluationError, HsdError, ModelError
from hsd.evaluation.served_plan import plan_served
from hsd.evaluation.served_replies import server_of
from hsd.evaluation.served_run import evaluate_served, evaluate_served_sets
from hsd.io.manifest import DONE, manifest_of
from hsd.io.shard import Shard
from hsd.report.comparability import provenance_of
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


def test_a_set_that_is_not_there_is_told_before_any_is_asked_about(asked: Asked) -> None:
    first = config(asked)
    second = first.model_copy(update={"data_file": "none.jsonl"})
    with pytest.raises(HsdError, match=r"none\.jsonl"):
        evaluate_served_sets([first, second])
    assert asked.requests == []


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
    with pytest.raises(
        EvaluationError, match=r"no reply in 3 requests: the server said 500\. The replies .* kept"
    ):
        served(asked, server={"concurrency": 1, "retries": 2})
    before = len(asked.requests)
    assert before == 5
    folder = served(asked)
    assert len(asked.requests) == before + 4
    assert len(load_run(folder).predictions) == 6
    assert manifest_of(folder)["answering"]["requests"] == before + 4


def test_a_server_that_asks_for_a_long_wait_ends_the_run(asked: Asked) -> None:
    asked.script = [(429, {"Retry-After": "86400"}, {})]
    with pytest.raises(EvaluationError, match="asks to wait 86,400 s") as failed:
        served(asked, server={"concurrency": 1})
    assert "kept" not in str(failed.value)


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
        ((401, {}, {}), "wants a token .401.*such as --token-file"),
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
        ({"mode": "score", "temperature": 0.5}, "nothing is sampled where labels are scored"),
        ({"server": {"max_cost": 1.0}}, "--max-cost needs the prices"),
        ({"server": {"prompt_price": 1.0}}, "server.prompt_price needs server.reply_price too"),
        ({"adapter": "runs/adapter"}, "leave --adapter out"),
        ({"server": {"base_url": "localhost:8000"}}, "starts with http"),
        ({"server": {"base_url": "http:///v1"}}, "starts with http"),
        ({"server": {"base_url": "http://[::1/v1"}}, "starts with http"),
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


def test_the_public_evaluate_asks_the_server(asked: Asked) -> None:
    from hsd.evaluation.evaluate import evaluate, evaluate_with_base

    run = evaluate(config(asked))
    assert [p.label for p in run.predictions] == ["normal", "hate"] * 3
    assert len(asked.requests) == 6
    assert manifest_of(run.folder)["engine"] == "openai"
    with pytest.raises(ConfigError, match=r"shard 0-of-2: one server answers all rows"):
        evaluate(config(asked), shard=Shard(0, 2))
    with pytest.raises(ConfigError, match=r"no adapter to switch off.*hsd\.evaluate\(config\)"):
        evaluate_with_base(config(asked))
    assert len(asked.requests) == 6


def test_settings_of_a_server_that_is_not_asked_are_refused_and_defaults_are_none() -> None:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate
    from hsd.evaluation.vllm_limits import require_vllm_settings

    whole = EvalConfig().model_dump()
    require_vllm_settings(EvalConfig.model_validate(whole))
    require_server_engine(EvalConfig.model_validate(whole).server, "hsd")
    url = {"base_url": "http://localhost:1/v1"}
    with pytest.raises(ConfigError, match=r"^--base-url needs --engine openai"):
        evaluate(EvalConfig.model_validate(whole | {"server": url}))
    with pytest.raises(ConfigError, match=r"^vllm\.check needs --engine vllm"):
        evaluate(EvalConfig.model_validate(whole | {"vllm": {"check": "off"}}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--base-url", "http://localhost:1/v1"], "--base-url needs --engine openai."),
        (["--token-file", "token"], "--token-file needs --engine openai."),
        (["--concurrency", "2"], "--concurrency needs --engine openai."),
        (["--set", "server.retries=1"], "server.retries needs --engine openai."),
        (["--engine", "openai", "--base-url", ""],
         '--base-url: "" is not accepted (expected an address that starts with http:// or '
         "https://, such as http://localhost:8000/v1)."),
        (["--engine", "openai", "--base-url", "localhost:8000/v1"],
         '--base-url: "localhost:8000/v1" is not accepted (expected an address that starts with '
         "http:// or https://, such as http://localhost:8000/v1)."),
        (["--engine", "openai", "--concurrency", "0", "--base-url", "http://localhost:1/v1"],
         "--concurrency: 0 is not accepted (expected a whole number greater than 0)."),
        (["--engine", "openai"],
         "--engine openai needs the address of the server, such as --base-url "
         "http://localhost:8000/v1."),
        (["--engine", "openai", "--base-url", "http://localhost:1/v1", "--token-file", "none"],
         "--token-file: none cannot be read (No such file or directory)."),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_server_is_named_as_it_was_typed(options: list[str], said: str) -> None:
    given = ["evaluate", "--model-name", "m", "--data-file", posts(), *options]
    error = CliRunner().invoke(hsd, given).exception
    assert isinstance(error, HsdError)
    assert str(error) == said


def test_an_address_where_nothing_listens_ends_the_run_at_once(asked: Asked) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    waits: list[float] = []
    with pytest.raises(EvaluationError) as failed:
        served(asked, waits, server={"base_url": nowhere})
    assert str(failed.value) == (
        f"{nowhere}: nothing listens at {nowhere[7:-3]}; check that the server runs, and that "
        "--base-url names its host and port."
    )
    assert waits == []


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_an_unknown_model_is_told_with_the_models_that_there_are(asked: Asked) -> None:
    asked.listed = [f"model-{n}" for n in range(7)] + ["serves"]
    asked.script = [(404, {}, {"error": {"message": "no such model"}})]
    with pytest.raises(ModelError) as failed:
        served(asked, server={"concurrency": 1})
    assert str(failed.value) == (
        f"{asked.url}: the server does not know the model 'served' (404: no such model). Did you "
        "mean 'serves'? --model-name can be model-0, model-1, model-2, model-3, model-4 and 3 more."
    )


@pytest.mark.parametrize("name", ["max_tokens", "seed"])
def test_what_a_server_does_not_take_is_left_out_from_then_on(asked: Asked, name: str) -> None:
    def picky(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if name in request:
            said = f"Unsupported parameter: '{name}' is not supported with this model."
            return 400, {}, {"error": {"message": said, "param": name}}
        return honest(request)

    asked.answer = picky
    wanted, said = config(asked, server={"concurrency": 1}), list[str]()
    server = server_of(plan_served(wanted), said.append)
    with server.client:
        folder = evaluate_served(wanted, server=server).folder
    assert said == [f"The server does not take {name}, so hsd sends it no more."]
    assert len(asked.requests) == 7
    assert manifest_of(folder)["answering"]["not_sent"] == [name]
    assert provenance_of(folder)["not_sent"] == name


def test_a_connection_is_tested_with_the_server_itself(asked: Asked) -> None:
    asked.listed = ["served", "other"]
    flags = ["evaluate", "--engine", "openai", "--base-url", asked.url, "--test-connection",
             "--prompt-template", "baseline", "--strategy", "standard"]  # fmt: skip
    said = CliRunner().invoke(hsd, [*flags, "--model-name", "served"])
    assert said.exit_code == 0, said.output
    shown, _, reply = said.stdout.partition("Reply to a probe: ")
    facts = json.loads(shown)
    assert (facts["server"], facts["models"]) == (asked.url, ["served", "other"])
    assert (facts["label"], facts["outcome"]) == ("normal", "valid")
    assert json.loads(reply) == {"classification": "normal"}
    assert len(asked.requests) == 1
    assert not Path("runs").exists()


def test_a_test_of_a_connection_fails_in_a_line_and_tries_once(asked: Asked) -> None:
    asked.answer = lambda _: (503, {}, {"error": "starting up"})
    flags = ["evaluate", "--engine", "openai", "--base-url", asked.url, "--test-connection"]
    said = CliRunner().invoke(hsd, [*flags, "--model-name", "served"], standalone_mode=False)
    assert said.return_value == 1
    assert said.stderr == (
        f"Not connected: {asked.url}: no reply in 1 request: the server said 503: starting up.\n"
    )


def test_replies_that_mostly_hold_no_label_are_warned_of_at_the_end(asked: Asked) -> None:
    asked.answer = lambda _: (200, {}, completion(f"<think> \x1b[2J\n{'so ' * 90}"))
    flags = ["evaluate", "--engine", "openai", "--base-url", asked.url, "--model-name", "served"]
    flags += ["--data-file", posts(), "--output-dir", "runs/served"]
    said = CliRunner().invoke(hsd, flags)
    begins = f"<think> \\u001b[2J {'so ' * 90}"[:60]
    assert f'Warning: 6 of 6 replies hold no label; the first begins "{begins}...".' in said.stderr
    page = next(Path("runs/served").rglob("report.html")).read_text()
    assert page.count("6 of 6 replies hold no label.") == 1
    assert "so so" not in page
