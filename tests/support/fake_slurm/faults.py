"""What a test makes go wrong: $FAKE_SLURM/faults.json.

{"sbatch": {"fail_at": 3, "message": "..."}}         the third submission is refused
{"sbatch": {"timeout_at": 2}}                        times out and is not accepted
{"sbatch": {"timeout_but_accepted_at": 2}}           times out though it was accepted
{"squeue": {"state": "WEIRD_STATE"}}                 of all that is not over (and all in sacct)
{"squeue": {"reason": "QOSMaxGRESPerUser"}}          the reason of every job that waits
{PROGRAM: "refused"}                                 the controller does not answer it
{PROGRAM: {"refused": ["release"]}}                  it refuses these of its commands
{PROGRAM: {"sleep_s": 30}}                           it answers late
{"sacct": "disabled"}                                there is no accounting
{"sacct": "empty"}                                   the accounting lags: it knows no job yet
{"scancel": {"signal": "tree"}}                      signals reach what a step started, too
{"forgets": true}                                    jobs that ended are unknown, but to sacct
{"kill_caller": {"at": 3, "when": "after"}}          SIGKILL to who makes the third call of all
{"limits": {"MaxArraySize": 3}}                      what the cluster takes; LIMITS has the names
{"slots": 1}                                         so many elements run at once
{"kill_wait_s": 1}                                   from SIGTERM to SIGKILL
{"requeue_wait_s": 0}                                before a requeued element starts again
"""

import json
import os
import signal
import sys
import time
from typing import Any

from fake_slurm import store

NO_ANSWER = "Unable to contact slurm controller (connect failure)"
SOCKET_TIMEOUT = "Batch job submission failed: Socket timed out on send/recv operation"


LIMITS = ("MaxArraySize", "MaxJobCount", "MaxSubmitJobs", "MaxSubmitJobsPerUser")
"""Of the controller, of the user's association, and of the QOS `normal`."""


def limits() -> dict[str, int]:
    """Return the limits that a test sets."""
    return {name: int(most) for name, most in faults().get("limits", {}).items()}


def faults() -> dict[str, Any]:
    """Return all faults."""
    file = store.root() / "faults.json"
    return json.loads(file.read_text()) if file.exists() else {}


def of(program: str) -> dict[str, Any]:
    """Return a program's faults; one that is a word is a key of them."""
    found = faults().get(program, {})
    return {found: True} if isinstance(found, str) else found


def strike_caller(when: str) -> None:
    """Kill who called this program, `before` it does anything or `after`, where a fault says so."""
    own = faults().get("kill_caller", {})
    if own.get("when") != when:
        return
    calls = (store.root() / "calls.jsonl").read_text().count("\n")
    if calls >= own["at"]:  # several calls at once may all have written themselves down by now
        os.kill(os.getppid(), signal.SIGKILL)


def meet(program: str, command: str = "") -> None:
    """Be late or end here, where a fault says so."""
    own = of(program)
    time.sleep(own.get("sleep_s", 0))
    if own.get("refused") is True:
        words = {"squeue": "slurm_load_jobs error", "sinfo": "slurm_load_partitions"}
        fail(f"{words.get(program, f'{program}: error')}: {NO_ANSWER}")
    if command and command in own.get("refused", ()):
        fail(f"{program}: error: Access/permission denied")


def fail(words: str, code: int = 1) -> None:
    """End the program with words on stderr."""
    print(words, file=sys.stderr)
    raise SystemExit(code)
