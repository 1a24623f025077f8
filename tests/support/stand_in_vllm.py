"""A stand-in for vLLM: a package of that name whose numbers come from a table, or are wrong.

The process that asks it is the real one. The table holds what transformers gives for each prompt,
with the adapter and without, so a stand-in without a fault is right.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from hsd.config.evaluate_config import EvalConfig
from hsd.config.vllm_config import VllmConfig
from hsd.evaluation.choose_engine import spelled_of
from hsd.evaluation.evaluation_plan import plan_evaluation
from hsd.inference.label_trie import inner_nodes
from hsd.inference.vllm_python import NAMED_BY
from hsd.model.adapter import without_adapter

PACKAGE = """
import json, os, sys, time
from pathlib import Path
from types import SimpleNamespace

FOLDER = Path(__file__).parent.parent
FAULT = (FOLDER / "fault").read_text()
__version__ = "0.0-stand-in"


def note(name, value):
    with (FOLDER / name).open("a") as file:
        file.write(json.dumps(value) + "\\n")


class SamplingParams(SimpleNamespace):
    pass


class LLM:
    def __init__(self, **settings):
        note("started", settings | {"pid": os.getpid()})
        print("INFO a banner on standard output", flush=True)
        os.write(1, b'{"answer": [[0, 0]]}' + os.linesep.encode())
        if FAULT == "no architecture":
            raise ValueError("no model\\nModel architectures ['Odd'] are not supported")
        config = SimpleNamespace(
            device_config=SimpleNamespace(device_type="cpu"),
            model_config=SimpleNamespace(dtype="torch." + settings["dtype"], enforce_eager=True),
        )
        self.llm_engine = SimpleNamespace(vllm_config=config)
        self.table = json.loads((FOLDER / "table.json").read_text())
        self.batches = 0

    def generate(self, prompts, params, use_tqdm, lora_request):
        self.batches += 1
        note("asked", {"rows": len(prompts), "adapter": lora_request is not None})
        last = FAULT.partition("after ")[2]
        if last and self.batches > int(last):
            if FAULT.startswith("hangs"):
                note("hanging", os.getpid())
                time.sleep(600)
            print("torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.", flush=True)
            os._exit(1)
        with_adapter = lora_request is not None and FAULT != "ignores the adapter"
        return [self.one(p["prompt_token_ids"], q, with_adapter) for p, q in zip(prompts, params)]

    def one(self, ids, params, with_adapter):
        if params.max_tokens > 1:
            note("forms", params.structured_outputs and params.structured_outputs.json)
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.table["reply"])])
        found = self.table[str(with_adapter)][json.dumps(ids)]
        shift = 0.5 if FAULT == "wrong numbers" else 0.0
        given = {}
        for place, token in enumerate(params.logprob_token_ids):
            given[token] = SimpleNamespace(logprob=found[str(token)] - shift * place)
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[given])])
"""


@dataclass(frozen=True)
class StandIn:
    """A stand-in's folder: how it was started, and what it was asked."""

    folder: Path

    def fault(self, what: str) -> None:
        """Let it do something else than vLLM."""
        (self.folder / "fault").write_text(what)

    def noted(self, name: str) -> list[Any]:
        """Return what it noted: `started`, `asked`, `forms` or `hanging`."""
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def stand_in(
    config: EvalConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path | None = None
) -> StandIn:
    """Make a stand-in that knows the rows of `config`, and let hsd use it."""
    package = folder / "vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "sampling_params.py").write_text(
        "from types import SimpleNamespace as StructuredOutputsParams\n"
    )
    (package / "lora" / "__init__.py").touch()
    (package / "lora" / "request.py").write_text(
        "def LoRARequest(name, number, path):\n    return path\n"
    )
    (folder / "torch.py").write_text("__version__ = '0'\n")
    (folder / "fault").touch()
    (folder / "table.json").write_text(json.dumps(_table(config, data_dir)))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(NAMED_BY, str(python))
    return StandIn(folder)


def _table(config: EvalConfig, data_dir: Path | None) -> dict[str, Any]:
    """Return what each prompt is followed by, as the model itself says."""
    own = config.model_copy(update={"engine": "hsd", "vllm": VllmConfig()})
    plan = plan_evaluation(own, data_dir)
    model, _ = plan.subject.load()
    nodes = inner_nodes(spelled_of(plan))

    def following() -> dict[str, dict[int, float]]:
        found = {}
        with torch.inference_mode():
            for ids in ([*row.prompt, *node.path] for row in plan.encoded for node in nodes):
                logits = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
                wanted = {token for node in nodes for token in node.tokens}
                found[json.dumps(ids)] = {token: float(logits[token]) for token in wanted}
        return found

    answer = plan.subject.tokenizer.encode('{"classification": "hate"}', add_special_tokens=False)
    reply = [*answer, plan.renderer.stop_ids()[0]]
    if plan.subject.adapter is None:
        return {"False": following(), "reply": reply}
    adapted = following()
    with without_adapter(model):
        return {"True": adapted, "False": following(), "reply": reply}
