"""One start of an evaluation at a time: a second one is refused, and no folder is made twice."""

import os
import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ranks import Ended, hsd_command
from small_runs import jsonl, posts
from stolen import stolen

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import InUseError, Stopped, TakenOver
from hsd.io.lease import hold_lease
from hsd.report.predictions import load_run

pytestmark = pytest.mark.model


def config(base: Path, folder: Path, rows: int = 5, **changes: Any) -> EvalConfig:
    given = {
        "model": {"name": str(base), "device": "cpu"},
        "data_file": str(jsonl(folder / f"{rows}.jsonl", posts(rows))),
        "output_dir": str(folder / "eval"),
        "prompt_template": "baseline",
        "batch_size": 1,
    }
    return EvalConfig.model_validate(given | changes)


def leases(folder: Path) -> list[Path]:
    return list(folder.rglob(".lease*"))


def test_the_same_evaluation_started_while_it_runs_is_refused_and_harms_nothing(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    one, refused = config(tiny_llama, tmp_path), []

    def start_again(done: int, total: int, what: str) -> None:
        if what.endswith("rows") and done == 2:
            (run,) = (tmp_path / "eval").glob("run_*")
            for place in (one.output_dir, run):
                with pytest.raises(InUseError, match=f"{run} is in use: hsd evaluate ") as error:
                    evaluate(one.model_copy(update={"output_dir": place}))
                refused.append(str(error.value))

    run = evaluate(one, start_again)
    assert len(refused) == 2
    assert [p.id for p in run.predictions] == [f"p{n}" for n in range(5)]
    assert load_run(tmp_path / "eval").folder == run.folder
    assert leases(tmp_path) == []


def test_of_several_sets_the_one_that_is_answered_is_refused_and_the_finished_are_skipped(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate_sets

    sets, refused = [config(tiny_llama, tmp_path, rows) for rows in (3, 4)], []

    def start_again(done: int, total: int, what: str) -> None:
        if what.endswith("4.jsonl rows") and done == 2:
            with pytest.raises(InUseError) as error:
                evaluate_sets(sets)
            refused.append(str(error.value))

    runs = evaluate_sets(sets, start_again)
    assert refused[0].startswith(f"{runs[1].folder} is in use: hsd evaluate ")
    assert [len(run.predictions) for run in runs] == [3, 4]
    assert all(run.skipped for run in evaluate_sets(sets))
    assert leases(tmp_path) == []


def test_while_the_model_loads_there_is_no_folder_yet_and_a_second_start_is_refused(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation import subject
    from hsd.evaluation.evaluate import evaluate
    from hsd.model.base import load_base

    one = config(tiny_llama, tmp_path)
    refused, begun = [], []

    def loading(*arguments: Any) -> Any:
        monkeypatch.setattr(subject, "load_base", load_base)
        with pytest.raises(InUseError) as error:
            evaluate(one)
        refused.append(str(error.value))
        other = evaluate(config(tiny_llama, tmp_path, rows=3))
        begun.append(other.folder)
        return load_base(*arguments)

    monkeypatch.setattr(subject, "load_base", loading)
    run = evaluate(one)
    assert refused[0].startswith(f"{one.output_dir} is in use: hsd evaluate ")
    assert begun[0].parent == run.folder.parent, "another evaluation may begin beside it"
    assert leases(tmp_path) == []


def test_an_evaluation_that_another_start_finished_meanwhile_was_finished_before(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.evaluate import evaluate
    from hsd.evaluation.evaluation_lease import Leases

    one, take = config(tiny_llama, tmp_path), Leases.take

    def meanwhile(self: Any) -> None:
        monkeypatch.setattr(Leases, "take", take)
        assert not evaluate(one).skipped
        take(self)

    monkeypatch.setattr(Leases, "take", meanwhile)
    assert evaluate(one).skipped
    assert len(list(one.output_dir.iterdir())) == 1


def test_an_evaluation_whose_lease_was_taken_stops_and_its_answers_stay(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    one = config(tiny_llama, tmp_path)

    def steal(done: int, total: int, what: str) -> None:
        if what.endswith("rows") and done == 5:
            (run,) = (tmp_path / "eval").glob("run_*")
            stolen(run / ".lease", "hsd evaluate")

    with pytest.raises(TakenOver, match="was taken over: hsd evaluate"):
        evaluate(one, steal)
    (run,) = (tmp_path / "eval").glob("run_*")
    assert not (run / "predictions.jsonl").exists(), "the report is the other's to write"
    (run / ".lease").unlink()
    assert len(evaluate(one).predictions) == 5


def test_no_lease_is_left_when_an_evaluation_is_stopped(tiny_llama: Path, tmp_path: Path) -> None:
    from hsd.evaluation.evaluate import evaluate

    def stop(done: int, total: int, what: str) -> None:
        if what.endswith("rows") and done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="answered 2 of 5"):
        evaluate(config(tiny_llama, tmp_path), stop)
    assert leases(tmp_path) == []


def test_two_evaluations_of_one_second_have_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.io import dated_folder

    class Noon(datetime):
        @classmethod
        def now(cls) -> Any:  # type: ignore[override]
            return cls(2026, 1, 2, 12, 0, 0)

    monkeypatch.setattr(dated_folder, "datetime", Noon)
    made = [dated_folder.new_folder(tmp_path / "eval").name for _ in range(3)]
    assert made == ["run_20260102_120000", "run_20260102_120001", "run_20260102_120002"]


def flags(one: EvalConfig) -> list[str]:
    given = (f"--model_name={one.model.name}", f"--data_file={one.data_file}")
    return [*given, f"--output_dir={one.output_dir}", "--prompt_template=baseline",
            "--batch_size=1", "--set=model.device=cpu"]  # fmt: skip


@pytest.mark.e2e
def test_of_two_starts_at_once_one_evaluates_and_there_is_one_run(
    tiny_llama: Path, tmp_path: Path
) -> None:
    one, ends = config(tiny_llama, tmp_path, rows=30), []

    def start(name: str) -> None:
        (tmp_path / name).mkdir()
        ends.extend(hsd_command("evaluate", tmp_path / name, flags(one)))

    threads = [threading.Thread(target=start, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_run(one.output_dir).predictions) == 30
    _assert_alone(ends)
    assert leases(one.output_dir) == []


def _assert_alone(ends: list[Ended]) -> None:
    """One wrote it; the other was refused or, where it came late, found it finished."""
    first, second = sorted(ends, key=lambda one: "Written:" not in one.said)
    assert "Written:" in first.said
    refused = second.code == 3 and " is in use: hsd evaluate " in second.said
    assert refused or "Was finished before:" in second.said, second


@pytest.mark.e2e
def test_all_ranks_are_refused_in_the_same_words(tiny_llama: Path, tmp_path: Path) -> None:
    one = config(tiny_llama, tmp_path)
    (ended,) = hsd_command("evaluate", tmp_path, flags(one))
    assert ended.code == 0, ended.said
    (run,) = one.output_dir.iterdir()
    (run / "done.json").unlink()
    with hold_lease(run, "hsd evaluate"):
        ends = hsd_command("evaluate", tmp_path, flags(one), ranks=2)
    assert [rank.code for rank in ends] == [3, 3], ends
    said = {rank.said.splitlines()[-1] for rank in ends}
    assert len(said) == 1
    assert said.pop().startswith(f"Error: {run} is in use: hsd evaluate (process ")
