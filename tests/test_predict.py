"""`hsd predict`: each row is labelled once, in its order, as `hsd evaluate` would label it."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_runs import jsonl, posts

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, DataError, EvaluationError, PreflightError, Stopped
from hsd.io.files import write_json
from hsd.io.json_reader import read_json, read_object, read_objects
from hsd.io.shard import Shard
from hsd.prompts.chat import Chat
from hsd.prompts.template import load_template

pytestmark = pytest.mark.model

ODD: list[dict[str, Any]] = [
    {"id": "empty", "text": " ", "label": "normal"},
    {"id": "sum", "text": "=1+1 is a sum, the bakery said", "label": "normal"},
    {"id": "number", "text": 7, "label": "normal"},
    {"id": "none", "label": "normal"},
]
ROWS: list[dict[str, Any]] = [
    row | {"score": n / 8, "tags": ["a", n], "source": "ab"[n % 2]}
    for n, row in enumerate([*posts(7), *ODD])
]
NEW = ["hsd_score", "hsd_calibrated_score", "hsd_label", "hsd_outcome", "hsd_reason"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of three rows, and each batch on disk at once."""
    monkeypatch.setattr("hsd.predict.predict_job.window_size", lambda _: 3)
    monkeypatch.setattr("hsd.predict.window_files.EVERY_S", 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "posts.jsonl", ROWS)


def config_of(base: Path, data: Path | str, **settings: Any) -> EvalConfig:
    given: dict[str, Any] = {
        "model": {"name": str(base), "device": "cpu"},
        "data_file": str(data),
        "prompt_template": "baseline",
        "batch_size": 2,
        "max_new_tokens": 4,
    }
    return EvalConfig.model_validate(given | settings)


def job_of(base: Path, data: Path | str, output: Path, **more: Any) -> Any:
    from hsd.predict.predict_job import PredictJob

    own = {name: more.pop(name) for name in tuple(more) if name in PredictJob.__slots__}
    return PredictJob(config=config_of(base, data, **more), output=str(output), **own)


def predicted(base: Path, data: Path, output: Path, **more: Any) -> Any:
    from hsd.predict.predict_file import predict_file

    return predict_file(job_of(base, data, output, **more))


def cells(output: Path) -> list[dict[str, str]]:
    with output.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of an undisturbed run in one process, with windows of three rows."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hsd.predict.predict_job.window_size", lambda _: 3)
        output = folder / "scores.csv"
        predicted(tiny_llama, jsonl(folder / "posts.jsonl", ROWS), output)
    return output.read_bytes()


def test_scores_are_those_of_an_evaluation_of_the_same_posts(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    data = jsonl(tmp_path / "labelled.jsonl", posts(9))
    predicted(tiny_llama, data, tmp_path / "scores.jsonl")
    run = evaluate(config_of(tiny_llama, data, output_dir=str(tmp_path / "eval")))
    rows = read_objects(tmp_path / "scores.jsonl")
    assert [row["hsd_score"] for row in rows] == pytest.approx(
        [p.score for p in run.predictions], abs=1e-6
    )
    assert [row["hsd_label"] for row in rows] == [p.label for p in run.predictions]
    assert [row["hsd_outcome"] for row in rows] == [p.outcome for p in run.predictions]


def test_replies_are_those_of_an_evaluation_and_their_rationales_are_written_where_asked_for(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluate import evaluate

    data = jsonl(tmp_path / "labelled.jsonl", posts(4))
    output = tmp_path / "scores.jsonl"
    predicted(tiny_llama, data, output, mode="generate", rationale=True)
    settings = {"mode": "generate", "output_dir": str(tmp_path / "eval")}
    run = evaluate(config_of(tiny_llama, data, **settings))
    rows = read_objects(output)
    assert list(rows[0])[3:] == [*NEW, "hsd_rationale"]
    assert [row["hsd_outcome"] for row in rows] == [p.outcome for p in run.predictions]
    assert [row["hsd_label"] for row in rows] == [p.label for p in run.predictions]
    assert {row["hsd_score"] for row in rows} == {None}


def test_each_row_has_one_row_in_its_order_with_its_own_columns_first(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    data.write_text(data.read_text() + "no JSON\n")
    predicted(tiny_llama, data, tmp_path / "scores.jsonl")
    rows = read_objects(tmp_path / "scores.jsonl")
    assert [{k: v for k, v in row.items() if k not in NEW} for row in rows] == [*ROWS, {}]
    assert all(list(row)[-len(NEW) :] == NEW for row in rows)
    reasons = [None] * 7 + [
        "no text in 'text'",
        None,
        "'text' holds no text but a int",
        "no column 'text'",
        "line 12: not JSON (Expecting value, column 1)",
    ]
    assert [row["hsd_reason"] for row in rows] == reasons
    answered = [row["hsd_score"] is not None for row in rows]
    assert answered == [reason is None for reason in reasons]
    assert answered == [row["hsd_label"] in ("hate", "normal") for row in rows]


def test_a_long_post_is_cut_as_in_an_evaluation_and_says_so(
    tiny_llama: Path, tmp_path: Path
) -> None:
    long = {"id": "long", "text": "food " * 900, "label": "hate"}
    data = jsonl(tmp_path / "posts.jsonl", [*posts(2), long])
    predicted(tiny_llama, data, tmp_path / "scores.jsonl", max_length=300)
    *_, last = read_objects(tmp_path / "scores.jsonl")
    assert last["hsd_reason"] == "the post was cut: its prompt is longer than 300 tokens"
    assert last["hsd_score"] is not None


def test_a_table_holds_no_formula(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_bytes(whole)
    rows = cells(tmp_path / "scores.csv")
    assert rows[8]["text"] == "'=1+1 is a sum, the bakery said"
    assert rows[0]["tags"] == '["a", 0]'
    assert list(rows[0]) == [*ROWS[0], *NEW]


def test_a_parquet_table_keeps_numbers_as_numbers(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    from pyarrow.parquet import read_table

    predicted(tiny_llama, data, tmp_path / "scores.parquet")
    table = read_table(tmp_path / "scores.parquet")
    assert table.column_names == [*ROWS[0], *NEW]
    assert table.column("score").to_pylist() == [row["score"] for row in ROWS]
    assert table.column("text").to_pylist()[9] == "7"  # beside posts a number is text
    assert str(table.schema.field("hsd_score").type) == "double"


@pytest.mark.parametrize("after", [0, 2, 3, 5, 11])
def test_killed_anywhere_the_same_command_makes_the_same_file(
    after: int, tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    from hsd.predict.predict_file import predict_file

    output = tmp_path / "scores.csv"

    def killing(done: int, total: int, what: str) -> None:
        assert total == len(ROWS)
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(job_of(tiny_llama, data, output), killing)
    assert not output.exists()
    assert not predicted(tiny_llama, data, output).skipped
    assert output.read_bytes() == whole
    assert not list(output.with_name("scores.csv.run").glob("answers-*"))


def test_progress_goes_from_what_was_done_to_the_end_and_says_nothing_twice(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.predict.predict_file import predict_file

    told: list[int] = []

    def telling(done: int, total: int, what: str) -> None:
        told.append(done)
        if done == 5 and len(told) < 5:
            raise KeyboardInterrupt

    job = job_of(tiny_llama, data, tmp_path / "scores.csv")
    with pytest.raises(KeyboardInterrupt):
        predict_file(job, telling)
    assert told == [0, 2, 3, 5]
    predict_file(job, telling)
    assert told[4] == 5
    assert told[-1] == len(ROWS)
    assert told[4:] == sorted(set(told[4:]))


def test_a_row_that_is_answered_is_not_asked_again(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.predict import local_model as module
    from hsd.predict.predict_file import predict_file

    def killing(done: int, total: int, what: str) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    job = job_of(tiny_llama, data, tmp_path / "scores.csv")
    with pytest.raises(KeyboardInterrupt):
        predict_file(job, killing)
    asked: list[int] = []
    answer_window = module.answer_window  # type: ignore[attr-defined]

    def counting(plan: Any, model: Any, once: Any, window: Any, *rest: Any) -> None:
        asked.extend(post.number for post in window)
        answer_window(plan, model, once, window, *rest)

    monkeypatch.setattr(module, "answer_window", counting)
    predict_file(job)
    assert asked == [6, 7, 8]  # the last window's rows have no post


def test_an_answer_that_was_half_written_is_given_again(
    tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    from hsd.predict.predict_file import predict_file

    output = tmp_path / "scores.csv"

    def killing(done: int, total: int, what: str) -> None:
        if done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(job_of(tiny_llama, data, output), killing)
    last = max((tmp_path / "scores.csv.run").glob("answers-*"))
    last.write_bytes(last.read_bytes()[:-9])
    predicted(tiny_llama, data, output)
    assert output.read_bytes() == whole


def test_a_finished_table_is_found_again_without_a_model(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.subject import Subject

    output = tmp_path / "scores.csv"
    first = predicted(tiny_llama, data, output, by="source")
    monkeypatch.setattr(Subject, "load", lambda _: pytest.fail("it was loaded"))
    again = predicted(tiny_llama, data, output, by="source")
    assert (first.skipped, again.skipped) == (False, True)
    assert again.shares == first.shares
    assert first.shares.whole.rows == len(ROWS)
    assert {name: part.rows for name, part in first.shares.parts.items()} == {"a": 6, "b": 5}
    assert first.shares.reasons == {
        "no text in 'text'": 1, "'text' holds no text but a int": 1, "no column 'text'": 1,
    }  # fmt: skip
    manifest = read_json(tmp_path / "scores.csv.run" / "manifest.json")
    assert manifest["called"]["whole"]["labelled"] == 8


def test_a_finished_table_that_was_changed_is_no_result(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    predicted(tiny_llama, data, output)
    output.write_text(output.read_text() + "1,2\n")
    with pytest.raises(EvaluationError, match="is not as it was written"):
        predicted(tiny_llama, data, output)


def test_a_finished_table_that_was_removed_is_made_again(
    tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    output = tmp_path / "scores.csv"
    predicted(tiny_llama, data, output)
    output.unlink()
    predicted(tiny_llama, data, output)
    assert output.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"threshold": 0.7}, "threshold: 0.5 -> 0.7"),
        ({"strategy": "conservative"}, "prompt_hash: "),
        ({"max_length": 500}, "max_length: 1024 -> 500"),
        ({"prefix": "x_"}, "columns: "),
        ({"mode": "generate"}, 'mode: "score" -> "generate"'),
    ],
)
def test_what_would_be_another_table_is_refused_in_a_line(
    change: dict[str, Any], part: str, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.io.run_identity import claim
    from hsd.predict.predict_job import plan_predict

    output = tmp_path / "scores.csv"
    plan = plan_predict(job_of(tiny_llama, data, output))
    claim(plan.folder, plan.identity())
    with pytest.raises(PreflightError, match="belongs to another run") as refused:
        predicted(tiny_llama, data, output, **change)
    assert part in str(refused.value)
    assert "Choose another --output" in str(refused.value)


def test_a_table_of_another_chat_template_is_refused_and_one_of_an_older_hsd_goes_on(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.io.run_identity import claim
    from hsd.predict.predict_folder import require_own_output
    from hsd.predict.predict_job import plan_predict

    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    job = job_of(base, data, tmp_path / "scores.csv")
    plan = plan_predict(job)
    claim(plan.folder, plan.identity())
    with (base / "chat_template.jinja").open("a") as file:
        file.write("Say the opposite.")
    changed = plan_predict(job)
    with pytest.raises(PreflightError, match=r"model_files\.chat_template\.jinja"):
        require_own_output(changed, changed.identity())
    known = read_object(plan.folder / "identity.json")
    del known["model_files"]
    write_json(plan.folder / "identity.json", known)
    require_own_output(changed, changed.identity())


def test_another_file_or_model_is_refused(
    tiny_llama: Path, tiny_thinker: Path, data: Path, tmp_path: Path
) -> None:
    from hsd.io.run_identity import claim
    from hsd.predict.predict_job import plan_predict

    output = tmp_path / "scores.csv"
    plan = plan_predict(job_of(tiny_llama, data, output))
    claim(plan.folder, plan.identity())
    with pytest.raises(PreflightError, match=r"model\.base"):
        predicted(tiny_thinker, data, output)
    jsonl(data, ROWS[:-1])
    with pytest.raises(PreflightError, match="data_sha256"):
        predicted(tiny_llama, data, output)


def test_a_file_of_somebody_else_is_not_written_over(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    output.write_text("mine\n")
    with pytest.raises(PreflightError, match="is there already"):
        predicted(tiny_llama, data, output)
    assert output.read_text() == "mine\n"
    assert not (tmp_path / "scores.csv.run").exists()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"text_column": "body"}, DataError, "no column 'body'"),
        ({"by": "sauce"}, DataError, "no column 'sauce'. Did you mean 'source'"),
        ({"prefix": ""}, DataError, "has a column 'score' already"),
        ({"rationale": True}, ConfigError, "add --mode generate"),
        ({"threshold": 1.5}, ConfigError, "not between 0 and 1"),
        ({"threshold": 0.5, "mode": "generate"}, ConfigError, "replies have no score"),
        ({"max_samples": 5}, ConfigError, "labels all rows"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(
    change: dict[str, Any],
    error: type[Exception],
    said: str,
    tiny_llama: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=said):
        predicted(tiny_llama, data, tmp_path / "scores.csv", **change)
    assert [file.name for file in tmp_path.glob("scores*")] == []


def test_an_output_whose_name_says_no_format_is_refused(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.csv, \.jsonl"):
        predicted(tiny_llama, data, tmp_path / "scores.xlsx")


def test_shards_write_the_table_once_the_last_of_them_is_done(
    tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    output = tmp_path / "scores.csv"
    first = predicted(tiny_llama, data, output, shard=Shard(1, 2))
    assert first.missing == 5  # posts 0-2 and 6 and 8
    assert not output.exists()
    last = predicted(tiny_llama, data, output, shard=Shard(0, 2))
    assert last.missing == 0
    assert output.read_bytes() == whole


def test_a_shard_says_how_many_rows_it_has(
    tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    from hsd.predict.predict_file import predict_file

    said: list[str] = []
    output = tmp_path / "scores.csv"
    for index in (5, 3, 1, 0, 2, 4):  # 11 rows are four windows of 3
        job = job_of(tiny_llama, data, output, shard=Shard(index, 6))
        found = predict_file(job, say=said.append)
        assert found.had_rows == (index < 4) or not found.missing
    shards = [line for line in said if line.startswith("Shard")]
    none = "has none of 11 rows: a file is split every 3 rows, and this file has only 4 parts."
    assert shards[:5] == [
        f"Shard 5/6 {none}",
        "Shard 3/6 has 2 of 11 rows.",
        "Shard 1/6 has 3 of 11 rows.",
        "Shard 0/6 has 3 of 11 rows.",
        "Shard 2/6 has 3 of 11 rows.",
    ]
    assert output.read_bytes() == whole


def test_a_shard_without_rows_loads_no_model_and_does_not_look_like_one_that_answered(
    tiny_llama: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from jobs.terminal.share_tables import show_predicted

    monkeypatch.setattr("hsd.predict.window_asker.WindowAsker._loaded", None)
    output = tmp_path / "scores.csv"
    show_predicted(predicted(tiny_llama, data, output, shard=Shard(4, 5)))
    said = capsys.readouterr().out
    assert "This shard had no rows. 8 posts of other shards are left to answer" in said
    assert not output.exists()


def test_a_job_alone_goes_on_with_what_shards_answered(
    tiny_llama: Path, data: Path, tmp_path: Path, whole: bytes
) -> None:
    output = tmp_path / "scores.csv"
    predicted(tiny_llama, data, output, shard=Shard(2, 3))
    predicted(tiny_llama, data, output)
    assert output.read_bytes() == whole


def test_a_signal_stops_it_with_what_it_answered(
    tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    import os
    import signal

    from hsd.predict.predict_file import predict_file

    def signalling(done: int, total: int, what: str) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGUSR2)

    with pytest.raises(Stopped, match="answered 5 of 8 posts; run the same command again"):
        predict_file(job_of(tiny_llama, data, tmp_path / "scores.csv"), signalling)


def test_csv_files_of_any_kind_are_read_and_their_columns_kept(
    tiny_llama: Path, tmp_path: Path
) -> None:
    data = tmp_path / "posts.csv"
    data.write_text('id;body\n1;"the bakery; it opens"\n2;they should leave\n')
    predicted(tiny_llama, data, tmp_path / "scores.csv", text_column="body")
    rows = cells(tmp_path / "scores.csv")
    assert [(row["id"], row["body"]) for row in rows] == [
        ("1", "the bakery; it opens"), ("2", "they should leave"),
    ]  # fmt: skip
    assert json.loads(rows[0]["hsd_score"]) > 0


def test_a_shard_of_another_hsd_is_refused_in_a_line(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.csv"
    predicted(tiny_llama, data, output, shard=Shard(1, 2))
    other = {"packages": {"hsd": "0.0.1"}}
    with monkeypatch.context() as patch:
        patch.setattr("hsd.evaluation.shard_files.provenance", lambda: other)
        with pytest.raises(PreflightError, match=r"shard 0-of-2 .* packages\.hsd: .* one hsd"):
            predicted(tiny_llama, data, output, shard=Shard(0, 2))
    assert predicted(tiny_llama, data, output, shard=Shard(0, 2)).missing == 0
    assert list(tmp_path.glob("scores.csv.run/shard-*")) == []


def test_a_prompt_without_room_for_any_post_is_said_of_a_post_of_one_letter() -> None:
    from hsd.predict.answer_window import require_room

    def encode(chat: Chat, limit: object) -> None:  # noqa: ARG001
        raise DataError(f"row {chat.id}: no post fits")

    contract = SimpleNamespace(strategy=load_template("baseline").strategy("standard"))
    plan: Any = SimpleNamespace(
        renderer=SimpleNamespace(encode=encode), contract=contract, limit=None
    )
    with pytest.raises(DataError, match=r"^a post of one letter: no post fits$"):
        require_room(plan)
