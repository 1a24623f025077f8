"""A node that fails jobs is excluded, said, and used again only when a person says so."""

from pathlib import Path

import pytest
import sweeps

from hsd.errors import PreflightError
from slurm.cluster.profile import Profile
from slurm.node.events import record
from slurm.run import submissions
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import states
from slurm.run.submissions import Submitted
from slurm.submit.resubmission import resubmission
from slurm.submit.work import Work
from slurm.submit.write_run import write_run
from slurm.watch.failed_nodes import (
    NodeFailure,
    choose_nodes,
    excluded_nodes,
    node_events,
    node_failures,
)
from slurm.watch.overview import overview

CELLS = ("default", "high_capacity", "demo")
NO_GPU = "Error: torch sees no GPU.\nError code: GPU_NOT_FOUND\n"


def failure(cell: str, job: str, node: str = "gpu3") -> NodeFailure:
    return NodeFailure(node, cell, job, f"no GPU was found on {node}")


def failed(node: str, slurm: str = "NODE_FAIL") -> Element:
    return Element("train", "a", "7_0", "failed", slurm=slurm, node=node)


def test_one_failure_may_be_chance_and_two_cells_are_the_node() -> None:
    assert not choose_nodes([], [failure("a", "7_0")]).names
    assert choose_nodes([], [failure("a", "7_0"), failure("b", "7_1")]).names == ("gpu3",)


def test_one_cell_that_fails_twice_on_a_node_may_be_the_cell() -> None:
    first = choose_nodes([], [failure("a", "7_0")])
    assert not choose_nodes(first.events, [failure("a", "9_0")]).names


def test_failures_of_several_submissions_count_together() -> None:
    first = choose_nodes([], [failure("a", "7_0")])
    second = choose_nodes(first.events, [failure("b", "9_1")])
    assert second.names == ("gpu3",)
    assert second.excluded[0].cells == ("a", "b")


def test_one_job_counts_once_however_often_it_is_looked_at() -> None:
    first = choose_nodes([], [failure("a", "7_0")])
    assert not choose_nodes(first.events, [failure("a", "7_0")]).events


def test_where_every_node_fails_it_is_not_the_nodes() -> None:
    everywhere = [failure("a", "7_0"), failure("b", "7_1"), *(
        failure(cell, f"7_{at}", "gpu4") for at, cell in enumerate("cd", start=2)
    )]  # fmt: skip
    assert not choose_nodes([], everywhere).names
    assert choose_nodes([], everywhere, all_failed=True).names == ("gpu3", "gpu4")
    assert choose_nodes([], everywhere, well=["gpu5"]).names == ("gpu3", "gpu4")


def test_one_failure_on_a_node_that_ends_jobs_well_does_not_excuse_another_node() -> None:
    failures = [failure(f"c{at}", f"7_{at}") for at in range(20)] + [failure("x", "9_0", "gpu4")]
    assert choose_nodes([], failures, well=["gpu4"]).names == ("gpu3",)


def test_where_nodes_fail_that_ended_jobs_well_before_it_is_not_the_nodes() -> None:
    failures = [failure(cell, f"7_{cell}") for cell in "ab"]
    failures += [failure(cell, f"7_{cell}", "gpu4") for cell in "cd"]
    assert not choose_nodes([], failures, well=["gpu3", "gpu4"]).names


def test_a_node_that_draws_every_job_and_fails_it_is_excluded_though_no_other_was_tried() -> None:
    assert choose_nodes([], [failure(cell, f"7_{cell}") for cell in "abcd"]).names == ("gpu3",)


def test_one_failure_is_enough_where_that_is_asked_for() -> None:
    assert choose_nodes([], [failure("a", "7_0")], all_failed=True).names == ("gpu3",)


def test_a_node_that_was_excluded_stays_so() -> None:
    first = choose_nodes([], [failure("a", "7_0")], all_failed=True)
    assert choose_nodes(first.events, []).names == ("gpu3",)


def test_a_node_that_is_allowed_again_begins_with_a_clean_sheet() -> None:
    first = choose_nodes([], [failure("a", "7_0")], all_failed=True)
    again = choose_nodes(first.events, [], allowed=["gpu3"])
    known = [*first.events, *again.events]
    assert not again.names
    assert not choose_nodes(known, [failure("a", "7_0")], all_failed=True).names
    assert choose_nodes(known, [failure("a", "9_0")], all_failed=True).names == ("gpu3",)


def test_a_node_that_is_not_excluded_cannot_be_allowed() -> None:
    first = choose_nodes([], [failure("a", "7_0")], all_failed=True)
    with pytest.raises(PreflightError, match="gpu4: it is not excluded; excluded: gpu3"):
        choose_nodes(first.events, [], allowed=["gpu4"])


@pytest.mark.parametrize("nodes", ["gpu[3-4]", "gpu3,gpu4"])
def test_of_several_nodes_none_is_blamed(tmp_path: Path, nodes: str) -> None:
    assert not node_failures(RunFolder(tmp_path), [failed(nodes)])


def test_what_is_the_fault_of_the_job_is_not_the_node_s(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert node_failures(folder, [failed("gpu3")])
    assert not node_failures(folder, [failed("gpu3", "TIMEOUT"), failed("gpu3", "OUT_OF_MEMORY")])


@pytest.mark.parametrize(
    ("log", "counts"),
    [
        ("OSError: [Errno 28] No space left on device: '/scratch/x'", True),
        ("OSError: [Errno 28] No space left on device: '{runs}/pair/x'", False),
        ("OSError: [Errno 30] Read-only file system: '/scratch/x'", True),
        ("OSError: [Errno 30] Read-only file system: '{runs}/pair/x'", False),
        ("Error: /scratch/hsd-7: cannot be made on gpu3, or is somebody else's; set ...", True),
        ("AssertionError: Torch not compiled with CUDA enabled", False),
        ("RuntimeError: No CUDA GPUs are available", True),
    ],
)
def test_what_all_nodes_have_in_common_is_no_fault_of_one(
    tmp_path: Path, log: str, counts: bool
) -> None:
    folder = RunFolder(tmp_path / "pair")
    file = folder.log(1, "train", "7_0", "err")
    file.parent.mkdir(parents=True)
    file.write_text(log.format(runs=tmp_path))
    one = Element("train", "a", "7_0", "failed", "exit code 1", "FAILED", node="gpu3", number=1)
    assert bool(node_failures(folder, [one])) == counts


def test_a_run_on_this_machine_has_no_other_node(tmp_path: Path) -> None:
    here = Element("train", "a", "local1-train_0", "failed", slurm="NODE_FAIL", node="laptop")
    assert not node_failures(RunFolder(tmp_path), [here])


def test_nodes_are_excluded_beside_those_of_the_profile() -> None:
    made = Profile.model_validate({"shared_root": "/tmp", "slurm": {"exclude": "gpu[8-9]"}})
    slurm = made.without_nodes(["gpu3"]).slurm
    assert slurm is not None
    assert slurm.exclude == "gpu[8-9],gpu3"
    assert made.without_nodes([]) is made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Return a run of which two cells found no GPU on one node."""
    monkeypatch.setenv("PATH", "")
    work = sweeps.work(tmp_path, sweeps.sweep(presets=CELLS))
    sweeps.write(work, tmp_path)
    one = Submitted(1, "train", "train", "7", CELLS, "2026-01-01T00:00:00+00:00", 0, 60)
    submissions.append_submission(work.folder.path, one)
    for index, cell in enumerate(CELLS[:2]):
        events = work.folder.attempts(cell, "train")
        record(events, "started", job=f"7_{index}", host="gpu3")
        record(events, "ended", job=f"7_{index}", code=3)
        log = work.folder.log(1, "train", f"7_{index}", "err")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(NO_GPU)
    return work


def test_a_resubmission_leaves_a_broken_node_out_and_the_run_s_folder_says_so(run: Work) -> None:
    found = resubmission(run.folder, failed=True)
    script = found.prepared().scripts["train"]
    assert "#SBATCH --exclude=gpu3" in script
    assert not node_events(run.folder.path), "a dry run writes nothing"

    write_run(found)

    assert [one.node for one in excluded_nodes(run.folder)] == ["gpu3"]
    (note,) = overview(run.folder.path, None, "pair", "pair").notes
    assert note == (
        "Node gpu3 is excluded: no GPU was found on gpu3 (default, high_capacity); `hsd resubmit "
        "pair --allow-node gpu3` uses it again."
    )
    profile = run.folder.facts()["profile"]
    assert not profile["slurm"]["exclude"], "the profile is the cluster's, the node the run's"


def test_an_allowed_node_is_used_by_the_next_resubmission(run: Work) -> None:
    write_run(resubmission(run.folder, failed=True))
    found = resubmission(run.folder, failed=True, allow_nodes=["gpu3"])
    assert "--exclude" not in found.prepared().scripts["train"]
    write_run(found)
    assert not excluded_nodes(run.folder)


def test_the_state_of_a_run_without_failures_leaves_no_node_out(run: Work) -> None:
    state = states(run.folder.path, None)
    assert len(node_failures(run.folder, state.elements)) == 2
