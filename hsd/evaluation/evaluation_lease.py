"""The leases of one evaluation: one start at a time makes its folder, answers rows and reports.

Of its shards each has a lease of its own, and one of them that of the folder while it merges.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from hsd.errors import InUseError
from hsd.evaluation.evaluation_folder import existing_folder, existing_otherwise, key_of
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.evaluation.shard_files import join_shards, refuse_other_numbers, require_same_shards
from hsd.io.dated_folder import new_folder
from hsd.io.files import LEASE
from hsd.io.lease import POLL_S, Lease, clear, hold_lease
from hsd.io.manifest import DONE
from hsd.io.run_identity import claim
from hsd.io.shard import Shard
from hsd.io.stopping import StopRequest

_WORK = "hsd evaluate"


class Leases:
    """What the first rank of an evaluation holds while it works; `with` it, all goes at the end.

    The lease of the evaluation's folder, once there is one. A new one gets its name from the time,
    so that two starts would each make their own: until then its `output_dir` has a lease that goes
    by the evaluation, and others may begin beside it.
    """

    def __init__(self, plan: EvaluationPlan, request: StopRequest, shard: Shard) -> None:
        self._plan, self._request, self._shard = plan, request, shard
        self._stack = ExitStack()
        self._newest: Lease | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self) -> None:
        """Take the evaluation, or the shard, whether it began before or not.

        Raises as `hold_lease`, and PreflightError where it began in other parts.
        """
        folder, output = existing_folder(self._plan), self._plan.config.output_dir
        if not self._shard.is_whole:
            self._hold(output, f"{self._common_name()}-{self._shard.name}")
            return
        name = f"{LEASE}-{key_of(self._plan.identity())}"
        if folder is not None:
            self._hold(folder)
            clear(output, _WORK, name)  # of a start that was killed once it had the folder
        else:
            self._hold(output, name)
            folder = existing_folder(self._plan)  # by who had that lease a moment ago
            if folder is not None:
                self._hold(folder)
        if folder is not None and not (folder / DONE).exists():
            require_same_shards(folder, self._shard)

    def make_folder(
        self, identity: Mapping[str, Any], check_stop: Callable[[], None] = lambda: None
    ) -> None:
        """Make the evaluation's folder, unless there is one; a shard signs up in it."""
        if self._shard.is_whole:
            if existing_folder(self._plan) is None:
                folder = new_folder(self._plan.config.output_dir)
                self._hold(folder)
                claim(folder, identity)
            return
        with ExitStack() as stack:
            output, alone = self._plan.config.output_dir, f"{LEASE}-{key_of(dict(identity))}"
            self._hold_when_free(stack, output, self._common_name(), check_stop)
            stack.enter_context(hold_lease(output, _WORK, name=alone))  # who has no shards
            folder = self._folder_of_shards(identity)
            if not (folder / DONE).exists():
                require_same_shards(folder, self._shard)
                join_shards(folder, self._shard, self._plan.numbers)

    def hold_to_merge(self, folder: Path) -> bool:
        """Take the folder itself, for one shard to merge all; False while another one does."""
        try:
            self._hold(folder)
        except InUseError:
            return False
        return True

    def require(self) -> None:
        """Raise TakenOver when another process has the evaluation by now."""
        if self._newest:
            self._newest.require()

    def _folder_of_shards(self, identity: Mapping[str, Any]) -> Path:
        """Return the folder that all shards share. Raises PreflightError for unlike shards."""
        folder = existing_folder(self._plan)
        if folder is None:
            if other := existing_otherwise(self._plan):
                raise refuse_other_numbers(other)
            folder = new_folder(self._plan.config.output_dir)
            claim(folder, identity)
        return folder

    def _common_name(self) -> str:
        """Return the lease of all shards: unlike ones too have to meet, to be told so."""
        identity = self._plan.identity()
        alike = {part: identity[part] for part in identity if part != "number_format"}
        return f"{LEASE}-{key_of(alike)}-shards"

    def _hold_when_free(
        self, stack: ExitStack, folder: Path, name: str, check_stop: Callable[[], None]
    ) -> None:
        """Hold a lease that others hold for moments only."""
        while True:
            try:
                stack.enter_context(hold_lease(folder, _WORK, name=name))
            except InUseError:
                check_stop()
                time.sleep(POLL_S)
            else:
                return

    def _hold(self, folder: Path, name: str = LEASE) -> None:
        lease = hold_lease(folder, _WORK, name=name, lost=self._request.lose)
        self._newest = self._stack.enter_context(lease)
