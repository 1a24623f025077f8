"""`hsd predict` beside a file in one process: several processes, shards, pipes, notebooks."""

import csv
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ranks import Blow, hsd_command
from small_runs import jsonl, posts

import hsd
from hsd.errors import ConfigError, DataError, PreflightError
from hsd.io.json_reader import read_objects
from hsd.io.shard import Shard, shard_of

pytestmark = pytest.mark.model

TEXTS = ["the new bakery opens on monday", "they should leave", "", "who asked?"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def flags(base: Path, file: Path | str, output: Path | str, *more: str) -> list[str]:
    return [
        str(file), f"--model-name={base}", f"--output={output}", "--prompt-template=baseline",
        "--batch-size=2", "--set=model.device=cpu", *more,
    ]  # fmt: skip


def small_windows() -> None:
    """Windows of three rows, each batch on disk at once, in the process that calls this."""
    import hsd.predict.predict_job
    import hsd.predict.window_files

    hsd.predict.predict_job.window_size = lambda rows: 3  # type: ignore[attr-defined]  # noqa: ARG005
    hsd.predict.window_files.EVERY_S = 0.0


# Several processes


@pytest.mark.e2e
def test_two_processes_make_the_file_of_one_also_after_a_signal(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from ranks import start_command

    data = jsonl(tmp_path / "posts.jsonl", posts(11))
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"

    def run(output: Path, ranks: int, blow: Blow | None = None) -> list[Any]:
        arguments = flags(tiny_llama, data, output)
        return start_command(
            "predict", tmp_path, arguments, ranks, blow, prepare=small_windows
        ).ended()

    (alone,) = run(one, 1)
    assert alone.code == 0, alone.said
    # The second while it answers; the first once it has answered, before it writes the table.
    for blow in (Blow([signal.SIGUSR2], 2, "rows", 1), Blow([signal.SIGUSR2], 6, "rows", 0)):
        stopped = run(two, 2, blow)
        assert [rank.code for rank in stopped] == [75, 75], stopped
        assert all("run the same command again to go on." in rank.said for rank in stopped)
        assert not two.exists()
    ended = run(two, 2)
    assert [rank.code for rank in ended] == [0, 0], ended
    assert two.read_bytes() == one.read_bytes()
    assert "Written: " in ended[0].said
    assert "Written: " not in ended[1].said


@pytest.mark.e2e
def test_a_process_that_is_killed_leaves_no_half_table(tiny_llama: Path, tmp_path: Path) -> None:
    data = jsonl(tmp_path / "posts.jsonl", posts(5))
    output = tmp_path / "scores.csv"
    arguments = flags(tiny_llama, data, output)
    (killed,) = hsd_command(
        "predict", tmp_path, arguments, blow=Blow([signal.SIGKILL], at=2, what="rows")
    )
    assert killed.code == -signal.SIGKILL
    assert not output.exists()
    (ended,) = hsd_command("predict", tmp_path, arguments)
    assert ended.code == 0, ended.said
    assert [row["id"] for row in csv.DictReader(io.StringIO(output.read_text()))] == [
        f"p{n}" for n in range(5)
    ]
    assert list((tmp_path / "scores.csv.run").glob(".*")) == []


# Shards


@pytest.mark.parametrize(
    ("text", "shard"), [(None, Shard(0, 1)), ("0/4", Shard(0, 4)), ("3/4", Shard(3, 4))]
)
def test_a_shard_is_one_of_n_counted_from_0(text: str | None, shard: Shard) -> None:
    assert shard_of(text) == shard


@pytest.mark.parametrize("text", ["4/4", "1", "1/0", "-1/4", "a/b"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected I/N with I from 0 to N-1"):
        shard_of(text)


def element(task: int, first: int, step: int, count: int) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        (element(0, 0, 1, 4), Shard(0, 4)),
        (element(8, 1, 1, 8), Shard(7, 8)),
        (element(6, 2, 2, 3), Shard(2, 3)),
    ],
)
def test_an_element_of_a_job_array_is_a_shard(environ: dict[str, str], shard: Shard) -> None:
    assert shard_of("array", environ) == shard


@pytest.mark.parametrize("environ", [{}, element(4, 0, 0, 3), element(3, 0, 2, 2)])
def test_what_is_no_element_that_can_be_counted_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="shard 'array'"):
        shard_of("array", environ)


# Pipes


def piped(base: Path, text: bytes, output: Any = "-", **more: Any) -> tuple[Any, str]:
    from hsd.config.loading import load_eval_config
    from hsd.predict.predict_job import PredictJob
    from hsd.predict.predict_pipe import predict_pipe

    config = load_eval_config(
        ["model.device=cpu", "batch_size=2"],
        model={"name": str(base)},
        data_file=str(more.pop("file", "-")),
        prompt_template="baseline",
    )
    out = io.StringIO()
    job = PredictJob(config=config, output=str(output), **more)
    return predict_pipe(job, io.BytesIO(text), out), out.getvalue()


def test_a_pipe_of_rows_becomes_a_pipe_of_rows(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsd.predict.predict_pipe.SMALLEST_WINDOW", 2)
    rows = [{"text": text, "n": n} for n, text in enumerate(TEXTS)] + [{"text": "more", "x": 1}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    found, said = piped(tiny_llama, lines + b"{\n", by="n")
    out = [json.loads(line) for line in said.splitlines()]
    kept = [{k: v for k, v in row.items() if not k.startswith("hsd_")} for row in out]
    assert kept == [*rows, {}]
    assert found.shares.whole.rows == 6
    assert found.shares.whole.labelled == 4


def test_a_pipe_of_csv_is_read_as_csv(tiny_llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    piped(tiny_llama, b'text,n\n"a, b",1\n=c,2\n', output)
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [(row["text"], row["n"]) for row in rows] == [("a, b", "1"), ("'=c", "2")]
    with pytest.raises(PreflightError, match="is there already"):
        piped(tiny_llama, b"text,n\na,1\n", output)


def test_a_file_can_be_written_to_standard_output(tiny_llama: Path, tmp_path: Path) -> None:
    data = jsonl(tmp_path / "posts.jsonl", posts(5))
    _, said = piped(tiny_llama, b"", file=data)
    assert [json.loads(line)["id"] for line in said.splitlines()] == [f"p{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("text", "more", "error", "said"),
    [
        (b"", {}, DataError, "standard input:1: the file is empty"),
        (b'{"body": "x"}\n', {}, DataError, "standard input:1: no column 'text'"),
        (b"\xff\n", {}, DataError, "not UTF-8"),
        (b'{"text": "x"}\n', {"shard": Shard(0, 2)}, ConfigError, "by one process"),
        (b'{"text": "x"}\n', {"output": "s.parquet"}, ConfigError, r"write \.jsonl or \.csv"),
    ],
)
def test_what_a_pipe_cannot_hold_is_refused_in_a_line(
    text: bytes, more: dict[str, Any], error: type[Exception], said: str, tiny_llama: Path
) -> None:
    with pytest.raises(error, match=said):
        piped(tiny_llama, text, **more)


def test_the_command_writes_data_alone_to_standard_output(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.predict import predict

    monkeypatch.setenv("SLURM_JOB_ID", "1")  # where other commands begin with a line of the host
    row = json.dumps({"text": TEXTS[0]}) + "\n"
    result = CliRunner().invoke(predict, flags(tiny_llama, "-", "-", "--by=text"), input=row)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["hsd_label"] in ("hate", "normal")
    assert "No threshold is frozen" in result.stderr


# Notebooks


def test_a_detector_says_what_the_command_writes(tiny_llama: Path, tmp_path: Path) -> None:
    from jobs.predict import predict

    data = jsonl(tmp_path / "posts.jsonl", [{"text": text} for text in TEXTS])
    output = tmp_path / "scores.jsonl"
    arguments = flags(tiny_llama, data, output, "--threshold=0.55")
    result = CliRunner().invoke(predict, arguments)
    assert result.exit_code == 0, result.output
    rows = read_objects(output)
    settings = ["model.device=cpu", "prompt_template=baseline", "batch_size=2"]
    detector = hsd.Detector(tiny_llama, settings, threshold=0.55)
    scores = detector.score(TEXTS)
    assert scores[2] is None
    assert [s for s in scores if s is not None] == pytest.approx(
        [row["hsd_score"] for row in rows if row["hsd_score"] is not None], abs=1e-6
    )
    found = detector.predict(TEXTS)
    assert [one.label for one in found] == [row["hsd_label"] for row in rows]
    assert found[2].reason == "no text in 'text'"
    assert detector.rule.threshold == 0.55


def test_a_detector_takes_a_list(tiny_llama: Path) -> None:
    detector = hsd.Detector(str(tiny_llama), ["model.device=cpu", "prompt_template=baseline"])
    with pytest.raises(TypeError, match=r"write \[text\]"):
        detector.score("the new bakery opens on monday")
    assert detector.score([]) == []


def test_importing_the_detectors_name_loads_no_torch() -> None:
    import subprocess

    code = "import sys, hsd; 'Detector' in dir(hsd); sys.exit('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
