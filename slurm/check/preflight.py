"""Everything that is looked at before a submission, at once: it must not cost seconds.

But for a base that is large for its GPUs, whose memory is planned: that takes some.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hsd.checks import Check, Look, doubts, failures, refuse, together
from hsd.errors import HsdError
from slurm.check import checks_bases, checks_files, checks_memory, checks_queue, checks_rows
from slurm.cluster.client import ClusterError, CommandFailed, Slurm
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.sweep import Cell, Sweep

__all__ = ["Check", "doubts", "failures", "preflight", "refuse", "run_all", "together"]

_THREADS = 16
"""Each waits for a program or a disk; none computes."""
_LONGEST_ANSWER_S = 30.0


def preflight(
    prepared: SubmissionBundle,
    slurm: Slurm | None,
    cells: Sequence[Cell] = (),
    sweep: Sweep | None = None,
) -> list[Check]:
    """Return what is right and wrong with a submission; nothing is written or submitted.

    `cells` say which bases are used and how much room is needed, the `sweep` which rows are read;
    `slurm` is None for a run on this machine. All are looked at, whatever one of them finds.
    """
    with tempfile.TemporaryDirectory(prefix="hsd-preflight-") as scratch:
        asked: list[Look] = []
        if slurm is not None and prepared.profile.slurm is not None:
            quick = replace(slurm, timeout_s=min(slurm.timeout_s, _LONGEST_ANSWER_S))
            asked += checks_queue.looks(prepared, quick, Path(scratch))
        asked += checks_files.looks(prepared)
        asked += checks_bases.looks(prepared, cells)
        asked += checks_memory.looks(prepared, cells)
        if sweep is not None:
            asked += checks_rows.looks(prepared, cells, sweep)
        return run_all(asked)


def run_all(asked: Sequence[Look]) -> list[Check]:
    """Return the checks of all, in their order, however long each takes."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return [check for found in pool.map(_looked, asked) for check in found]


def _looked(asked: Look) -> list[Check]:
    name, look = asked
    try:
        return list(look())
    except (ClusterError, CommandFailed) as error:
        # A controller that is too busy to answer is no reason to refuse; sbatch speaks for itself.
        return [Check(name, None, str(error).rstrip("."))]
    except HsdError as error:
        return [Check(name, False, str(error).rstrip("."))]
