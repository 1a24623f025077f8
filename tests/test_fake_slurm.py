"""The fake SLURM does what tests of submissions rely on."""

import subprocess
from pathlib import Path

import pytest
from fake_cluster import Fake
from waiting import until


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)


def said(*argv: str) -> str:
    done = run(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def submit(body: str, *options: str, head: str = "") -> str:
    script = Path("job.sh")
    script.write_text(f"#!/bin/bash\n{head}\n{body}\n")
    return said("sbatch", "--parsable", *options, str(script))


def queue(job: str, form: str = "%i %T %r") -> list[str]:
    return said("squeue", "-h", "-j", job, "-o", form).splitlines()


def test_a_held_array_starts_when_it_is_released(fake: Fake) -> None:
    job = submit("echo $SLURM_ARRAY_TASK_ID > ran.$SLURM_ARRAY_TASK_ID", "--array=0-1", "--hold")
    assert queue(job) == [f"{job}_[0-1] PENDING JobHeldUser"]
    assert said("squeue", "-h", "-r", "-o", "%i").split() == [f"{job}_0", f"{job}_1"]

    said("scontrol", "release", job)

    for index in ("0", "1"):
        fake.wait(f"{job}_{index}", "COMPLETED")
        assert Path(f"ran.{index}").read_text() == f"{index}\n"
    assert queue(job) == []


def test_what_sbatch_got_is_kept_byte_for_byte(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "sings")
    job = submit("true", "--hold", "--comment", "a b", head="#SBATCH --job-name='my job'")

    assert fake.scripts() == [Path("job.sh").read_bytes()]
    assert fake.environments()[0]["CANARY"] == "sings"
    assert fake.arguments() == [["--parsable", "--hold", "--comment", "a b", "job.sh"]]
    assert queue(job, "%j|%k") == ["my job|a b"]


def test_a_job_runs_as_its_directives_say(fake: Fake) -> None:
    head = "#SBATCH --output=%x_%A_%a.out\n#SBATCH --error=%A_%a.err\n#SBATCH --gres=gpu:a100:2"
    body = "echo $CUDA_VISIBLE_DEVICES $SLURM_ARRAY_JOB_ID; echo bad >&2; exit 3"
    job = submit(body, "--array=1", "-J", "x", head=head)

    fake.wait(f"{job}_1", "FAILED")

    assert Path(f"x_{job}_1.out").read_text() == f"0,1 {job}\n"
    assert Path(f"{job}_1.err").read_text() == "bad\n"
    row = said("sacct", "-X", "-P", "-n", "-j", job, "--format=JobID,State,ExitCode,AllocTRES")
    tres = "billing=1,cpu=1,gres/gpu:a100=2,gres/gpu=2,mem=256M,node=1"
    assert row == f"{job}_1|FAILED|3:0|{tres}"


def test_aftercorr_follows_element_by_element(fake: Fake) -> None:
    train = submit("exit $SLURM_ARRAY_TASK_ID", "--array=0-1", "--hold")
    after = f"--dependency=aftercorr:{train}"
    killed = submit("true", "--array=0-1", after, "--kill-on-invalid-dep=yes")
    stuck = submit("true", "--array=0-1", after)
    assert queue(stuck) == [f"{stuck}_[0-1] PENDING Dependency"]

    said("scontrol", "release", train)

    for job, last in ((killed, "CANCELLED"), (stuck, "PENDING")):
        fake.wait(f"{job}_0", "COMPLETED")
        fake.wait(f"{job}_1", last)
    assert queue(stuck, "%T %r") == ["PENDING DependencyNeverSatisfied"]


def test_dependents_run_or_die_by_their_kind(fake: Fake) -> None:
    good, bad = submit("exit 0", "--hold"), submit("exit 1", "--hold")
    kinds = [f"afterok:{good}", f"afterok:{bad}", f"afterany:{good}:{bad}"]
    kinds += [f"afternotok:{good}", f"afternotok:{bad}", f"afterok:{good},afterok:{bad}"]
    jobs = [submit("true", "--kill-on-invalid-dep=yes", f"--dependency={kind}") for kind in kinds]

    said("scontrol", "release", f"{good},{bad}")

    ended = [fake.wait(job, "COMPLETED", "CANCELLED") for job in jobs]
    assert ended == [
        "COMPLETED",
        "CANCELLED",
        "COMPLETED",
        "CANCELLED",
        "COMPLETED",
        "CANCELLED",
    ]


def test_an_array_runs_no_more_elements_at_once_than_it_may(fake: Fake) -> None:
    job = submit("until [ -e go ]; do sleep 0.02; done", "--array=0-2%1")
    fake.wait(f"{job}_0", "RUNNING")
    assert queue(job, "%i %r") == [f"{job}_0 None", f"{job}_[1-2%1] JobArrayTaskLimit"]
    Path("go").touch()
    fake.wait(f"{job}_2", "COMPLETED")


def test_a_requeued_element_starts_again_and_both_attempts_are_accounted(fake: Fake) -> None:
    body = "echo run ${SLURM_RESTART_COUNT:-first}; [ -e ready ] || { touch ready; sleep 60; }"
    head = "#SBATCH --output=%A.out\n#SBATCH --open-mode=append"
    job = submit(body, "--array=0", head=head)
    until(Path("ready").exists, "the job to start")

    said("scontrol", "requeue", f"{job}_0")

    fake.wait(f"{job}_0", "COMPLETED")
    lines = Path(f"{job}.out").read_text().splitlines()
    assert [line for line in lines if line.startswith("run")] == ["run first", "run 1"]
    assert any("DUE TO JOB REQUEUE" in line for line in lines)
    states = ("sacct", "-X", "-P", "-n", "-j", job, "--format=State")
    assert said(*states, "-D").split() == ["REQUEUED", "COMPLETED"]
    assert said(*states).split() == ["COMPLETED"]


STEP = """srun --output=step_%j_%t.out bash -c '
trap "echo struck; touch struck; exit 4" USR2
bash -c "trap \\"touch child\\" USR2; touch ready; while [ ! -e struck ]; do sleep 0.02; done" &
while :; do sleep 0.02; done'"""


@pytest.mark.parametrize("tree", [False, True])
def test_a_signal_reaches_the_step_and_its_children_only_if_told(fake: Fake, tree: bool) -> None:
    if tree:
        fake.fault(scancel={"signal": "tree"})
    job = submit(STEP)
    until(Path("ready").exists, "the step's child")

    said("scancel", job, "--signal", "USR2")

    fake.wait(job, "FAILED")
    assert "struck\n" in Path(f"step_{job}_0.out").read_text()
    if tree:
        until(Path("child").exists, "the child to be told")
    else:
        assert not Path("child").exists()


def test_a_cancelled_job_ends_with_all_its_processes(fake: Fake) -> None:
    fake.fault(kill_wait_s=0.1)
    job = submit("trap '' TERM; touch ready; (trap '' TERM; exec sleep 60) & wait; sleep 60")
    waiting = submit("true", f"--dependency=afterok:{job}")
    until(Path("ready").exists, "the job to start")

    said("scancel", job, waiting)

    fake.wait(job, "CANCELLED")
    assert fake.state(waiting) == "CANCELLED"
    assert said("sacct", "-X", "-Pn", "-j", job, "--format=State") == "CANCELLED by 0"


def test_a_job_can_end_as_a_cluster_ends_it(fake: Fake) -> None:
    job = submit("touch ready.$SLURM_RESTART_COUNT; sleep 60")
    until(Path("ready.").exists, "the first attempt")
    fake.strike(job, "NODE_FAIL", requeue=True)
    until(Path("ready.1").exists, "the second attempt")
    fake.strike(job, "TIMEOUT")

    fake.wait(job, "TIMEOUT")
    rows = said("sacct", "-D", "-X", "-Pn", "-j", job, "--format=State").split()
    assert rows == ["NODE_FAIL", "TIMEOUT"]


def test_submissions_fail_where_a_test_says_so(fake: Fake) -> None:
    Path("job.sh").write_text("#!/bin/sh\n")
    fake.fault(sbatch={"fail_at": 2, "message": "QOSMaxSubmitJobPerUserLimit"})
    codes = [run("sbatch", "--hold", "job.sh").returncode for _ in range(3)]
    assert codes == [0, 1, 0]
    assert len(fake.jobs()) == 2
    assert len(fake.calls("sbatch")) == 3

    fake.fault(sbatch={"timeout_but_accepted_at": 4})
    lost = run("sbatch", "--hold", "job.sh")
    assert "Socket timed out" in lost.stderr
    assert len(fake.jobs()) == 3


def test_programs_fail_where_a_test_says_so(fake: Fake) -> None:
    job = submit("true", "--hold")
    fake.fault(squeue={"state": "WEIRD_STATE"}, sacct="disabled", scontrol="refused")
    assert queue(job, "%T") == ["WEIRD_STATE"]
    assert run("sacct", "-j", job).stderr == "Slurm accounting storage is disabled\n"
    assert run("scontrol", "release", job).returncode == 1

    fake.heal()
    fake.fault(forgets=True)
    assert said("sacct", "-Pn", "-j", job, "--format=State") == "PENDING"
    said("scancel", job)
    assert "Invalid job id" in run("squeue", "-j", job).stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--partition=nope", "invalid partition specified: nope"),
        ("--gres=gpu:a100:5", "Requested node configuration is not available"),
        ("--array=0-1001", "Invalid job array specification"),
        ("--account=nobody", "Invalid account"),
        ("--foo=1", "unrecognized option '--foo'"),
    ],
)
def test_what_a_real_slurm_refuses_is_refused(fake: Fake, option: str, words: str) -> None:
    Path("job.sh").write_text("#!/bin/sh\n")
    done = run("sbatch", option, "job.sh")
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert fake.jobs() == []


def test_a_job_whose_log_cannot_be_opened_fails_without_a_word(fake: Fake) -> None:
    job = submit("touch ran", "--output=missing/%j.out")
    fake.wait(job, "FAILED")
    assert fake.element(job)["code"] == "0:53"
    assert not Path("ran").exists()


def test_a_test_submission_queues_nothing(fake: Fake) -> None:
    Path("job.sh").write_text("#!/bin/sh\n")
    assert "to start at" in run("sbatch", "--test-only", "job.sh").stderr
    assert fake.jobs() == []
