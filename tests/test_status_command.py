"""`hsd status`, `logs`, `cancel` and `cost` on one run, with a stand-in for SLURM on PATH."""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hsd.io.files import write_json
from hsd.io.progress_file import PROGRESS
from jobs.cancel import cancel
from jobs.cost import cost
from jobs.logs import logs
from jobs.status import status
from jobs.terminal import progress_table
from jobs.terminal.console import Terminal
from jobs.terminal.progress_table import duration
from jobs.terminal.status_table import status_table
from slurm.node.events import attempts, record
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder, remember
from slurm.run.run_state import slurm_of
from slurm.run.submissions import Submitted, append_submission
from slurm.watch.log_files import attempt, first_error
from slurm.watch.overview import overview
from slurm.watch.stage_progress import StageProgress, stage_progress

CELLS = ("default", "high_capacity", "memory_efficient", "quick_test-rank=8-seed=1")
QUEUE = """\
7|0|7_0|COMPLETED|0:02|4:00:00|2026-11-27T01:25:10|gpu1|(null)||hsd-lora_presets-train||None
7|1|7_1|FAILED|0:02|4:00:00|2026-11-27T01:25:10|gpu1|(null)||hsd-lora_presets-train||NonZeroExitCode
7|2|7_2|RUNNING|20:00|4:00:00|2026-11-27T01:25:10|gpu1|(null)||hsd-lora_presets-train||None
7|3|7_3|PENDING|0:00|4:00:00|2026-11-28T18:30:00||(null)||hsd-lora_presets-train||QOSMaxGRESPerUser
8|0|8_0|RUNNING|5:00|1:00:00|2026-11-27T01:25:10|gpu2|(null)||hsd-lora_presets-evaluate||None
8|1|8_1|CANCELLED|0:00|1:00:00|N/A||aftercorr:7_*(failed)||hsd-lora_presets-evaluate||DependencyNeverSatisfied
8|2|8_2|PENDING|0:00|1:00:00|N/A||aftercorr:7_*(unfulfilled)||hsd-lora_presets-evaluate||Dependency
8|3|8_3|PENDING|0:00|1:00:00|N/A||aftercorr:7_*(failed)||hsd-lora_presets-evaluate||DependencyNeverSatisfied
9|0|9_0|TIMEOUT|1:00:10|1:00:00|N/A||(null)||hsd-lora_presets-baseline||TimeLimit
10|0|10_0|PENDING|0:00|10:00|N/A||afterany:8_*(unfulfilled)||hsd-lora_presets-compare||Dependency
"""
SACCT = """\
7_0|REQUEUED|0:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T01:30:00|1800|gres/gpu=4|gpu1||hsd-lora_presets-train|
7_0|COMPLETED|0:0|0:0|None|2026-11-27T02:00:00|2026-11-27T02:00:00|2026-11-27T03:30:00|5400|gres/gpu=4|gpu1||hsd-lora_presets-train|
7_1|FAILED|12:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T02:30:00|900|gres/gpu=4|gpu1||hsd-lora_presets-train|
9_0|TIMEOUT|0:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T02:30:00|3610|gres/gpu=1|gpu1||hsd-lora_presets-baseline|
"""
AT, LATER = "2026-01-01T10:00:00+00:00", "2026-01-01T12:00:00+00:00"


def ago(minutes: float) -> str:
    """A time as progress.json has it."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(timespec="seconds")


def progress_file(folder: Path, unit: str, done: int, total: int, began: tuple[int, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"unit": unit, "done": done, "total": total, "at": ago(0)}
    first = dict(zip(("done", "at"), began, strict=True))
    write_json(folder / PROGRESS, content | {"began": first})


def training(run: RunFolder, cell: str, steps: int, total: int) -> None:
    """A step a minute, the last one now."""
    progress_file(run.train(cell), "steps", steps, total, (0, ago(steps)))


def evaluation(run: RunFolder, cell: str, rows: int, total: int) -> None:
    """Ten minutes for the rows that were answered; five were from before."""
    folder = run.evaluate(cell, "unified") / "run_20260101_100000"
    progress_file(folder, "rows", rows, total, (5, ago(10)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of four cells, each at another point, in a SLURM that says QUEUE and SACCT."""
    monkeypatch.setenv("PATH", str(programs(tmp_path / "bin", squeue=QUEUE, sacct=SACCT)))
    folder = RunFolder(tmp_path / "runs" / "lora_presets")
    cells = [{"name": name} for name in CELLS]
    write_json(folder.run_json, {"cells": cells, "sweep": {"name": "lora_presets"}})
    remember(folder.path)
    for stage, job, names in [
        ("train", "7", CELLS),
        ("evaluate", "8", CELLS),
        ("baseline", "9", ("baseline",)),
        ("compare", "10", ("all",)),
    ]:
        append_submission(folder.path, Submitted(1, stage, stage, job, names, AT, 4, 240))
    write_json(folder.done("default", "train"), {"at": LATER})
    training(folder, "memory_efficient", steps=12, total=42)
    evaluation(folder, "default", rows=105, total=205)
    log = folder.log(1, "train", "7_1", "err")
    log.parent.mkdir(parents=True)
    log.write_text("=== hsd: attempt 1 on gpu1 at 2026 ===\nloading\nError: the loss is [nan].\n")
    return folder


def programs(folder: Path, **printed: str) -> Path:
    """Write programs that print a text, and note what they were asked."""
    folder.mkdir()
    for name in (*printed, "scancel"):
        (folder / f"{name}.txt").write_text(printed.get(name, ""))
        script = f'#!/bin/sh\necho "{name} $*" >> {folder}/ran\n/bin/cat {folder}/{name}.txt\n'
        if name == "scancel":
            script += (
                'for id; do /bin/sed -i "s/|$id|[A-Z]*|/|$id|CANCELLED|/" '
                f"{folder}/squeue.txt; done\n"
            )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def ran(tmp_path: Path, program: str) -> list[str]:
    lines = (tmp_path / "bin" / "ran").read_text().splitlines()
    return [line for line in lines if line.startswith(program)]


def invoke(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


# hsd status


NOW = datetime(2026, 11, 27, 12, 0, 30).astimezone()
"""The clock in what is compared with golden files; half a minute past, so that it is no matter of
luck which minute something is in."""


@pytest.mark.parametrize("columns", [80, 120])
def test_status_is_a_line_a_cell_what_runs_then_causes_and_what_to_type(
    columns: int,
    run: RunFolder,
    golden: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(progress_table, "now_here", lambda: NOW)
    shown = invoke(status, "lora_presets").output
    assert max(map(len, shown.splitlines())) <= columns
    name = "status.txt" if columns == 80 else f"status_{columns}.txt"
    golden(name, "".join(f"{line.rstrip()}\n" for line in shown.splitlines()))


def test_status_asks_slurm_once_each(run: RunFolder, tmp_path: Path) -> None:
    invoke(status)
    assert len(ran(tmp_path, "squeue")) == len(ran(tmp_path, "sacct")) == 1


def test_status_as_json_holds_states_causes_and_slurms_own_words(run: RunFolder) -> None:
    shown = json.loads(invoke(status, "last", "--json").output)
    cells = {cell["cell"]: cell for cell in shown["cells"]}
    assert list(cells) == [*CELLS, "baseline", "all"]
    assert cells["high_capacity"]["state"] == "failed"
    train = cells["high_capacity"]["stages"]["train"]
    assert (train["state"], train["slurm"], train["code"]) == ("failed", "FAILED", 12)
    assert (train["cause"], train["next"]) == (
        "the loss is [nan].",
        "hsd logs lora_presets/high_capacity/train",
    )
    progress = cells["memory_efficient"]["stages"]["train"]["progress"]
    assert (progress["done"], progress["total"]) == (12, 42)
    assert cells["default"]["stages"]["train"]["attempts"] == 2
    assert shown["states"] == {"running": 2, "failed": 2, "waiting": 1}


def test_status_ends_well_whatever_it_shows(run: RunFolder) -> None:
    assert invoke(status).exit_code == 0


def test_names_from_files_are_no_markup(tmp_path: Path) -> None:
    folder = RunFolder(Path("runs") / "mine")
    write_json(folder.run_json, {"cells": [{"name": "[red]a"}]})
    record(folder.attempts("[red]a", "train"), "started", job="local1-train_0")
    record(folder.attempts("[red]a", "train"), "ended", job="local1-train_0", code=1)
    assert "[red]a/train: exit code 1" in invoke(status, "runs/mine").output


def test_a_run_that_was_never_submitted_says_so() -> None:
    write_json(Path("runs/mine/run.json"), {"cells": []})
    assert "mine: nothing was submitted yet" in invoke(status, "mine").output


def test_watching_ends_when_all_is_over(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "bin" / "squeue.txt").write_text("")
    shown = invoke(status, "last", "--watch", "--every", "2")
    assert shown.exit_code == 0
    assert "high_capacity" in shown.output


def test_a_table_that_must_be_short_counts_the_cells_that_wait_or_are_done(run: RunFolder) -> None:
    seen = overview(run.path, slurm_of(run), run.name, run.name)
    console = Terminal(width=80)
    with console.capture() as captured:
        console.print(status_table(seen, most=3))
    shown = captured.get()
    assert "... and 2 cells more: 1 waiting, 1 failed" in shown
    assert "high_capacity " in shown


def test_the_next_command_has_the_path_of_a_run_that_its_name_does_not_find(
    run: RunFolder, tmp_path: Path
) -> None:
    other = RunFolder(tmp_path / "else where" / "lora_presets")
    write_json(other.run_json, {"cells": []})
    record(other.attempts("a", "train"), "ended", job="local1-train_0", code=1)
    shown = invoke(status, str(other.path)).output
    assert "  hsd logs '../else where/lora_presets'/a/train" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (59.9, "60 s"), (90, "2 min"), (3700, "1 h 02")]
)
def test_a_time_to_wait_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# How far


def test_a_resumed_training_is_timed_by_its_own_pace(run: RunFolder) -> None:
    progress_file(run.train("default"), "steps", 4, 42, (2, ago(4)))
    found = stage_progress(run, Element("train", "default", "7_0", "running"))
    assert found is not None
    assert (found.done, found.total) == (4, 42)
    assert found.left_s == pytest.approx(38 * 120, abs=30)


def test_rows_from_before_do_not_make_it_faster(
    run: RunFolder,
) -> None:
    found = stage_progress(run, Element("evaluate", "default", "8_0", "running"))
    assert found is not None
    assert (found.done, found.total, found.unit) == (105, 205, "rows")
    assert found.left_s == pytest.approx(600, abs=30)


def test_rows_of_the_other_ranks_count_when_the_first_is_done(run: RunFolder) -> None:
    evaluation(run, "memory_efficient", rows=100, total=205)
    (folder,) = (run.cell("memory_efficient") / "evaluate").glob("*/run_*")
    for rank, rows in enumerate((100, 50)):
        part = folder / f"predictions.rank{rank}.jsonl"
        part.write_text("{}\n" * rows)
        os.utime(part, (time.time(), time.time() + rank * 60))  # long after the first rank's word
    found = stage_progress(run, Element("evaluate", "memory_efficient", "8_2", "running"))
    assert found is not None
    assert found.done == 150


def test_predictions_are_not_read_while_the_first_rank_still_counts_them(run: RunFolder) -> None:
    evaluation(run, "memory_efficient", rows=100, total=205)
    (folder,) = (run.cell("memory_efficient") / "evaluate").glob("*/run_*")
    (folder / "predictions.rank0.jsonl").write_text("{}\n" * 101)
    found = stage_progress(run, Element("evaluate", "memory_efficient", "8_2", "running"))
    assert found is not None
    assert found.done == 100


def test_what_an_earlier_start_wrote_has_no_pace(run: RunFolder) -> None:
    training(run, "default", steps=12, total=42)
    again = Element("train", "default", "7_0", "running", began=ago(-1))
    assert stage_progress(run, again) == StageProgress(12, 42, "steps")


def test_who_wrote_nothing_for_long_has_no_pace_and_no_end(run: RunFolder) -> None:
    training(run, "default", steps=12, total=42)
    file = run.train("default") / PROGRESS
    content = json.loads(file.read_text())
    write_json(file, content | {"at": ago(60), "began": {"done": 0, "at": ago(72)}})
    found = stage_progress(run, Element("train", "default", "7_0", "running"))
    assert found is not None
    assert (found.per_s, found.left_s) == (None, None)
    assert found.quiet_s == pytest.approx(3600, abs=30)


def test_a_step_that_takes_long_is_waited_for(run: RunFolder) -> None:
    training(run, "default", steps=12, total=42)
    file = run.train("default") / PROGRESS
    content = json.loads(file.read_text())
    write_json(file, content | {"at": ago(60), "began": {"done": 0, "at": ago(60 + 12 * 50)}})
    found = stage_progress(run, Element("train", "default", "7_0", "running"))
    assert found is not None
    assert found.quiet_s is None
    assert found.left_s == pytest.approx((30 * 50 - 60) * 60, abs=60)


def test_of_several_sets_it_is_said_which_one_is_answered(run: RunFolder) -> None:
    evaluation(run, "default", rows=105, total=205)
    before = run.evaluate("default", "other") / "run_20260101_090000"
    progress_file(before, "rows", 50, 50, (0, ago(20)))
    os.utime(before / PROGRESS, (0, 0))
    (run.evaluate("default", "third") / "run_20260101_110000").mkdir(parents=True)
    found = stage_progress(run, Element("evaluate", "default", "8_0", "running"), sets=3)
    assert found is not None
    assert (found.part, found.parts) == (2, 3)


def test_what_was_requeued_stands_where_it_was_and_has_no_pace(
    run: RunFolder, tmp_path: Path
) -> None:
    record(run.attempts("memory_efficient", "train"), "requeued", job="7_2")
    file = tmp_path / "bin" / "squeue.txt"
    file.write_text(file.read_text().replace("7_2|RUNNING", "7_2|PENDING"))
    shown = json.loads(invoke(status, "last", "--json").output)
    cells = {cell["cell"]: cell["stages"] for cell in shown["cells"]}
    train = cells["memory_efficient"]["train"]
    assert (train["state"], train["progress"]["done"]) == ("requeued", 12)
    assert (train["progress"]["per_s"], train["progress"]["finish"]) == (None, None)


def test_before_the_first_step_there_is_no_pace(run: RunFolder) -> None:
    training(run, "default", steps=0, total=42)
    assert stage_progress(run, Element("train", "default", "7_0", "running")) == StageProgress(
        0, 42, "steps"
    )
    assert stage_progress(run, Element("train", "high_capacity", "7_1", "running")) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"done": 1}', '{"done": "x", "began": {}}'])
def test_a_progress_file_that_says_nothing_is_no_progress(run: RunFolder, content: str) -> None:
    training(run, "default", steps=3, total=42)
    (run.train("default") / PROGRESS).write_text(content)
    assert stage_progress(run, Element("train", "default", "7_0", "running")) is None


# hsd logs


def test_logs_of_a_run_are_where_they_are(run: RunFolder) -> None:
    path = run.log(1, "train", "7_1", "err")
    assert invoke(logs, "last").output == f"high_capacity/train (failed): {path}\n"


def test_logs_without_a_run_are_of_the_newest_as_status_and_cost_are(run: RunFolder) -> None:
    assert invoke(logs).output == invoke(logs, "last").output


@pytest.mark.parametrize("target", ["last/high_capacity", "lora_presets/high_capacity/train"])
def test_logs_of_a_cell_are_its_newest_stages(run: RunFolder, target: str) -> None:
    shown = invoke(logs, target).output
    assert "_log.err <==\n=== hsd: attempt 1" in shown
    assert shown.endswith("loading\nError: the loss is [nan].\n")


def test_the_first_error_is_shown_without_what_was_before(run: RunFolder) -> None:
    shown = invoke(logs, "last", "--first-error").output
    assert shown.splitlines()[1:] == ["Error: the loss is [nan]."]


def test_an_unknown_stage_is_answered_with_those_there_are(run: RunFolder) -> None:
    result = CliRunner().invoke(logs, ["last/high_capacity/trian"])
    assert "no logs of 'trian'. Did you mean 'train'?" in str(result.exception)


def test_following_shows_what_is_written_until_the_element_ends(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:

    log = run.log(1, "train", "7_2", "out")
    log.write_text("one\n")
    written = iter(["two\n", "three\n"])

    def meanwhile(_: float) -> None:
        line = next(written, None)
        if line is None:
            write_json(run.done("memory_efficient", "train"), {"at": LATER})
        else:
            log.write_text(log.read_text() + line)

    monkeypatch.setattr(time, "sleep", meanwhile)
    shown = invoke(logs, "last/memory_efficient/train", "-f").output
    assert shown.splitlines()[1:] == ["one", "two", "three"]


LOG = """\
=== hsd: attempt 1 on gpu1 at 2026 ===
a
=== hsd: attempt 2 on gpu2 at 2026 ===
b
"""


@pytest.mark.parametrize(("number", "ends"), [(1, "a\n"), (2, "b\n"), (None, "b\n"), (3, "")])
def test_an_attempt_is_a_part_of_the_log(number: int | None, ends: str) -> None:
    part = attempt(LOG, number)
    assert part.endswith(ends)
    assert part.count("===") == (2 if ends else 0)


def test_a_log_without_attempts_is_the_first_ones() -> None:
    assert attempt("a\n") == attempt("a\n", 1) == "a\n"
    assert attempt("a\n", 2) == ""


def test_a_warning_is_no_first_error() -> None:
    log = "UserWarning: an error may follow\nTraceback (most recent call last):\n  x\nKeyError: 1\n"
    assert first_error(log).startswith("Traceback")
    assert first_error("all is well\n") == ""


# hsd cancel


def test_cancelling_goes_from_the_leaves_to_the_training(run: RunFolder, tmp_path: Path) -> None:
    shown = invoke(cancel, "last").output
    assert ran(tmp_path, "scancel") == [
        "scancel 10_0",
        "scancel 8_0 8_2 8_3",
        "scancel 7_2 7_3",
    ]
    assert "cancelled memory_efficient/train (7_2, was running)" in shown
    assert shown.endswith("To continue: hsd resubmit lora_presets\n")
    assert attempts(run.attempts("all", "compare"))[-1]["event"] == "cancelled"


def test_what_scancel_left_in_the_queue_does_not_count_as_cancelled(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slurm.cluster.client.time.sleep", lambda _: None)
    (tmp_path / "bin" / "scancel").write_text(
        "#!/bin/sh\necho 'scancel: error: Invalid job id specified' >&2; exit 1\n"
    )
    result = CliRunner().invoke(cancel, ["last"])
    assert str(result.exception) == "scancel: 10_0: not seen to be gone; try again in a minute"
    assert attempts(run.attempts("all", "compare")) == []
    gone = QUEUE.replace("10|0|10_0|PENDING", "10|0|10_0|CANCELLED").replace("PENDING", "COMPLETED")
    (tmp_path / "bin" / "squeue.txt").write_text(gone.replace("RUNNING", "COMPLETING"))
    assert invoke(cancel, "last/default").exit_code == 0  # it ended by itself meanwhile


def test_a_job_that_has_a_run_s_id_by_now_is_not_cancelled(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "bin" / "squeue.txt"
    file.write_text(QUEUE.replace("|hsd-lora_presets-train|", "|not-hsd|"))
    assert "7_2" not in invoke(cancel, "last").output
    assert not any("7_" in line for line in ran(tmp_path, "scancel"))
    assert "7 is another job by now (not-hsd of " in invoke(status, "last").output


def test_cancelling_a_cell_leaves_the_others(run: RunFolder, tmp_path: Path) -> None:
    invoke(cancel, "last/memory_efficient")
    assert ran(tmp_path, "scancel") == ["scancel 8_2", "scancel 7_2"]


def test_only_what_can_never_start_is_stuck(run: RunFolder, tmp_path: Path) -> None:
    invoke(cancel, "last", "--stuck")
    assert ran(tmp_path, "scancel") == ["scancel 8_3"]
    (tmp_path / "bin" / "squeue.txt").write_text("")
    assert invoke(cancel, "last", "--stuck").output == "No job is stuck.\n"


def test_nothing_is_cancelled_when_the_queue_cannot_be_asked(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    result = CliRunner().invoke(cancel, ["last"])
    assert "SLURM does not answer" in str(result.exception)
    assert str(result.exception).endswith("Nothing was cancelled.")
    assert ran(tmp_path, "scancel") == []


def test_a_run_in_no_queue_is_not_cancelled() -> None:
    write_json(Path("runs/mine/run.json"), {"cells": []})
    result = CliRunner().invoke(cancel, ["mine"])
    assert "mine is in no queue" in str(result.exception)


# hsd cost


def test_cost_counts_every_attempt(run: RunFolder, golden: Callable[[str, str], None]) -> None:
    shown = invoke(cost, "last").output
    golden("cost.txt", "".join(f"{line.rstrip()}\n" for line in shown.splitlines()))


def test_several_runs_are_a_line_each_and_none_counts_twice(run: RunFolder) -> None:
    other = Path("runs/other")
    write_json(other / "run.json", {"cells": []})
    shown = invoke(cost, "last", "other", "lora_presets").output
    lines = [line.split() for line in shown.splitlines() if line.startswith((" l", " o", " t"))]
    assert [(words[0], words[-2]) for words in lines] == [
        ("lora_presets", "10.00"), ("other", "0.00"), ("total", "10.00")
    ]  # fmt: skip
    assert [one["run"] for one in json.loads(invoke(cost, "last", "other", "--json").output)] == [
        run.name, "other"
    ]  # fmt: skip


def test_cost_as_json(run: RunFolder) -> None:
    shown = json.loads(invoke(cost, "last", "--json").output)
    assert shown["gpu_hours"] == 10.0028
    assert shown["attempts"] == 4
    assert shown["cells"][0] == {
        "cell": "default",
        "stage": "train",
        "attempts": 2,
        "elapsed_s": 7200,
        "gpu_hours": 8.0,
    }
