"""An evaluation over several jobs, each with a part of the rows: the run of one job, merged."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ranks import Blow, Started, start_command
from small_runs import jsonl, posts

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import PreflightError, Stopped, TakenOver
from hsd.evaluation.shard_files import (
    hours_noted,
    join_shards,
    note_answered,
    note_answering,
    note_engine,
    note_vllm,
    record_shards,
    unanswered,
)
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.io.manifest import DONE, update_manifest
from hsd.io.shard import Shard
from hsd.report.predictions import PREDICTIONS

TIMES = ("response_time", "started_at", "at", "created", "seconds")
NUMBERS = {"device": "cpu", "dtype": "float32", "quantization": "none"}


def config_of(base: Path, folder: Path, output: str = "eval", **settings: Any) -> EvalConfig:
    rows = folder / "rows.jsonl"
    if not rows.exists():
        jsonl(rows, posts(11))
    given: dict[str, Any] = {
        "model": {"name": str(base), "device": "cpu"},
        "data_file": str(rows),
        "output_dir": str(folder / output),
        "prompt_template": "baseline",
        "batch_size": 2,
        "mode": "score",
        "prefix_sharing": "on",
    }
    return EvalConfig.model_validate(given | settings)


def evaluated(config: EvalConfig, shard: Shard = Shard(), **more: Any) -> Any:  # noqa: B008
    from hsd.evaluation.evaluate import evaluate

    return evaluate(config, shard=shard, **more)


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / PREDICTIONS).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def said(folder: Path) -> dict[str, Any]:
    """Return what report and manifest say that is no time, no place, and of no single start."""
    manifest = read_json(folder / "manifest.json")
    parts = ("answering", "data", "kind", "model", "prompt", "seed", "notes", "processes")
    report = read_json(folder / "report.json")
    return {name: manifest.get(name) for name in parts} | {
        name: report[name] for name in report if name not in ("provenance", "mean_response_time_s")
    }


def files(folder: Path) -> set[str]:
    """Return the names of a run's files, without its parts and its time."""
    names = {file.name.replace(folder.name.removeprefix("run_"), "T") for file in folder.iterdir()}
    return {n for n in names if "rank" not in n and "shard" not in n and n != "progress.json"}


@pytest.mark.model
@pytest.mark.parametrize("settings", [{}, {"mode": "generate", "max_new_tokens": 4}])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_merged_run_of_shards_is_that_of_one_job(
    settings: dict[str, Any], order: tuple[int, ...], tiny_llama: Path, tmp_path: Path
) -> None:
    alone = evaluated(config_of(tiny_llama, tmp_path, "alone", **settings))
    config = config_of(tiny_llama, tmp_path, **settings)
    runs = [evaluated(config, Shard(index, 3)) for index in order]
    assert [run.missing for run in runs] == [2, 1, 0]
    (folder,) = (tmp_path / "eval").iterdir()
    assert rows(folder) == rows(alone.folder)
    assert said(folder) == said(alone.folder)
    assert files(folder) == files(alone.folder)
    assert list(folder.glob("shard-*")) == []
    told = [read_json(file) for file in folder.glob("progress.shard-*")]
    assert [one["done"] for one in told] == [one["total"] for one in told]
    assert sum(one["done"] for one in told) == 11


@pytest.mark.model
def test_a_shard_that_starts_after_the_merge_ends_at_once_and_well(
    tiny_llama: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_llama, tmp_path)
    for index in range(2):
        evaluated(config, Shard(index, 2))
    before = read_json(next((tmp_path / "eval").iterdir()) / "manifest.json")
    again = evaluated(config, Shard(0, 2))
    assert again.skipped
    assert len(again.predictions) == 11
    assert read_json(again.folder / "manifest.json") == before


@pytest.mark.model
def test_more_shards_than_batches_are_no_error(tiny_llama: Path, tmp_path: Path) -> None:
    alone = evaluated(config_of(tiny_llama, tmp_path, "alone", batch_size=8))
    config = config_of(tiny_llama, tmp_path, batch_size=8)
    runs = [evaluated(config, Shard(index, 5)) for index in range(5)]
    assert runs[-1].missing == 0
    assert rows(runs[-1].folder) == rows(alone.folder)


@pytest.mark.model
def test_a_stopped_shard_goes_on_where_it_stopped(tiny_llama: Path, tmp_path: Path) -> None:
    alone = evaluated(config_of(tiny_llama, tmp_path, "alone"))
    config = config_of(tiny_llama, tmp_path)
    seen: list[tuple[int, int]] = []

    def signalling(done: int, total: int, what: str) -> None:
        seen.append((done, total))
        if done == 2 and "rows" in what:
            os.kill(os.getpid(), signal.SIGUSR2)

    with pytest.raises(Stopped, match="answered 2 of 11 rows"):
        evaluated(config, Shard(0, 2), progress=signalling)
    (told,) = (tmp_path / "eval").glob("run_*/progress*.json")
    assert (told.name, read_json(told)["total"]) == ("progress.shard-0-of-2.json", 6)
    assert evaluated(config, Shard(1, 2)).missing == 1
    seen.clear()
    last = evaluated(
        config, Shard(0, 2), progress=lambda done, total, _: seen.append((done, total))
    )
    assert seen[0] == (0, 4)  # of its six
    assert rows(last.folder) == rows(alone.folder)
    assert said(last.folder) == said(alone.folder)


@pytest.mark.model
def test_a_shard_killed_before_it_merged_merges_when_it_is_started_again(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_llama, tmp_path)
    evaluated(config, Shard(0, 2))
    with monkeypatch.context() as patch:
        patch.setattr("hsd.evaluation.evaluation_run.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluated(config, Shard(1, 2))

    def load() -> None:
        raise AssertionError("all rows are answered")

    monkeypatch.setattr("hsd.evaluation.evaluation_run.load_for", lambda *_: load())
    assert len(evaluated(config, Shard(1, 2)).predictions) == 11


@pytest.mark.model
def test_a_base_and_its_adapter_are_compared_once_all_shards_have_answered_both(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from judged import trained

    from hsd.evaluation.evaluate import evaluate_sets_with_base

    adapter = trained(tiny_llama, tmp_path / "trained", {"rank": 2})
    config = config_of(adapter, tmp_path, prompt_template=None)
    (first,) = evaluate_sets_with_base([config], shard=Shard(1, 2))
    assert [one.missing for one in first] == [1, 1]
    (last,) = evaluate_sets_with_base([config], shard=Shard(0, 2))
    assert [one.missing for one in last] == [0, 0]
    assert read_json(last[1].folder / "manifest.json")["base_run"] == str(last[0].folder)
    assert "base" in (last[1].folder / "report.json").read_text()


@pytest.mark.model
@pytest.mark.parametrize(
    ("first", "then", "how"),
    [
        (Shard(0, 2), Shard(0, 3), r"in 2 shards \(--shard I/2\)"),
        (Shard(0, 2), Shard(), r"in 2 shards \(--shard I/2\)"),
        (Shard(), Shard(0, 2), "by one job, without --shard"),
    ],
)
def test_an_evaluation_goes_on_in_the_parts_that_it_began_in(
    first: Shard, then: Shard, how: str, tiny_llama: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_llama, tmp_path)

    def signalling(done: int, _total: int, _what: str) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGUSR2)

    with pytest.raises(Stopped):
        evaluated(config, first, progress=signalling)
    with pytest.raises(PreflightError, match=f"was begun {how}; go on with it so"):
        evaluated(config, then)


@pytest.mark.model
def test_a_shard_in_other_numbers_is_refused_and_leaves_nothing(
    tiny_llama: Path, tmp_path: Path
) -> None:
    evaluated(config_of(tiny_llama, tmp_path), Shard(0, 2))
    model = {"name": str(tiny_llama), "device": "cpu", "dtype": "bfloat16"}
    with pytest.raises(PreflightError, match=r"another number format .* shards must be alike"):
        evaluated(config_of(tiny_llama, tmp_path, model=model), Shard(1, 2))
    assert len(list((tmp_path / "eval").iterdir())) == 1


@pytest.mark.parametrize(
    ("part", "change"),
    [("number_format", {"dtype": "bfloat16"}), ("packages", {"hsd": "0.0.1"})],
)
def test_a_shard_with_another_hsd_or_other_numbers_is_refused(
    part: str, change: dict[str, str], tmp_path: Path
) -> None:
    join_shards(tmp_path, Shard(0, 3), NUMBERS)
    join_shards(tmp_path, Shard(1, 3), NUMBERS)
    file = tmp_path / "shard-0-of-3.json"
    known = read_json(file)
    write_json(file, known | {part: known[part] | change})
    with pytest.raises(
        PreflightError, match=rf"shard 2-of-3 .*{part}\.{next(iter(change))}: .* ->"
    ):
        join_shards(tmp_path, Shard(2, 3), NUMBERS)
    assert not (tmp_path / "shard-2-of-3.json").exists()


def test_shards_answer_with_one_engine_and_a_refused_one_leaves_no_word(tmp_path: Path) -> None:
    for index in range(2):
        join_shards(tmp_path, Shard(index, 2), NUMBERS)
    note_engine(tmp_path, Shard(0, 2), {"shared": True})
    with pytest.raises(PreflightError, match=r"engine\.shared: true -> false"):
        note_engine(tmp_path, Shard(1, 2), {"shared": False})
    note_engine(tmp_path, Shard(0, 2), {"shared": True})
    assert unanswered(tmp_path, Shard(0, 2)) == 2


@pytest.mark.parametrize(
    ("part", "value"), [("version", "0.33"), ("tensor_parallel", 4), ("check", "off")]
)
@pytest.mark.parametrize("shard", [Shard(1, 2), Shard(0, 2), Shard()])
def test_rows_of_one_folder_are_answered_by_one_vllm(
    shard: Shard, part: str, value: Any, tmp_path: Path
) -> None:
    vllm = {"version": "0.32", "tensor_parallel": 1, "check": "on"}
    note_vllm(tmp_path, Shard(0, shard.count), vllm)
    note_vllm(tmp_path, shard, vllm)
    with pytest.raises(PreflightError, match=rf" otherwise.*vllm\.{part}: .* -> "):
        note_vllm(tmp_path, shard, vllm | {part: value})
    note_vllm(tmp_path, shard, vllm)


def test_only_the_first_shard_writes_into_the_manifest_and_the_merge_gathers_the_others(
    tmp_path: Path,
) -> None:
    for index in range(2):
        join_shards(tmp_path, Shard(index, 2), NUMBERS)
    note_answering(tmp_path, Shard(0, 2), {"check": {"passed": True}})
    note_answering(tmp_path, Shard(1, 2), {"check": {"passed": False}})
    assert read_json(tmp_path / "manifest.json")["answering"] == {"check": {"passed": True}}
    assert read_json(tmp_path / "shard-1-of-2.json")["answering"]["check"] == {"passed": False}
    record_shards(tmp_path, Shard(1, 2))
    assert read_json(tmp_path / "manifest.json")["answering"] == {
        "check": {"passed": True},
        "shards": {"1-of-2": {"check": {"passed": False}}},
    }


def test_a_server_is_asked_by_one_job() -> None:
    from click.testing import CliRunner

    from jobs.evaluate import evaluate as command

    words = ["--engine=openai", "--base-url=http://127.0.0.1:1/v1", "--model-name=x"]
    done = CliRunner().invoke(command, [*words, "--data-file=embedded", "--shard=0/2"])
    assert done.exit_code == 2
    assert "--shard: one server answers all rows" in done.output


@pytest.mark.model
@pytest.mark.e2e
def test_shards_at_one_time_merge_once_although_one_is_killed_and_started_again(
    tiny_llama: Path, tmp_path: Path
) -> None:
    alone = evaluated(config_of(tiny_llama, tmp_path, "alone"))

    def start(index: int, ranks: int = 1, blow: Blow | None = None) -> Started:
        config = config_of(tiny_llama, tmp_path)
        flags = [
            f"--model_name={tiny_llama}", f"--data_file={config.data_file}", "--batch_size=2",
            f"--output_dir={config.output_dir}", "--prompt_template=baseline", "--mode=score",
            "--prefix_sharing=on", "--set=model.device=cpu", f"--shard={index}/3",
        ]  # fmt: skip
        prints = tmp_path / f"prints{index}"
        prints.mkdir(exist_ok=True)
        return start_command("evaluate", prints, flags, ranks, blow)

    begun = [start(0, blow=Blow([signal.SIGKILL], at=2, what="rows")), start(1, 2), start(2)]
    codes = [[rank.code for rank in shard.ended()] for shard in begun]
    assert codes == [[-signal.SIGKILL], [0, 0], [0]]
    (folder,) = (tmp_path / "eval").glob("run_*")
    assert not (folder / DONE).exists()
    assert [rank.code for rank in start(0).ended()] == [0]
    assert rows(folder) == rows(alone.folder)
    assert list((tmp_path / "eval").rglob(".lease*")) == []


def never() -> None:
    raise AssertionError("another shard merges")


class OneFolder:
    """Stands for the leases of a shard while another one merges, and then has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, 0

    def hold_to_merge(self, folder: Path) -> bool:
        self.asked += 1
        if self.asked == 2:  # the other one is done
            write_json(folder / DONE, {})
        return self.asked == 2


def test_of_two_shards_that_end_at_one_time_one_merges_and_the_other_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.shard_merge import merge_answered

    monkeypatch.setattr("hsd.evaluation.shard_merge.POLL_S", 0)
    for index in range(2):
        join_shards(tmp_path, Shard(index, 2), NUMBERS)
    note_answered(tmp_path, Shard(0, 2))
    leases: Any = OneFolder(tmp_path)
    merge_answered(tmp_path, Shard(1, 2), leases, lambda: None, never)
    assert leases.asked == 2


def test_a_shard_that_ends_while_others_answer_does_not_merge(tmp_path: Path) -> None:
    from hsd.evaluation.shard_merge import merge_answered

    for index in range(2):
        join_shards(tmp_path, Shard(index, 2), NUMBERS)
    leases: Any = OneFolder(tmp_path)
    merge_answered(tmp_path, Shard(1, 2), leases, lambda: None, never)
    assert leases.asked == 0
    assert unanswered(tmp_path, Shard(1, 2)) == 1


def test_every_start_of_a_shard_counts_its_gpus_hours_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([3600.0, 7200.0, 9000.0])
    monkeypatch.setattr("hsd.config.run_record.time.monotonic", lambda: next(times))
    shard = Shard(1, 2)
    join_shards(tmp_path, Shard(0, 2), NUMBERS)
    join_shards(tmp_path, shard, NUMBERS)
    with pytest.raises(Stopped), hours_noted(tmp_path, shard, 4, since=0.0):
        raise Stopped("a signal")
    with pytest.raises(TakenOver), hours_noted(tmp_path, shard, 4, since=0.0):
        raise TakenOver("its hours are those of the one that took over")
    with hours_noted(tmp_path, shard, 4, since=3600.0):
        pass
    assert read_json(tmp_path / "shard-1-of-2.json")["gpu_hours"] == 4 + 4
    update_manifest(tmp_path, starts=[{"gpu_hours": 2.0}])
    record_shards(tmp_path, shard)
    assert read_json(tmp_path / "manifest.json")["gpu_hours"] == 10


@pytest.mark.model
def test_a_shard_counts_all_gpus_that_it_takes(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from hsd.evaluation.evaluation_plan import EvaluationPlan

    counted: list[int] = []

    def noted(folder: Path, shard: Shard, gpus: int, since: float) -> Any:
        counted.append(gpus)
        return nullcontext()

    monkeypatch.setattr(EvaluationPlan, "gpus", property(lambda _: 4))
    monkeypatch.setattr("hsd.evaluation.evaluation_run.hours_noted", noted)
    evaluated(config_of(tiny_llama, tmp_path), Shard(1, 2))
    assert counted == [4]
