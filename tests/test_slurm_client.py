"""The SLURM client against tiny stand-ins on PATH: what is asked, and what becomes of faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.cluster.client import ClusterError, CommandFailed, Slurm

NOW = (0.0, 0.0, 0.0)
"""No waits between the looks for a job."""
Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Give `programs(sbatch="echo 7")`: shell scripts alone on PATH; what ran is in the file."""
    folder, ran = tmp_path / "bin", tmp_path / "ran"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(**scripts: str) -> Path:
        for name, body in scripts.items():
            file = folder / name
            file.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "{name} $*" >> {ran}\n{body}\n')
            file.chmod(0o755)
        return ran

    return write


SCRIPT = Path("script.sh")
LOST = (
    'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv" >&2; exit 1'
)
FOUND = """
comment=$(sed -n 's/.*--comment=\\(hsd-[0-9a-f]*\\).*/\\1/p' "$(dirname "$0")/../ran" | tail -1)
echo "6|other"; echo "7|$comment"
"""


def test_a_job_is_submitted_held_and_its_id_returned(programs: Programs) -> None:
    ran = programs(sbatch="echo 'Welcome to the cluster'; echo '7;alpha'", squeue=FOUND)
    assert Slurm().submit(SCRIPT, "--dependency=aftercorr:6") == "7"
    said = ran.read_text().splitlines()[0]
    assert said.startswith("sbatch --parsable --hold --comment=hsd-")
    assert said.endswith(" --dependency=aftercorr:6 script.sh")


WRAPPED = """
echo "Project 6 has left:"
echo "  4218 GPU hours"
echo 7
echo "  31"
"""


def test_a_number_that_a_site_prints_is_no_job(programs: Programs) -> None:
    programs(sbatch=WRAPPED, squeue=FOUND)
    assert Slurm(waits_s=NOW).submit(SCRIPT) == "7"
    programs(sbatch=WRAPPED, squeue="echo '6|other'; echo '31||PENDING|mine'")
    with pytest.raises(CommandFailed, match="no job in the queue has the comment hsd-[0-9a-f]{32}"):
        Slurm(waits_s=NOW).submit(SCRIPT, name="hsd-x-train")


def test_where_a_site_changes_comments_a_job_is_known_by_its_name_and_id(
    programs: Programs,
) -> None:
    others = "echo '4218|hsd-0|PENDING|hsd-x-train'; echo '6||RUNNING|hsd-x-train'"
    programs(sbatch=WRAPPED, squeue=f"{others}; echo '7|site|PENDING|hsd-x-train'")
    assert Slurm(waits_s=NOW).submit(SCRIPT, name="hsd-x-train") == "7"
    programs(sbatch=WRAPPED, squeue=others)
    with pytest.raises(CommandFailed, match="no job in the queue"):
        Slurm(waits_s=NOW).submit(SCRIPT, name="hsd-x-train")


def test_a_job_that_a_site_s_sbatch_submitted_twice_is_one_job(programs: Programs) -> None:
    twice = FOUND.replace('echo "7|$comment"', 'echo "8|$comment"; echo "7|$comment"')
    ran = programs(sbatch="echo 8", squeue=twice, scancel="true")
    assert Slurm(waits_s=NOW).submit(SCRIPT) == "7"
    assert ran.read_text().splitlines()[-1] == "scancel 8"


QUEUED = """
n=$(grep -c ^scancel "$(dirname "$0")/../ran")
[ "$n" -lt {after} ] && echo "7|hsd-a|PENDING|x"
echo "8|hsd-b|{state}|x"
echo "9|other|RUNNING|x"
"""


def test_what_is_taken_back_is_all_with_our_comments_and_seen_to_be_gone(
    programs: Programs,
) -> None:
    ran = programs(squeue=QUEUED.format(after=1, state="COMPLETING"), scancel="true")
    assert Slurm(waits_s=NOW).take_back(["hsd-a", "hsd-b"]) == set()
    calls = [line for line in ran.read_text().splitlines() if line.startswith("scancel")]
    assert calls == ["scancel 7"]


def test_a_job_that_scancel_says_it_does_not_know_is_asked_for_again(programs: Programs) -> None:
    unknown = 'echo "scancel: error: Invalid job id specified" >&2; exit 1'
    programs(squeue=QUEUED.format(after=9, state="PENDING"), scancel=unknown)
    assert Slurm(waits_s=NOW).take_back(["hsd-a", "hsd-b"]) == {"7", "8"}


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("8|site|PENDING|hsd-x-train", True),
        ("8|site|RUNNING|hsd-x-train", True),
        ("8|hsd-b|PENDING|hsd-x-train", False),  # another submission's, of a run of that name
        ("8|site|RUNNING|other", False),
    ],
)
def test_a_job_with_an_id_that_came_again_is_left_alone(
    programs: Programs, line: str, ours: bool
) -> None:
    ran = programs(squeue=f"echo '{line}'", scancel="true")
    left = Slurm(waits_s=NOW).take_back(["hsd-a"], {"8": "hsd-x-train"})
    assert left == ({"8"} if ours else set())
    assert ("scancel 8" in ran.read_text()) == ours


def test_a_held_job_of_a_name_is_a_stray_unless_it_has_another_s_comment_or_is_known(
    programs: Programs,
) -> None:
    lines = (
        "1|site|0|hsd-x-train",
        "2|hsd-b|0|hsd-x-train",
        "3|site|4294901745|hsd-x-train",
        "4|site|0|hsd-x-train",
        "5|site|0|hsd-y-train",
    )
    ran = programs(squeue="\n".join(f"echo '{line}'" for line in lines))
    assert Slurm().strays([], ["4"]) == {}
    assert not ran.exists()
    assert Slurm().strays(["hsd-x-train"], ["4"]) == {"1": "hsd-x-train"}


def test_when_the_queue_cannot_be_asked_nobody_says_that_all_was_taken_back(
    programs: Programs,
) -> None:
    programs(squeue="echo 'squeue: error: down' >&2; exit 1", scancel="true")
    with pytest.raises(CommandFailed, match="squeue: down"):
        Slurm(waits_s=NOW).take_back(["hsd-a"], {"8": "x"})


def test_another_cluster_is_asked_everywhere(programs: Programs) -> None:
    ran = programs(squeue=FOUND, sacct="true", scancel="true", scontrol="true", sbatch="echo 7")
    beta = Slurm(cluster="beta", waits_s=NOW)
    beta.submit(SCRIPT)
    beta.queue(["7"])
    beta.accounting(["7"])
    beta.cancel(["7"])
    beta.release(["7"])
    for line in ran.read_text().splitlines():
        program, *words = line.split()
        assert program == "sbatch" or words[:2] == ["-M", "beta"]  # its script says so


@pytest.mark.parametrize("sbatch", [LOST, "sleep 9", "echo ok", "exit 0"])
def test_a_job_whose_acceptance_was_lost_is_found_by_its_comment(
    sbatch: str, programs: Programs
) -> None:
    programs(sbatch=sbatch, squeue=FOUND)
    assert Slurm(timeout_s=1, waits_s=NOW).submit(SCRIPT) == "7"


def test_a_slow_controller_is_asked_again(programs: Programs) -> None:
    counted = 'n=$(grep -c ^squeue "$(dirname "$0")/../ran"); [ "$n" -lt 3 ] && exit 0\n'
    ran = programs(sbatch=LOST, squeue=counted + FOUND)
    assert Slurm(waits_s=NOW).submit(SCRIPT) == "7"
    assert ran.read_text().count("squeue") == 3


def test_a_job_that_is_nowhere_has_failed(programs: Programs) -> None:
    programs(sbatch=LOST, squeue="echo '6|other'")
    with pytest.raises(CommandFailed, match="Socket timed out"):
        Slurm(waits_s=NOW).submit(SCRIPT)


def test_when_nobody_can_say_whether_a_job_was_accepted_the_comment_is_told(
    programs: Programs,
) -> None:
    programs(sbatch=LOST, squeue="exit 1")
    with pytest.raises(CommandFailed, match="squeue could not be asked.*comment hsd-[0-9a-f]{32}"):
        Slurm(waits_s=NOW).submit(SCRIPT)


def test_a_refusal_is_one_line_without_noise_and_nothing_is_looked_for(programs: Programs) -> None:
    ran = programs(
        sbatch='echo "sbatch: error: invalid partition specified: nope" >&2\n'
        'echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2\n'
        "exit 1"
    )
    with pytest.raises(CommandFailed) as caught:
        Slurm().submit(SCRIPT)
    assert str(caught.value) == (
        "sbatch: invalid partition specified: nope; "
        "Batch job submission failed: Invalid partition name specified"
    )
    assert "squeue" not in ran.read_text()


def test_ctrl_c_while_submitting_leaves_no_job_behind(programs: Programs, tmp_path: Path) -> None:
    ran = programs(sbatch="sleep 60", squeue=FOUND, scancel="true")
    code = (
        "from pathlib import Path; from slurm.cluster.client import Slurm; "
        "Slurm().submit(Path('s'))"
    )
    here = Path(__file__).parent.parent
    caller = subprocess.Popen(
        [sys.executable, "-c", code], cwd=here, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 30
    while not (ran.exists() and "sbatch" in ran.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(caller.pid, signal.SIGINT)
    caller.wait(timeout=30)
    assert "scancel 7\n" in ran.read_text()


def test_a_machine_without_slurm_is_told_what_would_work(programs: Programs) -> None:
    with pytest.raises(ClusterError, match=r"sbatch: not found on this machine.*--local") as caught:
        Slurm().submit(SCRIPT)
    assert caught.value.exit_code == 3


def test_a_program_that_hangs_is_ended(programs: Programs) -> None:
    programs(sinfo="sleep 60")
    with pytest.raises(CommandFailed, match=r"sinfo: no answer in 0\.2 s"):
        Slurm(timeout_s=0.2).text("sinfo")


def test_no_secret_and_nothing_of_a_surrounding_job_reaches_sbatch(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs(sbatch=f"env > {tmp_path}/seen; echo 7", squeue=FOUND)
    monkeypatch.setenv("HF_TOKEN", "canary")
    monkeypatch.setenv("SLURM_CPU_BIND", "canary")
    monkeypatch.setenv("SBATCH_RESERVATION", "kept")
    Slurm(keep=("SBATCH_RESERVATION", "HF_TOKEN")).submit(SCRIPT)
    seen = (tmp_path / "seen").read_text()
    assert "canary" not in seen
    assert "SBATCH_RESERVATION=kept" in seen


def test_jobs_that_slurm_has_forgotten_are_an_empty_queue(programs: Programs) -> None:
    programs(squeue='echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert Slurm().queue(["1"]) == ""


def test_an_unreachable_controller_is_no_empty_queue(programs: Programs) -> None:
    programs(squeue='echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1')
    with pytest.raises(CommandFailed, match="Unable to contact"):
        Slurm().queue(["1"])


@pytest.mark.parametrize(
    "sacct", ['echo "Slurm accounting storage is disabled" >&2; exit 1', None], ids=["off", "none"]
)
def test_without_accounting_there_is_none(sacct: str | None, programs: Programs) -> None:
    if sacct:
        programs(sacct=sacct)
    assert Slurm().accounting(["1"]) is None


def test_every_attempt_is_asked_for_in_one_call(programs: Programs) -> None:
    ran = programs(sacct="true", squeue="true")
    Slurm().accounting(["1", "2"])
    Slurm().queue(["1", "2"])
    sacct, squeue = ran.read_text().splitlines()
    assert " -D " in sacct
    assert sacct.endswith("-j 1,2")
    assert " --array " in squeue
    assert squeue.endswith("-j 1,2")


def test_nothing_is_run_for_no_job(programs: Programs) -> None:
    assert Slurm().queue([]) == ""
    assert Slurm().accounting([]) == ""
    Slurm().release([])
    Slurm().cancel([])


def test_cancelling_what_is_over_is_no_error(programs: Programs) -> None:
    ran = programs(scancel='echo "scancel: error: Invalid job id specified" >&2; exit 1')
    Slurm().cancel(["1_0", "1_1"], signal="USR2")
    assert ran.read_text() == "scancel --signal=USR2 1_0 1_1\n"


def test_a_test_submission_says_when_it_would_start(programs: Programs) -> None:
    programs(sbatch='echo "sbatch: Job 9 to start at 2026-11-27T01:35:44 on gpu1" >&2')
    assert Slurm().test_only(SCRIPT) == "Job 9 to start at 2026-11-27T01:35:44 on gpu1"


def test_the_controllers_settings_are_names_and_texts(programs: Programs) -> None:
    programs(scontrol="printf 'Configuration data\\nMaxArraySize            = 1001\\nX = a = b\\n'")
    assert Slurm().config() == {"MaxArraySize": "1001", "X": "a = b"}
