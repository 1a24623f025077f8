"""An OpenAI-compatible server on loopback, and evaluations that ask it."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from completions import completion

from hsd.config.loading import load_eval_config
from hsd.evaluation.served_plan import plan_served
from hsd.evaluation.served_replies import server_of
from hsd.evaluation.served_run import evaluate_served

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]]
Scripted = tuple[int, dict[str, str], Any] | Answer | None


class Asked:
    """What a server was asked, and how it answers; `script` is used up before `answer`."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        self.script: list[Scripted] = []
        self.answer: Answer = honest
        self.listed: list[str] | None = None
        self.url = ""
        self.lock = threading.Lock()


def post_of(request: dict[str, Any]) -> str:
    """Return the words of a request that hold its post."""
    return str(request["messages"][-1]["content"])


def honest(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Call every post that holds `leave` hate."""
    label = "hate" if "leave" in post_of(request) else "normal"
    return 200, {}, completion(json.dumps({"classification": label}))


@pytest.fixture
def asked() -> Iterator[Asked]:
    """Give a server that runs on loopback within the test."""
    state = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append(request)
                state.tokens.add(self.headers.get("Authorization"))
                scripted = state.script.pop(0) if state.script else state.answer
            if callable(scripted):
                scripted = scripted(request)
            if scripted is None:  # cut the connection
                self.close_connection = True
                return
            self.write(*scripted)

        def do_GET(self) -> None:
            models = {"data": [{"id": name} for name in state.listed or []]}
            self.write(200 if state.listed else 501, {}, models)

        def write(self, status: int, headers: dict[str, str], content: Any) -> None:
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def posts(count: int = 6) -> str:
    rows = [
        {"id": f"p{n}", "text": f"post {chr(97 + n)} {'must leave' if n % 2 else 'bakes'}",
         "label": "hate" if n % 2 else "normal"}
        for n in range(count)
    ]  # fmt: skip
    Path("posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "posts.jsonl"


def config(asked: Asked, **options: Any) -> Any:
    server = {"base_url": asked.url, "concurrency": 2, **options.pop("server", {})}
    fields: dict[str, Any] = {"prompt_template": "baseline", "strategy": "standard"}
    fields |= {"data_file": posts(), "output_dir": "runs/served", "engine": "openai"}
    return load_eval_config(model={"name": "served"}, server=server, **fields, **options)


def served(asked: Asked, waits: list[float] | None = None, **options: Any) -> Path:
    """Evaluate; what would be slept goes to `waits`."""
    wanted = config(asked, **options)
    server = server_of(plan_served(wanted))
    server.sleep = ([] if waits is None else waits).append
    with server.client:
        return evaluate_served(wanted, server=server).folder
