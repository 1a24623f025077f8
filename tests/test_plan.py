"""A sweep as stages: what waits for what, and what each element does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sweeps import cluster, sweep

from hsd.io.run_identity import set_name
from slurm.cluster.profile import Profile
from slurm.run.run_folder import RunFolder
from slurm.sweep.base_cells import base_kind, bases_of
from slurm.sweep.plan import Plan, plan_sweep
from slurm.sweep.sweep import Cell, Sweep, cells

FOLDER = RunFolder(Path("/shared/runs/pair"))
CHAIN = {"requeue": "chain", "max_requeues": 2}


def made(of: Sweep, profile: Profile | None = None, done: Sequence[str] = ()) -> Plan:
    """Return the plan of a sweep of which `done` (`train default`) needs nothing."""
    return plan_sweep(
        of,
        cells(of),
        profile or cluster(),
        FOLDER,
        lambda stage, cell: f"{stage} {cell}" not in done,
    )


def drawn(planned: Plan) -> list[str]:
    """Return one line a stage: its name, its cells, what it waits for."""
    return [
        f"{stage.name}: {' '.join(task.cell for task in stage.tasks)}"
        + "".join(f" < {edge.kind} {edge.stage}" for edge in stage.after)
        for stage in planned.stages
    ]


def commands(planned: Plan, stage: str, cell: str) -> list[str]:
    """Return the commands of one element, as a person would type them."""
    (found,) = (s for s in planned.stages if s.name == stage)
    (task,) = (t for t in found.tasks if t.cell == cell)
    return [" ".join(command) for command in task.commands]


def test_each_cell_is_evaluated_behind_its_own_training_and_all_are_compared_at_the_end() -> None:
    assert drawn(made(sweep())) == [
        "train: default high_capacity",
        "evaluate: default high_capacity < aftercorr train",
        "baseline: baseline",
        "compare: all < afterany evaluate < afterany baseline",
    ]


def test_a_merge_stands_between_training_and_evaluation() -> None:
    planned = made(sweep(merge=True, baseline=False))
    assert drawn(planned) == [
        "train: default high_capacity",
        "merge: default high_capacity < aftercorr train",
        "evaluate: default high_capacity < aftercorr merge",
        "compare: all < afterany evaluate",
    ]
    (judged,) = commands(planned, "evaluate", "default")
    assert judged.startswith("evaluate --model_name /shared/runs/pair/cells/default/merged ")
    (merged,) = commands(planned, "merge", "default")
    assert merged == (
        "merge --adapter_path /shared/runs/pair/cells/default/train"
        " --output_dir /shared/runs/pair/cells/default/merged"
    )


def test_what_is_trained_already_is_evaluated_by_an_array_that_waits_for_nothing() -> None:
    done = ("train default", "baseline baseline")
    assert drawn(made(sweep(), done=done)) == [
        "train: high_capacity",
        "evaluate: high_capacity < aftercorr train",
        "evaluate.2: default",
        "compare: all < afterany evaluate < afterany evaluate.2",
    ]


def test_of_a_finished_sweep_the_comparison_alone_may_be_left() -> None:
    done = [f"{s} {c}" for s in ("train", "evaluate") for c in ("default", "high_capacity")]
    planned = made(sweep(), done=[*done, "baseline baseline"])
    assert drawn(planned) == ["compare: all"]
    assert not [s for s in planned.stages if s.of != "compare"]
    assert not made(sweep(), done=[*done, "baseline baseline", "compare all"]).stages


def test_elements_of_two_arrays_that_wait_for_each_other_are_in_one_order() -> None:
    planned = made(sweep(presets=("high_capacity", "default", "quick_test"), merge=True))
    orders = {s.name: [t.cell for t in s.tasks] for s in planned.stages if s.of != "compare"}
    assert orders["train"] == orders["merge"] == orders["evaluate"]


def test_where_jobs_may_not_requeue_further_attempts_wait_behind_each() -> None:
    assert drawn(made(sweep(), cluster(slurm=CHAIN))) == [
        "train: default high_capacity",
        "train-2: default high_capacity < afternotok train",
        "train-3: default high_capacity < afternotok train-2",
        "evaluate: default high_capacity < afterany train-3",
        "evaluate-2: default high_capacity < afternotok evaluate",
        "evaluate-3: default high_capacity < afternotok evaluate-2",
        "baseline: baseline",
        "baseline-2: baseline < afternotok baseline",
        "baseline-3: baseline < afternotok baseline-2",
        "compare: all < afterany evaluate-3 < afterany baseline-3",
    ]


def test_a_chain_is_never_stuck_where_slurm_keeps_what_can_never_start() -> None:
    kept = cluster(slurm=CHAIN | {"kill_on_invalid_dep": False})
    kinds = {edge.kind for stage in made(sweep(), kept).stages for edge in stage.after}
    assert kinds == {"afterany"}


@pytest.mark.parametrize(("kill", "wait"), [(True, " < afterany evaluate"), (False, "")])
def test_no_evaluation_waits_for_one_that_slurm_may_keep_for_ever(kill: bool, wait: str) -> None:
    few = {"max_array_size": 1, "array_parallelism": 1, "kill_on_invalid_dep": kill}
    assert drawn(made(sweep(), cluster(slurm=few)))[:4] == [
        "train: default",
        "train.2: high_capacity < afterany train",
        "evaluate: default < aftercorr train",
        f"evaluate.2: high_capacity < aftercorr train.2{wait}",
    ]


def test_evaluations_that_wait_for_no_training_take_turns_though_slurm_keeps_what_is_stuck() -> (
    None
):
    few = {"max_array_size": 1, "array_parallelism": 1, "kill_on_invalid_dep": False}
    trained = ("train default", "train high_capacity")
    assert drawn(made(sweep(), cluster(slurm=few), trained))[:2] == [
        "evaluate: default",
        "evaluate.2: high_capacity < afterany evaluate",
    ]


def test_a_chain_is_short_however_often_a_job_may_go_on() -> None:
    names = [s.name for s in made(sweep(), cluster(slurm={"requeue": "chain"})).stages]
    assert [n for n in names if n.startswith("train")] == ["train", "train-2", "train-3", "train-4"]


def test_the_upper_bound_counts_an_attempt_of_each_element_once() -> None:
    stages = {
        "train": {"gpus": 4, "nodes": 2, "time_min": 90},
        "evaluate": {"gpus": 1, "time_min": 60},
    }
    assert made(sweep(), cluster(stages=stages)).gpu_hours == 2 * 4 * 2 * 1.5 + 2 + 1
    chained = cluster(stages=stages, slurm=CHAIN)
    assert made(sweep(), chained).gpu_hours == made(sweep(), cluster(stages=stages)).gpu_hours


@pytest.mark.parametrize(
    ("sets", "said", "output"),
    [
        (("embedded",), "--data_file embedded", "evaluate/embedded"),
        (
            ("embedded", "/data/posts.jsonl"),
            "--data_file embedded --data_file /data/posts.jsonl",
            "evaluate",
        ),
    ],
)
def test_all_sets_of_a_cell_are_one_command_and_so_one_load(
    sets: tuple[str, ...], said: str, output: str
) -> None:
    of = sweep(
        evaluate={
            "sets": sets,
            "data_dir": "/data/prepared",
            "set": {"batch_size": 8, "mode": "generate", "generation": {"seed": 7}},
        }
    )
    asked = (
        f" {said} --data_dir /data/prepared --output_dir /shared/runs/pair/cells/CELL/{output}"
        " --set batch_size=8 --set mode=generate --set generation.seed=7"
    )
    adapter = "evaluate --model_name /shared/runs/pair/cells/default/train"
    (command,) = commands(made(of), "evaluate", "default")
    assert command == adapter + asked.replace("CELL", "default")
    (base,) = commands(made(of), "baseline", "baseline")
    assert asked.replace("CELL", "baseline") in base


def test_the_folder_of_a_set_is_where_the_command_that_judges_several_puts_it() -> None:
    folder = RunFolder(Path("/shared/runs/pair"))
    for name in ("embedded", "/data/posts.jsonl"):
        assert folder.evaluate("default", name) == folder.cell("default") / "evaluate" / set_name(
            name
        )


def test_the_base_is_judged_as_its_adapters_are() -> None:
    of = sweep(model={"name": "owner/base", "revision": "abc", "device": "cpu"})
    planned = made(of)
    (base,) = commands(planned, "baseline", "baseline")
    (adapter,) = commands(planned, "evaluate", "default")
    assert "--model_name owner/base" in base
    assert "--set model.revision=abc --set model.device=cpu" in base
    assert "--set model.device=cpu" in adapter
    assert "revision" not in adapter  # an adapter knows its base


@pytest.mark.parametrize(
    ("value", "said"),
    [("8", '"8"'), ("true", '"true"'), ("eight", "eight"), (8, "8"), (None, "null"), ([1], "[1]")],
)
def test_a_value_reaches_the_command_as_the_type_that_it_has(value: object, said: str) -> None:
    of = sweep(evaluate={"sets": ("embedded",), "set": {"x": value}})
    assert commands(made(of), "evaluate", "default")[0].endswith(f"--set x={said}")


def two_bases() -> tuple[Sweep, tuple[Cell, ...]]:
    of = sweep(presets=("default",), grid={"model.name": ("owner/a", "owner/b")})
    return of, cells(of)


def test_each_base_is_evaluated_once() -> None:
    of, both = two_bases()
    planned = plan_sweep(of, both, cluster(), FOLDER)
    assert drawn(planned)[2] == "baseline: baseline baseline-2"
    assert "--model_name owner/b " in commands(planned, "baseline", "baseline-2")[0]
    assert list(bases_of(sweep(), cells(sweep(model={"name": "owner/a"})))) == ["baseline"]
    assert not bases_of(sweep(baseline=False), both)


def test_a_base_keeps_its_name_whatever_cells_are_asked_for() -> None:
    of, both = two_bases()
    known = {n: base_kind(c.config.model_dump(mode="json")) for n, c in bases_of(of, both).items()}
    assert list(bases_of(of, both[1:], known)) == ["baseline-2"]
    third = cells(sweep(presets=("default",), grid={"model.name": ("owner/c",)}))
    assert list(bases_of(of, third, known)) == ["baseline-3"]
