"""Why an element failed or waits, in plain words, and the next command to type. Data, and pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain

from hsd.errors import ERROR_CODE, GATE_FAILED, GATE_UNDECIDED, ErrorCode, Stopped
from slurm.cluster.stage_config import ASKS_FOR
from slurm.run.element_state import NEVER, Element
from slurm.run.run_folder import whole_stage

RESUBMIT = "hsd resubmit {run} --failed"


@dataclass(frozen=True, slots=True)
class Cause:
    """What is the matter, and the command that comes next ("" where only waiting helps)."""

    words: str
    next: str = ""
    of_node: bool = False
    """Whether it is the node's fault: another node may do."""


@dataclass(frozen=True, slots=True)
class KnownCause:
    """One known cause: it is this when any of its patterns is found, in an element so disposed.

    `slurm` is matched with SLURM's state, `reason` with SLURM's reason, `error` with the code that
    an error of hsd leaves in the log, `log` with what other programs and an older hsd wrote there,
    `code` with the exit code. {run}, {cell}, {node} and other names are filled in.
    """

    words: str
    next: str = ""
    states: tuple[str, ...] = ("failed",)
    slurm: str = ""
    reason: str = ""
    error: ErrorCode | None = None
    log: str = ""
    code: int | None = None
    of_node: bool = False

    def is_named(self, element: Element, errors: Collection[str]) -> bool:
        """Whether SLURM or the code of an error says that the element suffers from it."""
        return element.state in self.states and (
            bool(self.slurm and re.fullmatch(self.slurm, element.slurm))
            or bool(self.reason and re.search(self.reason, element.reason))
            or self.error in errors
        )

    def fits(self, element: Element, log: str) -> bool:
        """Whether the words of the log, or the exit code, say so."""
        return element.state in self.states and (
            bool(self.log and re.search(self.log, log, re.IGNORECASE | re.MULTILINE))
            or (self.code is not None and element.code == self.code)
        )


_QUEUED = ("waiting", "requeued", "held")

FAILURES = (
    KnownCause(
        "the job reached its time limit of {limit}",
        f"{RESUBMIT} --time {{time}}",
        slurm="TIMEOUT|DEADLINE",
    ),
    KnownCause(
        "{node} failed",
        RESUBMIT,
        slurm="NODE_FAIL|BOOT_FAIL",
        of_node=True,
    ),
    KnownCause("preempted by a job with higher priority", RESUBMIT, slurm="PREEMPTED"),
    KnownCause(
        "CUDA out of memory",
        f"{RESUBMIT} --set training.gradient_checkpointing=true",
        error=ErrorCode.CUDA_OUT_OF_MEMORY,
        log=r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|GPU's memory is full",
    ),
    KnownCause(
        "out of memory on the node; increase [stages.{kind}] memory_gb in the profile, then",
        RESUBMIT,
        slurm="OUT_OF_MEMORY",
        error=ErrorCode.HOST_OUT_OF_MEMORY,
        log=r"oom.kill|DefaultCPUAllocator: can't allocate memory|^MemoryError\b"
        r"|Exceeded job memory limit",
    ),
    KnownCause(
        "disk quota exceeded; free some space, then",
        RESUBMIT,
        error=ErrorCode.DISK_QUOTA_EXCEEDED,
        log=r"disk quota exceeded|EDQUOT|your quota on this disk is used up",
    ),
    KnownCause(
        "no space left on a disk; free some space, then",
        RESUBMIT,
        error=ErrorCode.DISK_FULL,
        log=r"no space left on (device|this disk)|ENOSPC",
        of_node=True,
    ),
    KnownCause(
        "a disk of {node} is read-only or broken",
        RESUBMIT,
        log=r"read-only file system|EROFS|input/output error|\bEIO\b",
        of_node=True,
    ),
    KnownCause(
        "no folder for a job's caches could be made on the disk of {node}",
        RESUBMIT,
        log=r"^(\[\w+\]:)?Error: .+: cannot be made on ",
        of_node=True,
    ),
    KnownCause(
        "a model file is missing in the cache, and jobs have no internet",
        "hsd fetch {sweep}",
        error=ErrorCode.MODEL_NOT_IN_CACHE,
        log=r"LocalEntryNotFoundError|OfflineModeIsEnabled|outgoing traffic has been disabled"
        r"|couldn't connect to 'https?://|cannot reach https?://huggingface|hub cannot be reached",
    ),
    KnownCause(
        "the GPU driver of {node} is too old for this torch or image",
        "hsd doctor --smoke",
        log=r"driver (on your system )?is too old|driver version is insufficient"
        r"|unsatisfied condition: cuda|forward compatibility was attempted",
        of_node=True,
    ),
    KnownCause(
        "torch is a build without CUDA",
        "hsd doctor",
        log=r"Torch not compiled with CUDA",
    ),
    KnownCause(
        "no GPU was found on {node}",
        "hsd doctor --smoke",
        error=ErrorCode.GPU_NOT_FOUND,
        log=r"torch sees no GPU|No CUDA GPUs are available|no CUDA-capable device"
        r"|could not select device driver|Found no NVIDIA driver|no nvidia-container-cli",
        of_node=True,
    ),
    KnownCause(
        "the container or its image was not found",
        "hsd doctor",
        log=r"\b(apptainer|singularity|ch-run|docker|podman|enroot):( command)? not found"
        r"|could not open image|no such image|manifest unknown|unable to find image"
        r"|failed to import docker image|pyxis: .*(failed|couldn't)"
        r"|'(apptainer|singularity|ch-run|docker|podman)'$",
    ),
    KnownCause(
        "NCCL timed out: the GPUs lost contact with each other",
        RESUBMIT,
        log=r"NCCL.*tim(ed? ?out|eout)|Watchdog caught collective operation timeout",
        of_node=True,
    ),
    KnownCause(
        "another process works in the folder; wait for that process, then",
        RESUBMIT,
        error=ErrorCode.FOLDER_IN_USE,
        log=r"^(\[\w+\]:)?Error: .+ is in use: .+ works in it and was heard of",
    ),
    KnownCause(
        "another process took over the folder, because this one did not answer for long",
        error=ErrorCode.FOLDER_TAKEN_OVER,
        log=r"was taken over: .+ works in it now",
    ),
    KnownCause(
        "no node on this cluster fits the request",
        "hsd doctor",
        reason=r"BadConstraints",
    ),
    KnownCause(
        "SLURM could not start it on {node}",
        RESUBMIT,
        slurm="LAUNCH_FAILED|RECONFIG_FAIL",
        reason=r"JobLaunchFailure|launch failed",
        of_node=True,
    ),
    KnownCause(
        "the gate says FAIL: a rule is broken; jobs that wait for it do not start",
        "hsd logs {run}/{cell}",
        code=GATE_FAILED,
    ),
    KnownCause(
        "the gate says UNDERPOWERED: too few posts to tell; jobs that wait for it do not start",
        "hsd logs {run}/{cell}",
        code=GATE_UNDECIDED,
    ),
    KnownCause(
        "stopped early and not requeued ({reason}); it can resume from its checkpoint",
        RESUBMIT,
        code=Stopped.exit_code,
    ),
)
"""Why something failed; the first that fits. SLURM's own word comes before what a log may hold, and
the code of an error before the words of one."""

WAITS = (
    KnownCause(
        "a job before it failed: it will never start",
        "hsd cancel {run} --stuck",
        states=_QUEUED,
        reason=NEVER,
    ),
    KnownCause("a job before it failed", states=("cancelled",), reason=NEVER),
    KnownCause(
        "requests more than this cluster allows ({reason}): it will not start",
        "hsd doctor",
        states=_QUEUED,
        reason=r"(PerJob|WallDuration\w*|PerJobLimit)$|^PartitionTimeLimit|^PartitionNodeLimit"
        r"|^Invalid(Account|QOS)|NotAllowed|^BadConstraints|MinGRES|MinCpus|^AssocMaxWall",
    ),
    KnownCause(
        "waits until other jobs of yours end ({reason})",
        states=_QUEUED,
        reason=r"^(QOS|Assoc|MaxJobs|MaxSubmit)",
    ),
    KnownCause(
        "the partition or its nodes are not available ({reason})",
        "sinfo -R",
        states=_QUEUED,
        reason=r"PartitionDown|PartitionInactive|ReqNodeNotAvail|DOWN|DRAINED|NodeDown|Reservation",
    ),
    KnownCause(
        "SLURM holds it after a failed start ({reason})",
        "scontrol release {array}",
        states=_QUEUED,
        reason=r"requeued held|JobRequeueHeld|JobHoldMaxRequeue",
    ),
    KnownCause(
        "held by an administrator",
        states=_QUEUED,
        reason=r"JobHeldAdmin",
    ),
    KnownCause(
        "held: it was not released",
        "scontrol release {array}",
        states=_QUEUED,
        reason=r"JobHeldUser",
    ),
    KnownCause("starts again in a minute or two", states=("requeued",), reason=r"^BeginTime"),
    KnownCause("for the stage before", states=_QUEUED, reason=r"^Dependency$"),
    KnownCause("for a free place", states=_QUEUED, reason=r"^(Resources|Priority)$"),
    KnownCause("for its turn in the array", states=_QUEUED, reason=r"^JobArrayTaskLimit$"),
)
"""Why something waits, or was never begun."""

_ERROR_LINE = re.compile(r"^(?:\[\w+\]:)?Error: (.+)$", re.MULTILINE)
_CODE_LINE = re.compile(rf"^(?:\[\w+\]:)?{ERROR_CODE}(\w+)$", re.MULTILINE)
_EXCEPTION = re.compile(
    r"^(?:\[\w+\]:)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$", re.MULTILINE
)
_LONGEST = 300


def cause(
    element: Element,
    log_tail: str = "",
    run: str = "RUN",
    sweep: str = "SWEEP",
    unsettled: Collection[int] = (),
) -> Cause | None:
    """Return why an element failed or waits; None for one that does neither.

    `run` and `sweep` are the names to type in the next command, `unsettled` the numbers of
    submissions that have no end: their jobs may lack what they wait for, so that no one by itself
    may be released.
    """
    if element.number in unsettled and element.reason.startswith("JobHeldUser"):
        return Cause("held: its submission did not get to its end", f"hsd resubmit {run}")
    filling = {
        "run": run,
        "sweep": sweep,
        "cell": element.cell,
        "stage": element.stage,
        "kind": _kind(element),
        "array": element.job.partition("_")[0],  # all its elements: they mostly have one cause
        "node": element.node or "the node",
        "reason": element.reason,
        "limit": clock(element.time_min),
        "time": clock(2 * element.time_min or 60),
    }
    if known := _known(element, log_tail):
        return Cause(known.words.format_map(filling), known.next.format_map(filling), known.of_node)
    if element.state == "failed":
        look = "hsd logs {run}/{cell}/{stage}".format_map(filling)
        return Cause(
            _message(log_tail) or element.reason or element.slurm or "no reason was recorded", look
        )
    if element.state == "unknown":
        return Cause(element.reason, RESUBMIT.format_map(filling))
    return Cause(element.reason) if element.reason and element.state in _QUEUED else None


def _known(element: Element, log: str) -> KnownCause | None:
    """Return the first cause that SLURM or an error's code names, else the first by words."""
    errors = _CODE_LINE.findall(log)
    named = (known for known in (*FAILURES, *WAITS) if known.is_named(element, errors))
    by_words = (known for known in FAILURES if known.fits(element, log))
    return next(chain(named, by_words), None)


def clock(minutes: int) -> str:
    """Return minutes as SLURM's hours, minutes and seconds: 90 -> 01:30:00."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def _kind(element: Element) -> str:
    """Return the [stages.KIND] of the profile: the untouched base is evaluated like the others."""
    stage = whole_stage(element.stage)
    return ASKS_FOR.get(stage, stage)


def _message(log: str) -> str:
    """Return hsd's own last `Error: ...` line, else the last exception of a traceback."""
    for pattern in (_ERROR_LINE, _EXCEPTION):
        if found := pattern.findall(log):
            return "".join(filter(str.isprintable, found[-1]))[:_LONGEST]
    return ""
