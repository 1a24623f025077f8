"""What one element of a run is doing: SLURM's word, its own events and its marker, merged. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsd.errors import Stopped
from slurm.cluster.parse import Accounted, Queued
from slurm.node.events import shell_code
from slurm.run.exit_words import exit_words, signal_words
from slurm.run.submissions import Submitted

LIVE = ("running", "stopping", "requeued", "waiting", "held")
"""States that something still comes of, the most telling first."""
NOT_SUBMITTED = "not submitted"
"""The state of a cell that has no job yet: it did not fit into the queue."""
OVER = ("done", "failed", "cancelled", "unknown", NOT_SUBMITTED)
"""States that nothing comes of any more. A state of SLURM's that hsd does not know is not over."""
NEVER = "DependencyNeverSatisfied"

_WAITING = {"PENDING", "CONFIGURING"}
RUNNING = {"RUNNING", "RESIZING", "SUSPENDED"}
STOPPING = {"COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED"}
REQUEUED = {"REQUEUED", "REQUEUE_FED"}
_HELD = {"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_HELD_BY = re.compile(r"^JobHeld|^JobRequeueHeld|^JobHoldMaxRequeue|requeued held$")
CANCELLED = {"CANCELLED", "REVOKED"}
_FAILED = {
    "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
    "LAUNCH_FAILED", "RECONFIG_FAIL",
}  # fmt: skip
_OVER = _FAILED | CANCELLED | {"COMPLETED"}


@dataclass(frozen=True, slots=True)
class ElementFacts:
    """All that is known of one element. `asked` says whether squeue answered."""

    submitted: Submitted | None = None
    index: int = 0
    done_at: str | None = None
    events: Sequence[Mapping[str, Any]] = ()
    queued: Queued | None = None
    accounted: Sequence[Accounted] = ()
    asked: bool = False

    @property
    def job(self) -> str:
        """The element's id in SLURM, or what its own events say."""
        if self.submitted:
            return self.submitted.element_id(self.index)
        return str(self.events[-1].get("job", "")) if self.events else ""

    @property
    def own(self) -> list[Mapping[str, Any]]:
        """The events of this job; others are of older submissions of the same cell."""
        return [e for e in self.events if not self.submitted or e.get("job") == self.job]


@dataclass(frozen=True, slots=True)
class Element:
    """One cell in one stage. `state` is hsd's word, `slurm` SLURM's own, `reason` why.

    `code` is the exit code once it has ended with one; `number` is the submission's.
    """

    stage: str
    cell: str
    job: str
    state: str
    reason: str = ""
    slurm: str = ""
    attempts: int = 0
    code: int | None = None
    node: str = ""
    used_s: int | None = None
    number: int = 0
    time_min: int = 0
    gpus: int = 0
    began: str = ""
    """When this attempt began, in UTC, by its own word; an earlier attempt's progress is older."""
    expected_start: str = ""
    """When SLURM thinks that it can start, in the controller's zone; of what waits alone."""

    @property
    def live(self) -> bool:
        """Whether something still comes of it."""
        return self.state not in OVER

    @property
    def leaving(self) -> bool:
        """Whether SLURM is ending it already."""
        return self.slurm in STOPPING


def element(stage: str, cell: str, known: ElementFacts) -> Element:
    """Return what one cell does in one stage."""
    submitted = known.submitted
    last = known.accounted[-1] if known.accounted else None
    slurm = known.queued.state if known.queued else last.state if last else ""
    state, reason = _state(known, slurm)
    own = known.own
    return Element(
        stage=stage,
        cell=cell,
        job=known.job,
        state=state,
        reason=reason,
        slurm=slurm,
        attempts=max(
            sum(e["event"] == "started" for e in own), sum(bool(a.start) for a in known.accounted)
        ),
        code=_code(known) if state == "failed" else None,
        node=_node(known),
        used_s=known.queued.used_s if known.queued else last.elapsed_s if last else None,
        number=submitted.number if submitted else 0,
        time_min=submitted.time_min if submitted else 0,
        gpus=submitted.gpus if submitted else 0,
        began=next((str(e["at"]) for e in reversed(own) if e["event"] == "started"), ""),
        expected_start=known.queued.start if known.queued and slurm in _WAITING else "",
    )


def shown_element(elements: Sequence[Element]) -> Element:
    """Return the one of a cell's elements in one stage that tells how it stands.

    There are several after a resubmission, of which the newest counts, and in a chain of queued
    attempts: one that is done, else one that something still comes of, else the last that began.
    """
    newest = max(one.number for one in elements)
    links = [one for one in elements if one.number == newest]
    for state in ("done", *LIVE):
        for one in links:
            if one.state == state:
                return one
    unlike = [one for one in links if one.live]  # in a state that hsd does not know
    return next((one for one in (*unlike, *reversed(links)) if one.state != "cancelled"), links[-1])


def _state(known: ElementFacts, slurm: str) -> tuple[str, str]:
    if known.done_at and _marker_counts(known, slurm):
        return "done", ""
    if known.queued and slurm not in _OVER:
        return _in_queue(known, known.queued)
    if slurm in _OVER:
        return _ended(known, slurm)
    if slurm and not known.asked:
        return _plain(slurm), ""
    return _from_events(known)


def _marker_counts(known: ElementFacts, slurm: str) -> bool:
    """Whether the marker is of this submission: a changed cell may be on its way again."""
    if known.submitted is None or slurm == "COMPLETED":
        return True
    if any(e["event"] == "ended" and e.get("code") == 0 for e in known.own):
        return True
    return str(known.done_at) >= known.submitted.at  # both in UTC, to the second


def _in_queue(known: ElementFacts, queued: Queued) -> tuple[str, str]:
    last = known.own[-1]["event"] if known.own else ""
    if queued.state in _HELD or _HELD_BY.search(queued.reason):
        return "held", queued.reason
    if queued.state in _WAITING:
        again = last == "requeued" or any(a.state == "REQUEUED" for a in known.accounted)
        return ("requeued" if again else "waiting"), queued.reason
    if queued.state in RUNNING and last == "signalled":
        return "stopping", str(known.own[-1].get("signal", ""))
    return _plain(queued.state), queued.reason


def _plain(slurm: str) -> str:
    """Return hsd's word for a state of SLURM's; one that is not known stays as it is."""
    words = {
        "waiting": _WAITING,
        "running": RUNNING,
        "stopping": STOPPING,
        "requeued": REQUEUED,
        "held": _HELD,
        "cancelled": CANCELLED,
        "failed": _FAILED,
    }
    return next((word for word, states in words.items() if slurm in states), slurm)


def _ended(known: ElementFacts, slurm: str) -> tuple[str, str]:
    if slurm == "COMPLETED":
        return "failed", "ended with code 0 but without its marker"
    if slurm in CANCELLED:
        return "cancelled", NEVER if _never_began(known) else ""
    return "failed", _why(known, slurm)


def _never_began(known: ElementFacts) -> bool:
    """Whether SLURM cancelled it since what it waits for failed; sacct has forgotten that word.

    Its Reason is then Dependency on 22.05, and None on 24.11; what a user cancels has `by UID`.
    """
    if known.queued and known.queued.reason:
        return known.queued.reason == NEVER
    last = known.accounted[-1] if known.accounted else None
    return bool(last and not last.by_user and not last.start and last.reason in ("", "Dependency"))


def _why(known: ElementFacts, slurm: str) -> str:
    last = known.own[-1] if known.own else {}
    if last.get("event") == "stopped":
        return str(last.get("why", ""))
    if slurm != "FAILED":
        return slurm
    # Of the queue only what is more than "it failed"; such as BadConstraints, JobLaunchFailure.
    word = known.queued.reason if known.queued else ""
    code, accounted = _code(known), known.accounted[-1] if known.accounted else None
    if word not in ("", "NonZeroExitCode"):
        return word
    if code:
        return exit_words(code)
    return signal_words(accounted.signal) if accounted and accounted.signal else ""


def _from_events(known: ElementFacts) -> tuple[str, str]:
    """Return what the element itself said last: there is no SLURM, or it has forgotten the job."""
    last = known.own[-1] if known.own else {}
    event = last.get("event")
    if any(e["event"] == "cancelled" for e in known.own):
        return "cancelled", ""
    if event == "ended":
        code = _code(known)
        why = exit_words(code) if code else "ended with code 0 but without its marker"
        return "failed", why
    if event == "stopped":
        return "failed", str(last.get("why", ""))
    if known.asked:
        return "unknown", "SLURM no longer knows this job"
    words = {"started": "running", "signalled": "stopping", "requeued": "requeued"}
    return words.get(str(event), "unknown"), "" if event else "it left no record of its state"


def _code(known: ElementFacts) -> int | None:
    last = known.own[-1] if known.own else {}
    if last.get("event") == "stopped":
        return int(last.get("code", Stopped.exit_code))
    if last.get("event") == "ended" and last.get("code") is not None:
        return shell_code(int(last["code"]))
    accounted = known.accounted[-1] if known.accounted else None
    return accounted.code or None if accounted else None


def _node(known: ElementFacts) -> str:
    if known.queued and known.queued.nodes:
        return known.queued.nodes
    if known.accounted and known.accounted[-1].nodes:
        return known.accounted[-1].nodes
    started = [e for e in known.own if e["event"] == "started"]
    return str(started[-1].get("node") or started[-1].get("host") or "") if started else ""
