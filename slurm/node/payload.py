"""The one class that is pickled for a job: texts alone, so that it says nothing a script may not.

Host side: standard library and submitit.
"""

from dataclasses import dataclass

import submitit

from slurm.node.supervisor import Orders, supervise


@dataclass(frozen=True)
class Payload:
    """What submitit's job process loads and calls, on each node."""

    orders: Orders

    def __call__(self) -> None:
        """Do it; the job ends with the commands' exit code.

        SystemExit passes through submitit, which would turn an error into a traceback and code 1.
        """
        if code := supervise(self.orders):
            raise SystemExit(code)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return itself: for a signal in the moment before `supervise` listens."""
        return submitit.helpers.DelayedSubmission(self)
