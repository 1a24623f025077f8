"""The whole of hsd on a real SLURM, with real trainings of a tiny base."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from slurm_runs import CANARY, Bench

from hsd.io.json_reader import read_json
from slurm.run import submissions

pytestmark = [pytest.mark.slurm, pytest.mark.model, pytest.mark.e2e]

LONG = {"epochs": 40, "save_every_steps": 20}
"""120 steps: enough to be interrupted in the middle, few enough to be done twice."""


def stopped_by_signal(bench: Bench, run: str) -> None:
    """Tell a training what SLURM tells it before a time limit, once it is well under way."""
    with bench.held(run, bench.learned(run)):
        bench.cluster.call("scancel", "--signal=USR2", f"{bench.job(run, 'train')}_0")
        bench.until(lambda: "signalled" in bench.words(run), "the supervisor to be told")


def test_a_sweep_with_a_failing_cell_from_dry_run_to_cost(bench: Bench, tmp_path: Path) -> None:
    grid = '"lora.target_modules" = [["q_proj"], ["nope"], ["v_proj"]]'
    sweep, profile = bench.sweep("mixed", grid, baseline=True), bench.profile()
    good, bad = "tiny-target_modules=q_proj", "tiny-target_modules=nope"
    other = "tiny-target_modules=v_proj"

    dry = bench.hsd("run", sweep, "--cluster", profile, "--dry-run")
    said = bench.hsd("run", sweep, "--cluster", profile, HF_TOKEN=CANARY, MY_API_KEY=CANARY)
    assert "hsd status mixed" in said
    run = bench.folder / "runs/mixed"
    for script in run.glob("submissions/001/*/script.sh"):
        assert script.read_text() in dry  # what is shown is what is submitted
        job = bench.job("mixed", script.parent.name)
        kept = bench.cluster.call("scontrol", "write", "batch_script", job, "-")
        assert kept.strip() == script.read_text().strip()
    again = bench.hsd("run", sweep, "--cluster", profile)
    assert "4 in the queue" in again

    states = bench.wait_over("mixed")
    assert states == {
        (good, "train"): "done", (good, "evaluate"): "done",
        (other, "train"): "done", (other, "evaluate"): "done",
        (bad, "train"): "failed", (bad, "evaluate"): "cancelled",
        ("baseline", "baseline"): "done", ("all", "compare"): "done",
    }  # fmt: skip
    page = (run / "comparison.md").read_text()
    assert f"- {bad}: train failed: lora.target_modules: 'nope' is no linear layer" in page
    assert f"| {good} | - |" in page
    shown = bench.hsd("status", "mixed")
    assert "'nope' is no linear layer" in shown
    assert f"hsd logs mixed/{bad}/train" in shown
    assert "'nope' is no linear layer" in bench.hsd("logs", f"mixed/{bad}", "--first-error")

    off = tmp_path / "bin"
    off.mkdir()
    (off / "sacct").write_text(
        "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"
    )
    (off / "sacct").chmod(0o755)
    path = f"{off}:{os.environ['PATH']}"
    without = bench.json("status", "mixed", PATH=path)
    assert {c["cell"]: c["state"] for c in without["cells"]}[bad] == "failed"

    edited = bench.folder / "runs/mixed/cells" / bad
    fixed = bench.hsd(
        "resubmit", "mixed", "--failed", "--set", 'lora.target_modules=["k_proj"]',
        HF_TOKEN=CANARY,
    )  # fmt: skip
    assert f"1 to do: {bad}" in fixed
    assert set(bench.wait_over("mixed").values()) == {"done"}
    assert (edited / "before-1/config.json").exists()
    cost = bench.json("cost", "mixed")
    assert cost["gpu_hours"] > 0
    assert "Everything is done" in bench.hsd("resubmit", "mixed")
    refused = bench.hsd("run", sweep, "--cluster", profile, code=3)
    assert f"cell '{bad}' was submitted with other content: config.lora.target_modules" in refused

    # The canary is nowhere: not in what hsd wrote, and not in what SLURM keeps.
    places = [run, bench.cluster.run]
    found = subprocess.run(
        ["grep", "-rlaF", CANARY, *map(str, places)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    ids = ",".join(bench.job("mixed", stage) for stage in ("train", "evaluate", "compare"))
    for what in ("--env-vars", "--batch-script"):
        assert CANARY not in bench.cluster.call("sacct", "-j", ids, what, "-n")
    assert (run.stat().st_mode & 0o777) == 0o700


def test_the_time_limit_stops_a_training_which_goes_on_to_the_very_same_adapter(
    bench: Bench,
) -> None:
    bench.preset(**LONG)
    bench.train("limited", bench.profile())
    job = f"{bench.job('limited', 'train')}_0"
    with bench.held("limited", bench.learned("limited")):
        began = bench.events("limited")[0]["at"]
        minutes = int((datetime.now(UTC) - datetime.fromisoformat(began)).total_seconds() / 60) + 4
        # The limit is near now: SLURM's signal comes within its next minute, 3 before the limit.
        bench.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
        bench.until(lambda: "signalled" in bench.words("limited"), "SLURM to tell of the limit")
    bench.until(lambda: "requeued" in bench.words("limited"), "the job to be requeued")
    bench.cluster.call("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    assert set(bench.wait_over("limited").values()) == {"done"}
    assert bench.words("limited") == ["started", "signalled", "requeued", "started", "ended"]
    starts = bench.starts("limited")
    assert starts[1]["resumed_from"]
    whole = bench.undisturbed("limited_whole")
    assert bench.adapter("limited") == (whole / "adapter_model.safetensors").read_bytes()


def test_two_ranks_stopped_and_requeued_give_the_very_same_adapter(bench: Bench) -> None:
    bench.preset(batch_size=1, **LONG)
    profile = bench.profile("two", train="processes = 2")
    bench.train("two", profile)
    stopped_by_signal(bench, "two")
    assert set(bench.wait_over("two").values()) == {"done"}
    assert bench.words("two") == ["started", "signalled", "requeued", "started", "ended"]
    starts = bench.starts("two")
    assert len(starts) == 2
    assert starts[1]["resumed_from"]
    whole = bench.undisturbed("two_whole", ranks=2)
    assert bench.adapter("two") == (whole / "adapter_model.safetensors").read_bytes()


def test_a_preempted_training_comes_back_and_goes_on(bench: Bench) -> None:
    bench.preset(**LONG)
    low = bench.profile("low", train='partition = "low"')
    bench.train("preempted", low)
    with bench.held("preempted", bench.learned("preempted")):
        bench.cluster.call(
            "sbatch", "--account=hsd", "--partition=gpu", "--nodes=4", "--exclusive", "--wrap",
            "true", "--output=/dev/null",
        )  # fmt: skip
        bench.until(lambda: "signalled" in bench.words("preempted"), "the preemption")
    assert set(bench.wait_over("preempted").values()) == {"done"}
    words = bench.words("preempted")
    assert words.count("started") == 2
    assert words[-1] == "ended"
    starts = bench.starts("preempted")
    assert starts[1]["resumed_from"]


def test_a_training_on_a_node_that_dies_goes_on_on_another(bench: Bench) -> None:
    bench.preset(**LONG)
    bench.train("died", bench.profile())
    job = f"{bench.job('died', 'train')}_0"
    saved = bench.folder / "runs/died/cells/tiny/train/checkpoint-20/complete.json"
    with bench.held("died", saved.exists):
        node = bench.cluster.call("squeue", "-h", "-o", "%N", "-j", job).strip()
        bench.cluster.node("down", node)
    try:
        assert set(bench.wait_over("died").values()) == {"done"}
    finally:
        bench.cluster.node("up", node)
    starts = bench.starts("died")
    assert starts[0]["ended"] is None
    assert starts[1]["resumed_from"]


def test_an_evaluation_that_is_stopped_goes_on_with_the_rows_that_are_left(bench: Bench) -> None:
    bench.preset(epochs=1)
    sweep = Path(bench.sweep("judged"))
    rows = [{"id": f"r{n}", "text": f"row {n}", "label": "normal"} for n in range(400)]
    (bench.folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sweep.write_text(
        sweep.read_text()
        .replace("test.jsonl", "many.jsonl")
        .replace("batch_size = 8", 'batch_size = 1, prefix_sharing = "off"')
    )
    bench.hsd("run", str(sweep), "--cluster", bench.profile())
    output = bench.folder / "runs/judged/cells/tiny/evaluate"
    with bench.held("judged", lambda: list(output.glob("*/run_*/predictions.rank0.jsonl"))):
        bench.cluster.call("scancel", "--signal=USR2", f"{bench.job('judged', 'evaluate')}_0")
        bench.until(lambda: "signalled" in bench.words("judged", "evaluate"), "the signal")
    assert set(bench.wait_over("judged").values()) == {"done"}
    assert bench.words("judged", "evaluate") == [
        "started", "signalled", "requeued", "started", "ended"
    ]  # fmt: skip
    (predictions,) = output.glob("*/run_*/predictions.jsonl")
    assert len(predictions.read_text().splitlines()) == len(rows)


def test_two_nodes_with_two_ranks_each_train_one_adapter(bench: Bench) -> None:
    bench.preset(batch_size=1, accumulation=1)
    profile = bench.profile("nodes", train="processes = 2\nnodes = 2")
    bench.train("nodes", profile)
    assert set(bench.wait_over("nodes").values()) == {"done"}
    manifest = read_json(bench.folder / "runs/nodes/cells/tiny/train/manifest.json")
    assert manifest["processes"] == 4


def test_a_cancelled_run_stays_cancelled_and_can_be_resubmitted(bench: Bench) -> None:
    bench.preset(**LONG)
    bench.hsd("run", bench.sweep("stopped"), "--cluster", bench.profile())
    with bench.held("stopped", bench.learned("stopped")):
        bench.hsd("cancel", "stopped")
    assert set(bench.wait_over("stopped").values()) == {"cancelled"}
    assert "requeued" not in bench.words("stopped")
    bench.hsd("resubmit", "stopped")
    assert set(bench.wait_over("stopped").values()) == {"done"}


def test_where_jobs_may_not_requeue_the_next_of_a_chain_goes_on(bench: Bench) -> None:
    bench.preset(**LONG)
    profile = bench.profile("chain", 'requeue = "chain"\nmax_requeues = 1')
    bench.hsd("run", bench.sweep("chain"), "--cluster", profile)
    stopped_by_signal(bench, "chain")
    assert set(bench.wait_over("chain").values()) == {"done"}
    assert bench.words("chain") == ["started", "signalled", "stopped", "started", "ended"]


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ('constraint = "no_such_feature"', "feature"),
        ('reservation = "nobodys"', "reservation"),
        ('extra = { nodelist = "nowhere" }', "node name"),
    ],
)
def test_what_the_cluster_would_refuse_is_one_line_and_nothing_is_submitted(
    bench: Bench, slurm: str, said: str
) -> None:
    bench.preset()
    refused = bench.hsd(
        "run", bench.sweep("refused"), "--cluster", bench.profile("refused", slurm), code=3
    )
    assert refused.count("Error:") == 1
    assert said in refused.lower()
    assert not (bench.folder / "runs/refused").exists()


def test_one_command_is_one_job_that_waits_for_another(bench: Bench) -> None:
    bench.preset(epochs=1)
    profile = bench.profile()
    said = bench.hsd(
        "submit", "train", "--cluster", profile, "--name", "one", "--config_file", "tiny.json",
        "--output_dir", "one_adapter",
    )  # fmt: skip
    assert "hsd status one" in said
    bench.hsd(
        "submit", "evaluate", "--cluster", profile, "--name", "then",
        "--after", bench.job("one", "train"), "--model_name", "one_adapter",
        "--data_file", "test.jsonl", "--output_dir", "one_judged",
    )  # fmt: skip
    assert set(bench.wait_over("then").values()) == {"done"}
    assert list((bench.folder / "one_judged").glob("run_*/predictions.jsonl"))
    bench.hsd(
        "submit", "gate", "--cluster", profile, "--name", "gated", "--after",
        bench.job("then", "evaluate"), "one_judged", "--set", "worst_group_f1=1",
    )  # fmt: skip
    assert set(bench.wait_over("gated").values()) == {"failed"}
    assert "the gate says UNDERPOWERED" in " ".join(bench.hsd("status", "gated").split())


def test_the_checkout_may_change_while_jobs_wait(bench: Bench) -> None:
    bench.preset(epochs=1)
    bench.train("snapshot", bench.profile())
    (code,) = (bench.folder / "runs/snapshot/code").iterdir()
    assert set(bench.wait_over("snapshot").values()) == {"done"}
    assert bench.starts("snapshot")[0]["git"]["tree"] == read_json(code / "code.json")["tree"]
    where = subprocess.run(
        [sys.executable, "-c", "import hsd; print(hsd.__file__)"],
        env=os.environ | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(code))


def test_a_split_sweep_has_each_cell_in_the_queue_once_and_none_after_a_cancel(
    bench: Bench,
) -> None:
    profile = bench.profile("split", 'max_array_size = 2\nextra = { begin = "now+1day" }')
    sweep = bench.sweep("split", "seed = [1, 2, 3, 4, 5]")
    bench.hsd("run", sweep, "--cluster", profile)
    jobs = submissions.read_submissions(bench.folder / "runs/split")
    assert [one.stage for one in jobs if one.kind == "train"] == ["train", "train.2", "train.3"]
    for kind in ("train", "evaluate"):
        cells = [cell for one in jobs if one.kind == kind for cell in one.cells]
        assert len(cells) == len(set(cells)) == 5
    trains = {one.cells: one.job_id for one in jobs if one.kind == "train"}
    for one in (one for one in jobs if one.kind == "evaluate"):
        said = bench.cluster.call("scontrol", "--oneliner", "show", "job", one.job_id)
        assert f"Dependency=aftercorr:{trains[one.cells]}_" in said
    assert set(bench.states("split").values()) == {"waiting"}
    bench.hsd("cancel", "split")
    listed = ",".join(one.job_id for one in jobs)
    assert not bench.cluster.call("squeue", "-h", "-j", listed)
