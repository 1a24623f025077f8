"""Evaluations and predictions by vLLM, with a stand-in for vLLM itself."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import judged
import pytest
import small_runs
from fake_slurm.processes import alive
from stand_in_vllm import StandIn, stand_in
from waiting import until

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, ErrorCode, EvaluationError, ModelError, PreflightError, Stopped
from hsd.evaluation.evaluate import evaluate, evaluate_with_base
from hsd.evaluation.shards import part
from hsd.inference.vllm_python import vllm_python
from hsd.io.shard import Shard

pytestmark = pytest.mark.model

LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged.trained(tiny_llama, tmp_path_factory.mktemp("adapter"), LORA)


def config_of(model: Path, folder: Path, **settings: Any) -> EvalConfig:
    rows = folder / "rows.jsonl"
    if not rows.exists():
        small_runs.jsonl(rows, small_runs.posts(6))
    given = {
        "model": {"name": str(model), "device": "cpu"},
        "data_file": str(rows),
        "output_dir": str(folder / "eval"),
        "prompt_template": "baseline",
        "strategy": "standard",
        "engine": "vllm",
        "batch_size": 2,
    }
    return EvalConfig.model_validate(given | settings)


def manifest(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("**/manifest.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> EvalConfig:
    return config_of(tiny_llama, tmp_path)


@pytest.fixture
def served(config: EvalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in(config, tmp_path / "stand-in", monkeypatch)


def test_vllm_gets_token_ids_and_its_scores_are_those_of_hsd(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    run = evaluate(config)
    own = evaluate(config.model_copy(update={"engine": "hsd"}))
    for one, other in zip(run.predictions, own.predictions, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
    assert run.folder != own.folder  # the engine is part of what a run is
    facts = json.loads((run.folder / "manifest.json").read_text())
    assert facts["engine"] == "vllm"
    assert facts["answering"]["version"] == "0.0-stand-in"
    assert facts["answering"]["check"]["passed"]
    assert not facts["answering"]["check"]["problem"]
    (started,) = served.noted("started")
    assert started["trust_remote_code"] is False
    assert (started["load_format"], started["enable_prefix_caching"]) == ("safetensors", True)
    assert "a banner on standard output" in (run.folder / "vllm.log").read_text()
    assert not alive(started["pid"])


def test_another_start_finds_the_finished_run_and_starts_no_vllm(
    config: EvalConfig, served: StandIn
) -> None:
    first, second = evaluate(config), evaluate(config)
    assert (second.folder, second.skipped) == (first.folder, True)
    assert len(served.noted("started")) == 1


def test_numbers_that_are_not_hsds_end_the_evaluation_and_stand_in_the_manifest(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("wrong numbers")
    with pytest.raises(EvaluationError, match=r"differs from hsd's by .* in the median row"):
        evaluate(config)
    found = manifest(tmp_path / "eval")["answering"]["check"]
    assert not found["passed"]
    assert found["median_difference"] > found["allowed"]["difference"]
    assert not list(tmp_path.glob("eval/**/predictions.*"))
    (started,) = served.noted("started")
    assert not alive(started["pid"])


def test_an_adapter_is_served_beside_its_base(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(adapter, tmp_path)
    served = stand_in(config, tmp_path / "stand-in", monkeypatch)
    base, adapted = evaluate_with_base(config)
    assert [p.score for p in base.predictions] != [p.score for p in adapted.predictions]
    facts = json.loads((adapted.folder / "manifest.json").read_text())["answering"]
    assert facts["check"]["effect_kept"] == pytest.approx(1, abs=0.01)
    assert {asked["adapter"] for asked in served.noted("asked")} == {True, False}
    (started,) = served.noted("started")  # once, for both
    assert (started["enable_lora"], started["max_lora_rank"]) == (True, 8)


def test_an_adapter_that_vllm_ignores_is_an_error(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(adapter, tmp_path)
    stand_in(config, tmp_path / "stand-in", monkeypatch).fault("ignores the adapter")
    with pytest.raises(EvaluationError, match="vLLM ignores the adapter"):
        evaluate(config)
    assert "ignores" in manifest(tmp_path / "eval")["answering"]["check"]["problem"]


def test_without_the_check_an_ignored_adapter_is_an_error_all_the_same(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(adapter, tmp_path, vllm={"check": "off"})
    stand_in(config, tmp_path / "stand-in", monkeypatch).fault("ignores the adapter")
    with pytest.raises(EvaluationError, match="the adapter is ignored"):
        evaluate(config)


def test_a_run_without_the_check_says_so(tiny_llama: Path, tmp_path: Path, served: StandIn) -> None:
    served.fault("wrong numbers")  # nobody would know
    run = evaluate(config_of(tiny_llama, tmp_path, vllm={"check": "off"}))
    facts = json.loads((run.folder / "manifest.json").read_text())
    assert facts["answering"]["check"]["compared"] is False
    assert any("not compared" in note for note in facts["notes"])


def test_a_vllm_that_dies_is_told_in_one_line_and_the_next_start_goes_on(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("dies after 8")  # the check, 6 rows alone, one batch of 2
    with pytest.raises(EvaluationError, match="CUDA out of memory") as died:
        evaluate(config)
    assert "\n" not in str(died.value)
    assert died.value.code is ErrorCode.CUDA_OUT_OF_MEMORY
    (folder,) = tmp_path.glob("eval/run_*")
    answered = part(folder, 0).read_text().splitlines()
    assert len(answered) == 2
    served.fault("")
    run = evaluate(config)
    assert run.folder == folder
    assert len(run.predictions) == 6


def test_rows_that_were_not_compared_are_never_rows_of_a_run_that_was(
    tiny_llama: Path, config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("dies after 8")  # no check of a base; 6 rows alone, and two batches of 2
    with pytest.raises(EvaluationError):
        evaluate(config_of(tiny_llama, tmp_path, vllm={"check": "off"}))
    (unchecked,) = tmp_path.glob("eval/run_*")
    assert part(unchecked, 0).exists()
    served.fault("")
    run = evaluate(config)
    assert run.folder != unchecked
    with pytest.raises(PreflightError, match=r"vllm_check: .off. -> null"):
        evaluate(config.model_copy(update={"output_dir": unchecked}))


def test_another_vllm_does_not_go_on_with_rows_of_the_first(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("dies after 8")
    with pytest.raises(EvaluationError):
        evaluate(config)
    served.fault("")
    package = served.folder / "vllm" / "__init__.py"
    first = package.read_text()
    package.write_text(first.replace("0.0-stand-in", "0.1"))
    with pytest.raises(PreflightError, match=r'vllm\.version: "0\.0-stand-in" -> "0\.1"'):
        evaluate(config)
    package.write_text(first)
    folder = evaluate(config).folder
    assert not list(folder.glob("shard-*"))


def test_a_shard_that_fails_its_check_leaves_the_manifest_of_the_others_alone(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    evaluate(config, shard=Shard(0, 2))
    before = manifest(tmp_path / "eval")
    served.fault("wrong numbers")
    with pytest.raises(EvaluationError, match="differs from hsd's"):
        evaluate(config, shard=Shard(1, 2))
    assert manifest(tmp_path / "eval") == before
    served.fault("")
    folder = evaluate(config, shard=Shard(1, 2)).folder
    answering = manifest(folder)["answering"]
    assert answering["check"]["passed"]
    assert answering["shards"]["1-of-2"]["check"]["passed"]
    assert {file.name for file in folder.glob("vllm*.log")} == {
        "vllm.log",
        "vllm.shard-1-of-2.log",
    }


def test_a_detector_starts_a_vllm_anew_that_died(tiny_llama: Path, served: StandIn) -> None:
    from hsd.predict.detector import Detector

    texts = [post["text"] for post in small_runs.posts(6)]
    settings = ("model.device=cpu", "prompt_template=baseline", "strategy=standard", "batch_size=2")
    detector = Detector(tiny_llama, ["engine=vllm", *settings])
    served.fault("dies after 2")
    for _ in range(2):
        with pytest.raises(EvaluationError, match="out of memory"):
            detector.score(texts)
    served.fault("")
    own = Detector(tiny_llama, settings)
    assert detector.score(texts) == pytest.approx(own.score(texts), abs=1e-5)


def test_a_vllm_on_another_device_is_refused_each_time(
    config: EvalConfig, served: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.evaluation.vllm_model import Surroundings, VllmModel

    package = served.folder / "vllm" / "__init__.py"
    package.write_text(package.read_text().replace('device_type="cpu"', 'device_type="xpu"'))
    plan = plan_evaluation(config)
    with VllmModel(plan) as model:
        for _ in range(2):
            with pytest.raises(ModelError, match="vLLM's device is xpu"):
                model.choose(plan, Surroundings(None))


def test_a_model_that_vllm_cannot_load_is_told_by_the_last_line(
    config: EvalConfig, served: StandIn
) -> None:
    served.fault("no architecture")
    with pytest.raises(EvaluationError, match=r"architectures \['Odd'\] are not supported"):
        evaluate(config)


def test_a_stop_ends_vllm_and_keeps_what_is_answered(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("hangs after 8")

    def stop() -> None:
        until(lambda: bool(served.noted("hanging")), "a request")
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop)
    watcher.start()
    with pytest.raises(Stopped, match="answered 2 of 6 rows"):
        evaluate(config)
    watcher.join()
    (pid,) = served.noted("hanging")
    assert not alive(pid)


def test_vllm_does_not_outlive_a_killed_hsd(
    config: EvalConfig, served: StandIn, tmp_path: Path
) -> None:
    served.fault("hangs after 0")
    file = tmp_path / "config.json"
    file.write_text(config.model_dump_json(exclude_unset=True))
    code = (
        "import sys; from hsd.config.evaluate_config import EvalConfig as C; "
        "from hsd.evaluation.evaluate import evaluate; from pathlib import Path; "
        "evaluate(C.model_validate_json(Path(sys.argv[1]).read_text()))"
    )
    hsd = subprocess.Popen([sys.executable, "-c", code, str(file)], stderr=subprocess.DEVNULL)
    until(lambda: bool(served.noted("hanging")), "a request")
    hsd.kill()
    hsd.wait()
    (pid,) = served.noted("hanging")
    until(lambda: not alive(pid), "the end of vLLM")


def test_replies_are_asked_for_in_the_form_of_an_answer(
    tiny_llama: Path, tmp_path: Path, served: StandIn
) -> None:
    run = evaluate(config_of(tiny_llama, tmp_path, mode="generate"))
    assert {(p.label, p.outcome) for p in run.predictions} == {("hate", "valid")}
    for form in served.noted("forms"):
        assert form["properties"]["classification"]["enum"] == ["hate", "normal"]


def test_gpt_oss_answers_in_its_final_channel_which_is_forced(
    tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.evaluation.vllm_model import forced_opening

    plan = plan_evaluation(config_of(tiny_gpt_oss, tmp_path, engine="hsd"))
    text = plan.subject.tokenizer.decode(forced_opening(plan))
    assert text == "<|channel|>final<|message|>"


def test_hsd_predict_answers_with_vllm_and_goes_on_after_it_died(
    tiny_llama: Path, tmp_path: Path, served: StandIn
) -> None:
    from hsd.predict.predict_file import predict_file
    from hsd.predict.predict_job import PredictJob

    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    texts = [{"text": json.loads(line)["text"]} for line in rows.read_text().splitlines()]
    config = config_of(tiny_llama, tmp_path, data_file=str(small_runs.jsonl(rows, texts)))
    job = PredictJob(config=config, output=str(output))
    served.fault("dies after 2")
    with pytest.raises(EvaluationError, match="out of memory"):
        predict_file(job)
    served.fault("")
    predict_file(job)
    own = PredictJob(
        config=config.model_copy(update={"engine": "hsd"}), output=str(tmp_path / "own.jsonl")
    )
    predict_file(own)
    found, wanted = (
        [json.loads(line)["hsd_score"] for line in Path(one.output).read_text().splitlines()]
        for one in (job, own)
    )
    assert found == pytest.approx(wanted, abs=1e-5)
    assert manifest(tmp_path / "out.jsonl.run")["engine"] == "vllm"


def test_a_table_of_vllm_says_what_was_compared_and_keeps_to_it(
    tiny_llama: Path, tmp_path: Path, served: StandIn
) -> None:
    from hsd.predict.predict_file import predict_file
    from hsd.predict.predict_job import PredictJob

    rows = tmp_path / "rows.jsonl"
    config = config_of(tiny_llama, tmp_path, vllm={"check": "off"})
    small_runs.jsonl(rows, [{"text": post["text"]} for post in small_runs.posts(6)])
    served.fault("dies after 1")
    job = PredictJob(config=config, output=str(tmp_path / "out.jsonl"))
    with pytest.raises(EvaluationError):
        predict_file(job)
    served.fault("")
    checked = config_of(tiny_llama, tmp_path)
    with pytest.raises(PreflightError, match="vllm_check"):
        predict_file(PredictJob(config=checked, output=job.output))
    predict_file(job)
    facts = manifest(tmp_path / "out.jsonl.run")
    assert facts["answering"]["check"]["compared"] is False
    assert any("not compared" in note for note in facts["notes"])
    predict_file(PredictJob(config=checked, output=str(tmp_path / "compared.jsonl")))
    facts = manifest(tmp_path / "compared.jsonl.run")
    assert facts["answering"]["check"]["compared"] is True
    assert "notes" not in facts


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora is set"),
        ({"use_rslora": True}, "use_rslora is set"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "target_parameters is set"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is set"),
        ({"bias": "all"}, "the base's own biases were trained"),
        ({"init_lora_weights": "pissa"}, "takes its values out of the base"),
        ({"r": 600}, "its rank 600 is above 512"),
    ],
)
def test_what_vllm_would_leave_out_of_an_adapter_is_refused(
    settings: dict[str, Any], said: str
) -> None:
    from hsd.evaluation.vllm_limits import unserved

    names = ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    assert unserved({"r": 8, "bias": "none"}, names) is None
    assert said in str(unserved({"r": 8, "bias": "none"} | settings, names))


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.embed_tokens.weight",
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.0.mlp.experts.base_layer.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
    ],
)
def test_weights_beside_plain_layers_are_refused(name: str) -> None:
    from hsd.evaluation.vllm_limits import unserved

    assert "weights beside linear layers" in str(unserved({"r": 8}, [name]))


def test_a_refused_adapter_is_told_to_be_merged_before_anything_is_loaded(
    tiny_llama: Path, tmp_path: Path, served: StandIn
) -> None:
    dora = judged.trained(tiny_llama, tmp_path / "dora", LORA | {"use_dora": True})
    with pytest.raises(ModelError, match=r"use_dora is set\. Merge it \(hsd merge --adapter-path"):
        evaluate(config_of(dora, tmp_path))
    assert not served.noted("started")


def test_without_vllm_the_error_says_how_to_install_it_before_rows_are_read(
    config: EvalConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HSD_VLLM_PYTHON", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "elsewhere" / ".venv"))
    Path(config.data_file).unlink()
    with pytest.raises(PreflightError, match="pip install vllm") as refused:
        evaluate(config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("python", "why"),
    [("/nonexistent", "no such file"), ("/bin/false", "is no Python of"),
     (sys.executable, "this Python has no module vllm")],
)  # fmt: skip
def test_a_named_python_that_cannot_run_vllm_is_told_apart(python: str, why: str) -> None:
    with pytest.raises(PreflightError) as refused:
        vllm_python({"HSD_VLLM_PYTHON": python})
    said = str(refused.value)
    assert said.startswith(f"HSD_VLLM_PYTHON={python}: {why}")
    assert "pip install vllm" in said
    assert 'HSD_VLLM_PYTHON="$PWD/.venv-vllm/bin/python"' in said


def test_a_setting_that_vllm_never_has_is_refused_before_vllm_is_looked_for(
    config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSD_VLLM_PYTHON", "/nonexistent")
    model = config.model.model_copy(update={"quantization": "nf4"})
    with pytest.raises(ConfigError, match="model.quantization=nf4"):
        evaluate(config.model_copy(update={"model": model}))


def test_several_processes_are_refused(
    config: EvalConfig, served: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"start one process.*vllm\.tensor_parallel"):
        evaluate(config)


def test_settings_of_another_engine_are_refused(config: EvalConfig, served: StandIn) -> None:
    with pytest.raises(ConfigError, match="--prefix-sharing: vLLM shares prompts"):
        evaluate(config.model_copy(update={"prefix_sharing": "on"}))
    with pytest.raises(ConfigError, match=r"vllm\.tensor_parallel needs --engine vllm"):
        evaluate(
            EvalConfig.model_validate(
                config.model_dump(exclude_unset=True)
                | {"engine": "hsd", "vllm": {"tensor_parallel": 2}}
            )
        )
