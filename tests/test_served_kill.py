"""`kill -9` in the middle of work that a server answers: it is gone on with, and loses nothing."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, honest, post_of, posts
from click.testing import CliRunner
from waiting import until

from hsd.io.json_reader import read_objects
from jobs.cli import hsd

asked = chat_service.asked
POSTS, ANSWERED, AT_ONCE = 9, 4, 2


def command(kind: str, asked: Asked) -> list[str]:
    server = ["--engine", "openai", "--base-url", asked.url, "--model-name", "served"]
    server += ["--concurrency", str(AT_ONCE), "--prompt-template", "baseline"]
    place = {
        "evaluate": ["--data-file", posts(POSTS), "--output-dir", "runs/served"],
        "predict": [posts(POSTS), "--output", "labels.jsonl"],
    }
    return [kind, *place[kind], *server]


def kept(kind: str) -> int:
    """Count the answers that are on disk while the work goes on."""
    files = "runs/served/run_*/*predictions*" if kind == "evaluate" else "labels.jsonl.run/*.jsonl"
    return sum(file.read_bytes().count(b"\n") for file in Path().glob(files))


def labels(kind: str) -> list[Any]:
    if kind == "predict":
        return [row["hsd_label"] for row in read_objects(Path("labels.jsonl"))]
    (file,) = Path().glob("runs/served/run_*/predictions.jsonl")
    rows = {row["id"]: row["label"] for row in read_objects(file)}
    return [rows[f"p{n}"] for n in range(POSTS)]


@pytest.mark.parametrize("kind", ["evaluate", "predict"])
def test_a_killed_run_asks_nothing_twice_but_what_was_on_its_way(asked: Asked, kind: str) -> None:
    release, on_their_way = threading.Event(), list[str]()

    def stuck(request: dict[str, Any]) -> Any:
        on_their_way.append(post_of(request))
        release.wait(120)

    asked.script = [*[honest] * ANSWERED, *[stuck] * AT_ONCE]
    run = command(kind, asked)
    program = [sys.executable, "-m", "jobs.cli", *run]
    with subprocess.Popen(program, start_new_session=True) as process:
        until(lambda: len(on_their_way) == AT_ONCE and kept(kind) == ANSWERED, "answers", 300)
        os.killpg(process.pid, signal.SIGKILL)
    release.set()
    assert process.returncode == -signal.SIGKILL
    again = CliRunner().invoke(hsd, run)
    assert again.exit_code == 0, again.output
    often = Counter(post_of(request) for request in asked.requests)
    assert {post for post, times in often.items() if times > 1} == set(on_their_way)
    assert (len(often), max(often.values())) == (POSTS, 2)
    assert labels(kind) == (["normal", "hate"] * POSTS)[:POSTS]
