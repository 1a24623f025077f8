"""`hsd predict` asks a server on loopback about posts without labels."""

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, config, honest, posts
from click.testing import CliRunner
from completions import completion

from hsd.errors import ConfigError, EvaluationError, ModelError, PreflightError, Stopped
from hsd.evaluation.served_replies import server_of
from hsd.io.json_reader import read_json, read_objects
from hsd.io.shard import Shard
from hsd.predict.detector import Detector
from hsd.predict.predict_file import Predicted, predict_file
from hsd.predict.predict_job import PredictJob
from hsd.predict.predict_pipe import predict_pipe
from jobs.cli import hsd

asked = chat_service.asked
ONE = {"concurrency": 1}
BUSY: Any = (500, {}, {})
OUT = Path("labels.jsonl")
RUN = Path("labels.jsonl.run")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of three rows."""
    monkeypatch.setattr("hsd.predict.predict_job.window_size", lambda _: 3)


def predicted(asked: Asked, output: Path = OUT, **more: Any) -> Predicted:
    own = {name: more.pop(name) for name in tuple(more) if name in PredictJob.__slots__}
    job = PredictJob(config=config(asked, **more), output=str(output), **own)
    return predict_file(job)


def test_each_row_gets_the_label_and_the_outcome_of_the_reply(asked: Asked) -> None:
    refusal, cut = completion("I'm sorry, I can't help."), completion('{"classif', "length")
    asked.script = [(200, {}, refusal), (200, {}, cut)]
    predicted(asked, server=ONE)
    rows = read_objects(OUT)
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(6)]
    assert [row["hsd_label"] for row in rows] == [None, None, "normal", "hate", "normal", "hate"]
    assert [row["hsd_outcome"] for row in rows] == ["refusal", "truncated", *["valid"] * 4]
    assert {row["hsd_score"] for row in rows} == {None}


def test_the_manifest_says_what_answered_and_what_was_asked(asked: Asked) -> None:
    predicted(asked)
    manifest = read_json(RUN / "manifest.json")
    assert manifest["engine"] == "openai"
    assert manifest["model"] == {"name": "served", "server": asked.url}
    assert manifest["config"]["mode"] == "generate"
    assert (manifest["answering"]["requests"], manifest["answering"]["reply_tokens"]) == (6, 30)


def test_a_finished_table_asks_nothing(asked: Asked) -> None:
    predicted(asked)
    assert predicted(asked).skipped
    assert len(asked.requests) == 6


def test_a_run_that_failed_goes_on_and_asks_about_no_post_twice(asked: Asked) -> None:
    asked.script = [*[honest] * 4, BUSY]
    with pytest.raises(EvaluationError, match=r"said 500\. The replies so far are kept"):
        predicted(asked, server={**ONE, "retries": 0})
    assert not OUT.exists()
    predicted(asked, server=ONE)
    assert len(asked.requests) == 7
    told = [request["messages"][-1]["content"] for request in asked.requests]
    assert len(set(told)) == 6
    assert read_json(RUN / "manifest.json")["answering"]["requests"] == 7


def test_a_server_that_was_never_there_leaves_no_word_of_kept_replies(asked: Asked) -> None:
    with pytest.raises(EvaluationError) as failed:
        predicted(asked, server={"base_url": "http://127.0.0.1:9/v1"})
    assert "nothing listens at 127.0.0.1:9" in str(failed.value)
    assert "kept" not in str(failed.value)


def test_a_stop_ends_a_wait_and_keeps_what_was_answered(asked: Asked) -> None:
    def busy(_: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return 503, {"Retry-After": "60"}, {}

    asked.script = [honest, busy]
    with pytest.raises(Stopped, match="answered 1 of 6 posts"):
        predicted(asked, server=ONE)
    predicted(asked, server=ONE)
    assert len(asked.requests) == 2 + 5


def test_shards_ask_each_post_once_and_count_together(asked: Asked) -> None:
    assert predicted(asked, shard=Shard(0, 2)).missing == 3
    assert predicted(asked, shard=Shard(1, 2)).missing == 0
    assert [row["hsd_label"] for row in read_objects(OUT)] == ["normal", "hate"] * 3
    assert len(asked.requests) == 6
    assert read_json(RUN / "manifest.json")["answering"]["requests"] == 6


def test_a_pipe_asks_as_the_rows_come(asked: Asked) -> None:
    lines = Path(posts()).read_bytes().splitlines(keepends=True)
    out = io.StringIO()
    job = PredictJob(config=config(asked).model_copy(update={"data_file": "-"}), output="-")
    predict_pipe(job, lines, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["hsd_label"] for row in rows] == ["normal", "hate"] * 3


def test_a_row_without_a_post_is_not_asked_about(asked: Asked) -> None:
    wanted = config(asked)
    Path("posts.jsonl").write_text('{"text": " "}\n{"text": "must leave"}\n')
    predict_file(PredictJob(config=wanted, output=str(OUT)))
    assert [row["hsd_reason"] for row in read_objects(OUT)] == ["no text in 'text'", None]
    assert len(asked.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 1024 tokens. However, your prompt has 2000.",
        "'max_tokens' is too large: 128. This model's maximum context length is 1024 tokens and "
        "your request has 950 input tokens (128 > 1024 - 950).",
        "request (2000 tokens) exceeds the available context size (1024 tokens), try increasing it",
    ],
)
def test_a_post_that_is_too_long_for_the_server_ends_no_run(asked: Asked, said: str) -> None:
    asked.script = [honest, (400, {}, {"error": {"message": said}})]
    predicted(asked, server=ONE)
    row = read_objects(OUT)[1]
    assert (row["hsd_label"], row["hsd_outcome"]) == (None, "invalid")
    assert row["hsd_reason"] == "the post is too long for the server"


TOO_LONG: Any = (
    400, {}, {"error": {"code": "context_length_exceeded", "message": "invented"}},
)  # fmt: skip


def test_a_window_in_which_each_post_is_too_long_is_answered_anew_by_the_next_start(
    asked: Asked,
) -> None:
    asked.answer = lambda _: TOO_LONG
    with pytest.raises(ModelError, match=r"calls each prompt too long, of 3 posts; start the"):
        predicted(asked, server=ONE)
    asked.answer = honest
    predicted(asked, server=ONE)
    assert {row["hsd_outcome"] for row in read_objects(OUT)} == {"valid"}


def test_after_a_reply_of_an_earlier_start_a_window_may_be_too_long(asked: Asked) -> None:
    asked.script = [honest, honest, honest, BUSY]
    with pytest.raises(EvaluationError):
        predicted(asked, server={**ONE, "retries": 0})
    asked.answer = lambda _: TOO_LONG
    predicted(asked, server=ONE)
    rows = read_objects(OUT)
    assert [row["hsd_outcome"] for row in rows] == ["valid"] * 3 + ["invalid"] * 3


def test_another_number_of_shards_asks_about_no_post_twice(asked: Asked) -> None:
    asked.script = [honest, honest, BUSY]
    with pytest.raises(EvaluationError):
        predicted(asked, server={**ONE, "retries": 0})
    for index in (0, 1):
        predicted(asked, server=ONE, shard=Shard(index, 2))
    assert [row["hsd_label"] for row in read_objects(OUT)] == ["normal", "hate"] * 3
    assert len(asked.requests) == 6 + 1


def test_the_seconds_are_those_of_all_windows(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_own_time(plan: Any, say: Any) -> Any:
        server = server_of(plan, say)
        server.clock = lambda: float(len(asked.requests))  # each request takes a second
        return server

    monkeypatch.setattr("hsd.predict.served_model.server_of", with_own_time)
    predicted(asked, server=ONE)
    assert read_json(RUN / "manifest.json")["answering"]["seconds"] == 6.0


def test_a_server_with_no_room_for_any_post_ends_the_run(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsd.predict.predict_job.window_size", lambda _: 6)
    asked.answer = lambda _: TOO_LONG
    with pytest.raises(ModelError, match=r"refuses the request \(400: invented\)"):
        predicted(asked, server=ONE)
    assert len(asked.requests) == 5


def test_a_threshold_needs_scores(asked: Asked) -> None:
    with pytest.raises(ConfigError, match=r"no score to cut; add --mode score\."):
        predicted(asked, threshold=0.7)
    assert asked.requests == []


def test_another_model_of_the_server_is_another_table(asked: Asked) -> None:
    predicted(asked)
    OUT.unlink()
    wanted = config(asked)
    other = wanted.model_copy(update={"model": wanted.model.model_copy(update={"name": "other"})})
    with pytest.raises(PreflightError, match=r"model\.served"):
        predict_file(PredictJob(config=other, output=str(OUT)))


def test_a_notebook_asks_a_server(asked: Asked) -> None:
    detector = Detector("served", ["engine=openai", f"server.base_url={asked.url}"])
    (found,) = detector.predict(["must leave"])
    assert (found.label, found.score, found.outcome) == ("hate", None, "valid")
    assert detector.rule.said == "Labels are those of the replies."


def test_the_command_labels_a_file(asked: Asked) -> None:
    flags = ["predict", posts(), "--engine", "openai", "--base-url", asked.url]
    said = CliRunner().invoke(hsd, [*flags, "--model-name", "served", "--output", "labels.csv"])
    assert said.exit_code == 0, said.output
    assert "Written: labels.csv" in said.output
    assert len(asked.requests) == 6
