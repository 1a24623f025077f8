"""The leases of one evaluation: one start at a time makes its folder, answers rows and reports."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from hsd.evaluation.evaluation_folder import existing_folder, key_of
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.io.dated_folder import new_folder
from hsd.io.files import LEASE
from hsd.io.lease import Lease, clear, hold_lease
from hsd.io.run_identity import claim
from hsd.io.stopping import StopRequest

_WORK = "hsd evaluate"


class Leases:
    """What the first rank of an evaluation holds while it works; `with` it, all goes at the end.

    The lease of the evaluation's folder, once there is one. A new one gets its name from the time,
    so that two starts would each make their own: until then its `output_dir` has a lease that goes
    by the evaluation, and others may begin beside it.
    """

    def __init__(self, plan: EvaluationPlan, request: StopRequest) -> None:
        self._plan, self._request = plan, request
        self._stack = ExitStack()
        self._newest: Lease | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self) -> None:
        """Take the evaluation, whether it began before or not; raises as `hold_lease`."""
        folder, output = existing_folder(self._plan), self._plan.config.output_dir
        name = f"{LEASE}-{key_of(self._plan.identity())}"
        if folder is not None:
            self._hold(folder)
            clear(output, _WORK, name)  # of a start that was killed once it had the folder
            return
        self._hold(output, name)
        if (
            folder := existing_folder(self._plan)
        ) is not None:  # by who had that lease a moment ago
            self._hold(folder)

    def make_folder(self, identity: Mapping[str, Any]) -> None:
        """Make the evaluation's folder, unless there is one."""
        if existing_folder(self._plan) is None:
            folder = new_folder(self._plan.config.output_dir)
            self._hold(folder)
            claim(folder, identity)

    def require(self) -> None:
        """Raise TakenOver when another process has the evaluation by now."""
        if self._newest:
            self._newest.require()

    def _hold(self, folder: Path, name: str = LEASE) -> None:
        lease = hold_lease(folder, _WORK, name=name, lost=self._request.lose)
        self._newest = self._stack.enter_context(lease)
