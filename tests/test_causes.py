"""Why something failed or waits: the first cause that fits, and the command that comes next."""

from pathlib import Path

import pytest

from hsd.errors import ERROR_CODE, ErrorCode, InUseError, TakenOver
from hsd.io.lease import Lease, hold_lease, myself
from slurm.run.element_state import Element
from slurm.watch.causes import FAILURES, WAITS, Cause, cause


def failed(slurm: str = "FAILED", reason: str = "", code: int | None = None) -> Element:
    return Element(
        "train", "a", "7_0", "failed", reason, slurm, code=code, node="gpu1", time_min=90
    )


def found(element: Element, log: str = "") -> Cause:
    seen = cause(element, log, run="mine", sweep="my_sweep.toml")
    assert seen is not None
    return seen


AGAIN = "hsd resubmit mine --failed"


@pytest.mark.parametrize(
    ("log", "words", "next_command"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "CUDA out of memory",
            f"{AGAIN} --set training.gradient_checkpointing=true",
        ),
        (
            "Error: the GPU's memory is full; set training.batch_size lower",
            "CUDA out of memory",
            f"{AGAIN} --set training.gradient_checkpointing=true",
        ),
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0.",
            "out of memory on the node; increase [stages.train] memory_gb in the profile, then",
            AGAIN,
        ),
        (
            "OSError: [Errno 122] Disk quota exceeded",
            "disk quota exceeded; free some space, then",
            AGAIN,
        ),
        (
            "OSError: [Errno 28] No space left on device: '/shared/x'",
            "no space left on a disk; free some space, then",
            AGAIN,
        ),
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files",
            "a model file is missing in the cache, and jobs have no internet",
            "hsd fetch my_sweep.toml",
        ),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
            "a model file is missing in the cache, and jobs have no internet",
            "hsd fetch my_sweep.toml",
        ),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
            "the GPU driver of gpu1 is too old for this torch or image",
            "hsd doctor --smoke",
        ),
        (
            "RuntimeError: No CUDA GPUs are available",
            "no GPU was found on gpu1",
            "hsd doctor --smoke",
        ),
        (
            "Error: this job asked for 1 GPU on each node, but torch sees no GPU on n1; look at",
            "no GPU was found on gpu1",
            "hsd doctor --smoke",
        ),
        (
            "FATAL:   could not open image /shared/hsd.sif: no such file or directory",
            "the container or its image was not found",
            "hsd doctor",
        ),
        (
            "sh: 1: apptainer: not found",
            "the container or its image was not found",
            "hsd doctor",
        ),
        (
            "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)",
            "NCCL timed out: the GPUs lost contact with each other",
            AGAIN,
        ),
        (
            "[rank0]: noise\nError: a.jsonl:3: no text.\nsrun: error: gpu1: task 0: Exited",
            "a.jsonl:3: no text.",
            "hsd logs mine/a/train",
        ),
        (
            "Traceback (most recent call last):\n  File 'x'\n[rank1]:ValueError: \x1b[31mno\n",
            "ValueError: [31mno",
            "hsd logs mine/a/train",
        ),
        ("nothing that is known", "exit code 3", "hsd logs mine/a/train"),
    ],
)
def test_the_log_tells_why_it_failed(log: str, words: str, next_command: str) -> None:
    seen = found(failed(reason="exit code 3"), log)
    assert (seen.words, seen.next) == (words, next_command)


@pytest.mark.parametrize(
    ("element", "words", "next_command"),
    [
        (
            failed("TIMEOUT"),
            "the job reached its time limit of 01:30:00",
            f"{AGAIN} --time 03:00:00",
        ),
        (failed("NODE_FAIL"), "gpu1 failed", AGAIN),
        (failed("PREEMPTED"), "preempted by a job with higher priority", AGAIN),
        (
            failed("OUT_OF_MEMORY"),
            "out of memory on the node; increase [stages.train] memory_gb in the profile, then",
            AGAIN,
        ),
        (failed(reason="BadConstraints"), "no node on this cluster fits the request", "hsd doctor"),
        (failed(reason="JobLaunchFailure"), "SLURM could not start it on gpu1", AGAIN),
        (
            failed(reason="requeue is 'none'", code=75),
            "stopped early and not requeued (requeue is 'none'); it can resume from its checkpoint",
            AGAIN,
        ),
        (
            failed(reason="exit code 20", code=20),
            "the gate says FAIL: a rule is broken; jobs that wait for it do not start",
            "hsd logs mine/a",
        ),
        (
            failed(reason="exit code 21", code=21),
            "the gate says UNDERPOWERED: too few posts to tell; jobs that wait for it do not start",
            "hsd logs mine/a",
        ),
    ],
)
def test_slurm_tells_why_it_failed(element: Element, words: str, next_command: str) -> None:
    seen = found(element)
    assert (seen.words, seen.next) == (words, next_command)


def test_slurms_word_comes_before_what_the_log_may_hold() -> None:
    assert "time limit" in found(failed("TIMEOUT"), "CUDA out of memory").words


def test_a_file_named_timeout_in_the_log_is_no_timeout() -> None:
    assert found(failed(reason="exit code 1"), "wrote out_of_timeouts.txt").words == "exit code 1"


def waiting(reason: str, state: str = "waiting") -> Element:
    return Element("train", "a", "7_0", state, reason, "PENDING")


@pytest.mark.parametrize(
    ("element", "words", "next_command"),
    [
        (
            waiting("DependencyNeverSatisfied"),
            "a job before it failed: it will never start",
            "hsd cancel mine --stuck",
        ),
        (waiting("DependencyNeverSatisfied", "cancelled"), "a job before it failed", ""),
        (
            waiting("QOSMaxGRESPerUser"),
            "waits until other jobs of yours end (QOSMaxGRESPerUser)",
            "",
        ),
        (waiting("AssocGrpGRES"), "waits until other jobs of yours end (AssocGrpGRES)", ""),
        (
            waiting("AssocMaxWallDurationPerJobLimit"),
            "requests more than this cluster allows (AssocMaxWallDurationPerJobLimit): "
            "it will not start",
            "hsd doctor",
        ),
        (
            waiting("QOSMaxGRESPerJob"),
            "requests more than this cluster allows (QOSMaxGRESPerJob): it will not start",
            "hsd doctor",
        ),
        (
            waiting("ReqNodeNotAvail, UnavailableNodes:gpu1"),
            "the partition or its nodes are not available (ReqNodeNotAvail, UnavailableNodes:gpu1)",
            "sinfo -R",
        ),
        (waiting("JobHeldUser", "held"), "held: it was not released", "scontrol release 7"),
        (waiting("JobHeldAdmin", "held"), "held by an administrator", ""),
        (waiting("BeginTime", "requeued"), "starts again in a minute or two", ""),
        (waiting("A new reason of 2030"), "A new reason of 2030", ""),
    ],
)
def test_slurm_tells_why_it_waits(element: Element, words: str, next_command: str) -> None:
    seen = found(element)
    assert (seen.words, seen.next) == (words, next_command)


@pytest.mark.parametrize("state", ["done", "running"])
def test_what_runs_or_is_done_has_no_cause_whatever_its_log_holds(state: str) -> None:
    assert cause(Element("train", "a", "7_0", state), "CUDA out of memory") is None


def test_the_untouched_base_takes_the_memory_of_evaluations() -> None:
    element = Element("baseline", "baseline", "7_0", "failed", slurm="OUT_OF_MEMORY")
    assert "[stages.evaluate] memory_gb" in found(element).words


@pytest.mark.parametrize("known", [*FAILURES, *WAITS], ids=lambda known: known.words)
def test_each_cause_can_be_told_and_has_something_to_be_known_by(known: object) -> None:
    from slurm.watch.causes import KnownCause

    assert isinstance(known, KnownCause)
    assert known.slurm or known.reason or known.error or known.log or known.code is not None


def test_the_code_of_an_error_tells_whatever_its_words_are() -> None:
    log = f"Error: nothing fits any more\n{ERROR_CODE}CUDA_OUT_OF_MEMORY\n"
    assert found(failed(), log).words == "CUDA out of memory"


def test_the_code_of_an_error_comes_before_words_of_others() -> None:
    log = f"CUDA out of memory, retrying\nError: x\n[rank1]:{ERROR_CODE}DISK_QUOTA_EXCEEDED\n"
    assert found(failed(), log).words == "disk quota exceeded; free some space, then"


def test_slurms_word_comes_before_the_code_of_an_error() -> None:
    assert "time limit" in found(failed("TIMEOUT"), f"{ERROR_CODE}CUDA_OUT_OF_MEMORY").words


def test_a_code_that_is_not_known_leaves_the_message() -> None:
    log = f"Error: a.jsonl:3: no text.\n{ERROR_CODE}OF_A_NEWER_HSD\n"
    assert found(failed(), log).words == "a.jsonl:3: no text."


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_of_an_error_has_one_cause(code: ErrorCode) -> None:
    assert sum(known.error is code for known in (*FAILURES, *WAITS)) == 1
    assert code.name == code.value


def test_a_folder_in_use_is_no_fault_of_the_cell(tmp_path: Path) -> None:
    with (
        hold_lease(tmp_path, "hsd train"),
        pytest.raises(InUseError) as error,
        hold_lease(tmp_path, "x"),
    ):
        pass
    assert error.value.code is ErrorCode.FOLDER_IN_USE
    assert found(failed(code=3), f"[rank1]:Error: {error.value}\nError: {error.value}\n") == Cause(
        "another process works in the folder; wait for that process, then", AGAIN
    )


def test_a_folder_that_was_taken_over_is_said(tmp_path: Path) -> None:
    with hold_lease(tmp_path, "hsd train"):
        late = Lease(tmp_path / ".lease", myself("hsd train"), tmp_path, lambda _: None)
        with pytest.raises(TakenOver) as error:
            late.require()
    assert error.value.code is ErrorCode.FOLDER_TAKEN_OVER
    said = found(failed(code=75), f"{error.value}\n").words
    assert said == "another process took over the folder, because this one did not answer for long"
