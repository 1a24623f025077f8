"""The Slurm that the other tests stand on behaves as a cluster does."""

import os
import re
import socket
from pathlib import Path

import pytest
from slurm_cluster import Cluster, start
from waiting import until

pytestmark = pytest.mark.slurm

HEAD = "#!/bin/bash\n#SBATCH --output=%A_%a.out\n"


def script(folder: Path, text: str) -> Path:
    file = folder / "job.sh"
    file.write_text(HEAD + text, encoding="utf-8")
    return file


def test_a_job_runs_on_a_node_with_the_gpus_it_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    body = "srun bash -c 'echo $(hostname) $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES'\n"
    job = cluster.submit(script(tmp_path, body), "--array=0", "--gpus-per-node=a100:4")

    cluster.wait(f"{job}_0", "COMPLETED")

    host, node, gpus = (tmp_path / f"{job}_0.out").read_text().split()
    assert host == node
    assert host in cluster.nodes
    assert gpus == "0,1,2,3"


def test_the_accounting_knows_the_gpus_of_a_job(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(script(tmp_path, "true\n"), "--array=0", "--gres=gpu:a100:2")
    cluster.wait(f"{job}_0", "COMPLETED")

    asked = ("sacct", "-D", "-X", "-P", "-n", "-j", job, "--format=State,AllocTRES")
    row = until(lambda: "COMPLETED" in (text := cluster.call(*asked)) and text, "sacct", every=0.3)

    assert "gres/gpu=2" in row
    assert "gres/gpu:a100=2" in row


def test_dependents_follow_element_by_element(cluster: Cluster, tmp_path: Path) -> None:
    train = cluster.submit(script(tmp_path, "exit $SLURM_ARRAY_TASK_ID\n"), "--array=0-1", "--hold")
    after = (f"--dependency=aftercorr:{train}", "--kill-on-invalid-dep=yes")
    evaluate = cluster.submit(script(tmp_path, "true\n"), "--array=0-1", *after)

    assert cluster.state(f"{train}_0") == "PENDING"
    cluster.call("scontrol", "release", train)

    cluster.wait(f"{evaluate}_0", "COMPLETED")
    cluster.wait(f"{evaluate}_1", "CANCELLED")
    assert cluster.state(f"{train}_1") == "FAILED"


def test_a_signal_reaches_the_steps_of_a_job(cluster: Cluster, tmp_path: Path) -> None:
    trap = 'trap "echo struck; exit 3" USR2; touch ready; while :; do sleep 0.1; done'
    body = f"srun bash -c '{trap}'\n"
    job = cluster.submit(script(tmp_path, body), "--array=0")
    until((tmp_path / "ready").exists, "the step's trap", every=0.1)

    cluster.call("scancel", "--signal=USR2", f"{job}_0")

    cluster.wait(f"{job}_0", "FAILED")
    assert "struck" in (tmp_path / f"{job}_0.out").read_text()


def test_the_jobs_of_a_dead_node_end_in_node_fail(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.nodes[-1]
    file = script(tmp_path, "touch ready; sleep 100\n")
    job = cluster.submit(file, f"--nodelist={node}", "--no-requeue", "--array=0")
    until((tmp_path / "ready").exists, "the job to start", every=0.1)

    cluster.node("down", node)
    try:
        cluster.wait(f"{job}_0", "NODE_FAIL")
    finally:
        cluster.node("up", node)

    assert f"{node} idle" in cluster.call("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N %t")


def test_the_cluster_is_of_the_version_that_was_asked_for(cluster: Cluster) -> None:
    wanted = os.environ.get("SLURM_TESTBED", "")
    found = re.findall(r"\d+\.\d+", cluster.call("sinfo", "-V"))

    assert [wanted or found[0]] == found
    assert f"SLURM_VERSION           = {found[0]}" in cluster.call("scontrol", "show", "config")


def test_a_port_that_another_process_holds_is_named_in_one_line(
    cluster: Cluster, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        first = {"HSD_SLURM_RUN": str(tmp_path / "run"), "HSD_SLURM_PORT": str(port - 2)}
        done = start(**first)

    assert done.returncode == 1
    assert f"port {port}, wanted for MariaDB, is taken by " in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run" / "pids").exists()


def test_a_version_that_there_is_none_of_is_refused(tmp_path: Path) -> None:
    done = start(SLURM_TESTBED="23.02", HSD_SLURM_RUN=str(tmp_path / "run"))

    assert done.returncode == 1
    assert "SLURM_TESTBED=23.02: 22.05 or 24.11 was expected" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_running_cluster_is_not_taken_for_one_of_another_version(cluster: Cluster) -> None:
    found = cluster.call("sinfo", "-V").split()[-1].rpartition(".")[0]
    other = "22.05" if found == "24.11" else "24.11"

    done = start(SLURM_TESTBED=other, HSD_SLURM_RUN=str(cluster.run))

    assert done.returncode == 1
    assert f"SLURM {found} runs in {cluster.run}, not {other}" in done.stderr
