"""The end of a shard: the last one whose rows are answered writes the run of all of them."""

import time
from collections.abc import Callable
from pathlib import Path

from hsd.evaluation.evaluation_lease import Leases
from hsd.evaluation.shard_files import (
    note_answered,
    record_shards,
    remove_shard_files,
    unanswered,
)
from hsd.io.lease import POLL_S
from hsd.io.manifest import DONE
from hsd.io.shard import Shard


def merge_answered(
    folder: Path, shard: Shard, leases: Leases,
    check_stop: Callable[[], None], finish: Callable[[], None],
) -> None:  # fmt: skip
    """Write down that a shard is answered, and `finish` the evaluation where all are.

    Of shards that end at one time each finds all answered: one holds the folder and merges, and
    the others wait, since it may yet be killed.
    """
    if (folder / DONE).exists():
        return
    note_answered(folder, shard)
    if unanswered(folder, shard):
        return
    while not leases.hold_to_merge(folder):
        check_stop()
        time.sleep(POLL_S)
    if not (folder / DONE).exists():
        record_shards(folder, shard)
        finish()
    remove_shard_files(folder)
