"""One command as one job: its plan, its folder, and what a container must see of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sweeps

from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from slurm.cluster.client import CommandFailed
from slurm.run import submissions
from slurm.run.submissions import Submitted
from slurm.submit.awaited_job import still_to_wait
from slurm.submit.single_job import Single, paths_in, paths_of


@pytest.fixture
def single(tmp_path: Path) -> Single:
    return Single(
        "train",
        ("--config", "a.json", "--output-dir", "out"),
        "one",
        sweeps.cluster(tmp_path / "runs"),
        sweeps.code(tmp_path / "source"),
        Path.cwd(),
    )


def test_it_runs_the_command_where_it_was_submitted(single: Single) -> None:
    (order,) = single.prepared().orders["train"]
    command = "/opt/hsd/python -m jobs.train --config a.json --output-dir out"
    assert " ".join(order.commands[0]) == command
    assert order.cwd == str(Path.cwd())
    assert not single.folder.path.exists()


@pytest.mark.parametrize("after", ["12", "12_3"])
def test_it_may_wait_for_a_job_of_any_name(single: Single, after: str) -> None:
    (stage,) = replace(single, after=after).plan().stages
    assert [(edge.kind, edge.stage) for edge in stage.after] == [("afterok", after)]
    assert single.plan().stages[0].after == ()


def test_its_time_limit_may_be_another(single: Single) -> None:
    assert replace(single, time_min=90).plan().stages[0].resources.time_min == 90
    with pytest.raises(PreflightError, match="--time: 1 minutes are over before"):
        replace(single, time_min=1).plan()


@pytest.mark.parametrize(
    ("given", "shards", "names"),
    [
        ((), 1, ["progress.json"]),
        ((), 2, ["progress.shard-0-of-2.json", "progress.shard-1-of-2.json"]),
        (("--shard=1/4",), 1, ["progress.shard-1-of-4.json"]),
    ],
)
def test_the_supervisor_of_a_shard_looks_at_the_progress_of_that_shard(
    single: Single, given: tuple[str, ...], shards: int, names: list[str]
) -> None:
    arguments = ("--model-name", "base", "--output-dir=out", *given)
    command = replace(single, kind="evaluate", arguments=arguments, shards=shards)
    found = [order.progress for order in command.prepared().orders["evaluate"]]
    assert found == [(str(Path.cwd() / "out"), f"**/{name}") for name in names]


def test_a_gate_asks_for_what_a_comparison_does(single: Single) -> None:
    gate = replace(single, kind="gate", arguments=("runs/eval", "--reference", "runs/base"))
    (stage,) = gate.plan().stages
    assert (stage.name, stage.resources) == ("gate", single.profile.stages.compare)
    (order,) = gate.prepared().orders["gate"]
    assert order.commands[0][2:4] == ("jobs.gate", "runs/eval")
    assert replace(gate, time_min=90).plan().stages[0].resources.time_min == 90


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "two words"])
def test_a_name_is_a_folder_s(single: Single, name: str) -> None:
    with pytest.raises(PreflightError, match=f"--name {name}: expected letters, digits"):
        replace(single, name=name).prepared()


def test_a_name_is_taken_by_jobs_and_not_by_what_was_taken_back(single: Single) -> None:
    single.prepared()
    single.write()
    single.prepared()
    one = Submitted(1, "train", "train", "7", ("train",), "now", 0, 60)
    submissions.append_submission(single.folder.path, one)
    with pytest.raises(PreflightError, match="a run of this name is there; choose another --name"):
        single.prepared()
    submissions.append_submission(single.folder.path, {"cancelled": "7", "at": "now"})
    assert single.prepared().number == 2


def test_another_command_or_code_is_other_content(single: Single, tmp_path: Path) -> None:
    others = [
        single,
        replace(single, arguments=("--config", "b.json")),
        replace(single, code=sweeps.code(tmp_path / "other", "answer = 43\n")),
    ]
    assert len({other.prepared().orders["train"][0].identity for other in others}) == 3


def test_what_is_known_of_it_reads_like_a_run(single: Single) -> None:
    single.write()
    facts = read_json(single.folder.run_json)
    assert (facts["kind"], facts["name"]) == ("train", "one")
    assert single.folder.cell_names() == ["train"]
    assert facts["code"] == single.tree[:12]


def test_a_container_sees_what_arguments_name_and_not_what_lies_beside_it(tmp_path: Path) -> None:
    for name in ("data/rows.jsonl", "model/config.json"):
        write_json(tmp_path / name, {})
    arguments = ("--data_file=data/rows.jsonl", "--model_name", "model", "--set", "a=no/such", "x")
    found = paths_in(arguments, tmp_path)
    assert found == (tmp_path / "data" / "rows.jsonl", tmp_path / "model")


def test_a_training_in_a_container_sees_what_its_config_names(tmp_path: Path) -> None:
    for name in ("data/train.jsonl", "base/config.json", "first/x", "words.json"):
        write_json(tmp_path / name, {})
    config = TrainConfig.model_validate(
        {
            "data": {"train_file": "data/train.jsonl", "validation_file": "data/gone.jsonl"},
            "model": {"name": "./base"},
            "prompt": {"template": "words.json"},
            "training": {"init_from": Path("first")},
        }
    )
    found = {str(path.relative_to(tmp_path)) for path in paths_of(config, tmp_path)}
    assert found == {"data/train.jsonl", "base", "words.json", "first"}
    named = TrainConfig.model_validate({"model": {"name": "owner/base"}})
    assert paths_of(named, tmp_path / "elsewhere") == ()


class Told:
    """A stand-in for SLURM's programs that knows one job, by the controller or by sacct alone."""

    def __init__(self, shown: str = "", accounted: str | None = None) -> None:
        self.shown, self.accounted = shown, accounted

    def text(self, *_argv: str) -> str:
        if not self.shown:
            raise CommandFailed("scontrol", 1, "Invalid job id specified")
        return self.shown

    def accounting(self, _ids: list[str]) -> str | None:
        lines = (self.accounted or "").splitlines()
        return None if self.accounted is None else "".join(map(_whole, lines))


def _whole(line: str) -> str:
    """Return a line with as many columns as sacct is asked for."""
    return f"{line}{'|' * (13 - line.count('|'))}\n"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Told("JobId=7 JobState=PENDING Reason=Priority"), True),
        (Told("JobId=8 ArrayTaskId=0 JobState=COMPLETED\nJobId=9 JobState=RUNNING"), True),
        (Told("JobId=7 JobState=COMPLETED"), False),
        (
            Told(
                "JobId=9 ArrayJobId=7 ArrayTaskId=1 JobState=RUNNING",
                accounted="7_0|COMPLETED|0:0\n7_1|NODE_FAIL|0:0\n",
            ),
            True,
        ),
        (  # an array of years ago had the same id
            Told(
                "JobId=9 ArrayJobId=7 ArrayTaskId=1 JobState=RUNNING SubmitTime=2030-01-01",
                accounted="7_5|FAILED|1:0|0:0||2026-01-01\n",
            ),
            True,
        ),
        (Told("JobId=7 JobState=RUNNING SubmitLine=sbatch --wrap grep JobState=FAILED"), True),
        (Told(accounted="7|COMPLETED|0:0\n"), False),
        (Told(accounted="7|NODE_FAIL|0:0\n7|REQUEUED|0:0\n7|COMPLETED|0:0\n"), False),
    ],
)
def test_a_job_that_has_ended_well_is_not_waited_for(told: Any, expected: bool) -> None:
    assert still_to_wait("7", told) is expected


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Told("JobId=7 JobState=FAILED"), "--after 7: it is FAILED, so this would never start"),
        (Told(accounted="7|CANCELLED by 5|0:0\n"), "it is CANCELLED, so"),
        (
            Told(
                "JobId=9 ArrayJobId=7 ArrayTaskId=1 JobState=RUNNING",
                accounted="7_0|FAILED|1:0\n7_1|NODE_FAIL|0:0\n",
            ),
            "it is FAILED, so",
        ),
        (Told(accounted=""), "--after 7: SLURM knows no such job; see `squeue` and `sacct`"),
        (Told(accounted=None), "knows no such job"),
    ],
)
def test_a_job_that_can_not_end_well_any_more_is_refused(told: Any, said: str) -> None:
    with pytest.raises(PreflightError, match=said):
        still_to_wait("7", told)


def test_an_argument_that_holds_a_secret_is_refused_since_the_folder_would_keep_it(
    single: Single,
) -> None:
    with pytest.raises(PreflightError, match=r"looks like a secret, .* \[secrets\]") as caught:
        replace(single, arguments=("--set", "model.name=hf_abcdefghijklmnopqrst")).prepared()
    assert "abcdefgh" not in str(caught.value)
