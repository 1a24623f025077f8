"""No connection to a server outlives the work that it was made for, however that work ends."""

import gc
import io
import os
import signal
from pathlib import Path
from typing import Any

import chat_service
import httpx2
import pytest
from chat_service import Asked, config, posts

from hsd.errors import ConfigError, EvaluationError, Stopped
from hsd.evaluation.served_run import evaluate_served
from hsd.predict.detector import Detector
from hsd.predict.predict_file import predict_file
from hsd.predict.predict_job import PredictJob
from hsd.predict.predict_pipe import predict_pipe

asked = chat_service.asked
ONCE: Any = {"concurrency": 1, "retries": 0}
BUSY: tuple[int, dict[str, str], Any] = (500, {}, {})


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[httpx2.Client]:
    """Return every client that is made in the test."""
    made, make = list[httpx2.Client](), httpx2.Client.__init__

    def noted(self: httpx2.Client, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(httpx2.Client, "__init__", noted)
    return made


def job(asked: Asked, **options: Any) -> PredictJob:
    return PredictJob(config=config(asked, server=ONCE, **options), output="labels.jsonl")


def all_closed(clients: list[httpx2.Client]) -> bool:
    assert clients
    return all(client.is_closed for client in clients)


def test_a_table_that_is_written_leaves_no_connection(
    asked: Asked, clients: list[httpx2.Client]
) -> None:
    predict_file(job(asked))
    assert all_closed(clients)


def test_a_prediction_that_fails_leaves_no_connection(
    asked: Asked, clients: list[httpx2.Client]
) -> None:
    asked.answer = lambda _: BUSY
    with pytest.raises(EvaluationError, match="said 500"):
        predict_file(job(asked))
    assert all_closed(clients)


@pytest.mark.parametrize("kind", ["predict", "evaluate"])
def test_a_server_without_scores_leaves_no_connection(
    asked: Asked, clients: list[httpx2.Client], kind: str
) -> None:
    wanted = job(asked, mode="score")
    with pytest.raises(ConfigError, match="no log-probabilities"):
        predict_file(wanted) if kind == "predict" else evaluate_served(wanted.config)
    assert all_closed(clients)


def test_a_stop_leaves_no_connection(asked: Asked, clients: list[httpx2.Client]) -> None:
    def busy(_: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return BUSY

    asked.answer = busy
    options = job(asked).config.server.model_copy(update={"retries": 6})
    wanted = job(asked).config.model_copy(update={"server": options})
    with pytest.raises(Stopped):
        predict_file(PredictJob(config=wanted, output="labels.jsonl"))
    assert all_closed(clients)


@pytest.mark.parametrize("is_busy", [False, True], ids=["to its end", "until it fails"])
def test_a_pipe_leaves_no_connection(
    asked: Asked, clients: list[httpx2.Client], is_busy: bool
) -> None:
    lines = Path(posts()).read_bytes().splitlines(keepends=True)
    piped = config(asked, server=ONCE).model_copy(update={"data_file": "-"})
    wanted = PredictJob(config=piped, output="-")
    if is_busy:
        asked.answer = lambda _: BUSY
        with pytest.raises(EvaluationError):
            predict_pipe(wanted, lines, io.StringIO())
    else:
        predict_pipe(wanted, lines, io.StringIO())
    assert all_closed(clients)


def test_a_detector_closes_with_its_block_and_answers_again_after_it(
    asked: Asked, clients: list[httpx2.Client]
) -> None:
    settings = ["engine=openai", f"server.base_url={asked.url}"]
    with Detector("served", settings) as detector:
        detector.predict(["must leave"])
    assert all_closed(clients)
    assert detector.predict(["must leave"])[0].label == "hate"
    detector.close()
    assert (len(clients), all_closed(clients)) == (2, True)


def test_a_detector_that_nobody_holds_leaves_no_connection(
    asked: Asked, clients: list[httpx2.Client]
) -> None:
    detector = Detector("served", ["engine=openai", f"server.base_url={asked.url}"])
    detector.predict(["must leave"])
    del detector
    gc.collect()
    assert all_closed(clients)
