"""`hsd evaluate` in real processes: signalled while it loads, answers and waits for others."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ranks import Blow, Ended, hsd_command
from small_runs import jsonl, posts

from hsd.evaluation.shards import part
from hsd.report.predictions import PREDICTIONS, read_predictions

pytestmark = [pytest.mark.model, pytest.mark.e2e]

ROWS = 7
GO_ON = "rows; run the same command again to go on."

Start = Callable[..., list[Ended]]


def answers(run: Path) -> list[tuple[Any, ...]]:
    return [(p.id, p.reply, p.label) for p in read_predictions(run / PREDICTIONS)]


def started(
    folder: Path, base: Path, output: Path, rows: int, *more: Any, **how: Any
) -> list[Ended]:
    file = jsonl(folder / f"{rows}.jsonl", posts(rows))
    given = {
        "model_name": base,
        "data_file": file,
        "output_dir": output,
        "prompt_template": "baseline",
        "mode": "generate",
        "max_new_tokens": 4,
        "batch_size": 2,
    }
    flags = [f"--{name}={value}" for name, value in given.items()]
    return hsd_command("evaluate", folder, [*flags, "--set=model.device=cpu"], *more, **how)


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed evaluation in one process."""
    folder = tmp_path_factory.mktemp("whole")
    (ended,) = started(folder, tiny_llama, folder / "eval", ROWS)
    assert ended.code == 0, ended.said
    (run,) = (folder / "eval").iterdir()
    return run


@pytest.fixture
def start(tiny_llama: Path, tmp_path: Path) -> Start:
    """Give `start(ranks, blow)`: begin the evaluation in a folder of this test, or go on."""

    def run(*how: Any, rows: int = ROWS, **more: Any) -> list[Ended]:
        return started(tmp_path, tiny_llama, tmp_path / "eval", rows, *how, **more)

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_keeps_the_rows_in_hand_and_the_same_command_answers_the_rest(
    number: int, whole: Path, start: Start, tmp_path: Path
) -> None:
    (ended,) = start(1, Blow([number], at=2, what="rows"))
    assert ended.code == 75, ended.said
    assert ended.said.endswith(f"answered 2 of 7 {GO_ON}\n")
    assert "Traceback" not in ended.said
    (run,) = (tmp_path / "eval").iterdir()
    assert len(read_predictions(part(run, 0))) == 2
    (ended,) = start(1)
    assert ended.code == 0, ended.said
    assert answers(run) == answers(whole)


def test_a_signal_that_is_repeated_is_one_request(start: Start) -> None:
    (ended,) = start(1, Blow([signal.SIGUSR2, signal.SIGTERM] * 5, at=4, what="rows"))
    assert ended.code == 75, ended.said
    assert ended.said.endswith(f"answered 4 of 7 {GO_ON}\n")


def test_a_second_ctrl_c_ends_it_at_once(start: Start) -> None:
    (ended,) = start(1, Blow([signal.SIGINT] * 2, at=2, what="rows"))
    assert ended.code == 130, ended.said


def test_a_signal_after_the_last_row_does_not_stop_what_is_done(start: Start) -> None:
    (ended,) = start(1, Blow([signal.SIGUSR2], at=7, what="rows"))
    assert ended.code == 0, ended.said
    assert "Written:" in ended.said


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_signal_while_the_model_is_loaded_stops_before_there_is_a_folder(
    ranks: int, start: Start, tmp_path: Path
) -> None:
    ended = start(ranks, Blow([signal.SIGUSR2], at=0, what="loading", rank=ranks - 1))
    assert [rank.code for rank in ended] == [75] * ranks, ended
    assert all(rank.said.endswith(f"answered 0 of 7 {GO_ON}\n") for rank in ended)
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_of_two_ranks_stops_both_and_both_go_on(
    rank: int, whole: Path, start: Start, tmp_path: Path
) -> None:
    ended = start(2, Blow([signal.SIGUSR2], at=2, what="rows", rank=rank))
    # The other one stops after some batch, or waits for this one and stops then.
    assert [one.code for one in ended] == [75, 75], ended
    assert all(one.said.endswith(GO_ON + "\n") for one in ended)
    assert all("Traceback" not in one.said for one in ended)
    (run,) = (tmp_path / "eval").iterdir()
    ended = start(2)
    assert [one.code for one in ended] == [0, 0], ended
    assert answers(run) == answers(whole)


def test_a_rank_that_waits_for_one_that_was_killed_ends_too(start: Start, tmp_path: Path) -> None:
    blow = Blow([signal.SIGKILL], at=2, what="rows", rank=0)
    ended = start(2, blow, rows=3, launcher=False)  # the second rank has but one row
    assert [one.code for one in ended] == [-signal.SIGKILL, 75], ended
    # Whether it has answered its own row by then is a matter of speed.
    ends = tuple(f"answered {answered} of 3 {GO_ON}\n" for answered in (2, 3))
    assert ended[1].said.endswith(ends)
    ended = start(2, rows=3)
    assert [one.code for one in ended] == [0, 0], ended
    assert list((tmp_path / "eval").rglob(".lease*")) == []  # of the killed one too
