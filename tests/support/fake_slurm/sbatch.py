"""sbatch: takes a script, keeps what it was given, and queues it."""

import getpass
import json
import os
import sys
import time
from pathlib import Path

from fake_slurm import faults, options, resources, schedule, store

MAX_ARRAY_SIZE = 1001


def main(argv: list[str]) -> None:
    """Submit argv's script, or the one on stdin."""
    faults.meet("sbatch")
    given, rest = options.parsed("sbatch", argv)
    script = _script(given, rest)
    told, _ = options.parsed("sbatch", options.directives(script.decode()))
    asked = told | given
    _check(asked)
    if "test-only" in asked:
        _test_only(asked)
        return
    own, count = faults.of("sbatch"), _count()
    if own.get("fail_at") == count:
        faults.fail(f"sbatch: error: {own.get('message', faults.SOCKET_TIMEOUT)}")
    if own.get("timeout_at") == count:
        faults.fail(f"sbatch: error: {faults.SOCKET_TIMEOUT}")
    number = _accept(argv, script, asked, rest)
    if own.get("timeout_but_accepted_at") == count:
        faults.fail(f"sbatch: error: {faults.SOCKET_TIMEOUT}")
    print(number if "parsable" in asked else f"Submitted batch job {number}")


def _script(given: dict[str, str], rest: list[str]) -> bytes:
    if "wrap" in given:
        return (
            f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{given['wrap']}\n".encode()
        )
    if not rest:
        return sys.stdin.buffer.read()
    if not Path(rest[0]).is_file():
        faults.fail(f"sbatch: error: Unable to open file {rest[0]}")
    return Path(rest[0]).read_bytes()


def _check(asked: dict[str, str]) -> None:
    fail = "Batch job submission failed"
    partition = asked.get("partition", "gpu")
    if partition not in resources.PARTITIONS:
        words = f"sbatch: error: invalid partition specified: {partition}"
        faults.fail(f"{words}\nsbatch: error: {fail}: Invalid partition name specified")
    if asked.get("account", "hsd") not in ("hsd", "root"):
        why = "Invalid account or account/partition combination specified"
        faults.fail(f"sbatch: error: {fail}: {why}")
    limits, indices = faults.limits(), store.numbers(asked.get("array", "0"))
    if max(indices) >= limits.get("MaxArraySize", MAX_ARRAY_SIZE):
        faults.fail(f"sbatch: error: {fail}: Invalid job array specification")
    queued = [e for job in store.read()["jobs"] for e in job["elements"] if not store.ended(e)]
    most = [limit for name, limit in limits.items() if name != "MaxArraySize"]
    if most and "test-only" not in asked and len(queued) + len(indices) > min(most):
        why = (
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
        )
        faults.fail(f"sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: {fail}: {why}")
    if resources.gpus(asked)[0] > resources.GPUS_OF_A_NODE or resources.number(asked, "nodes") > 4:
        why = "Requested node configuration is not available"
        test = "allocation failure" if "test-only" in asked else f"sbatch: error: {fail}"
        faults.fail(f"{test}: {why}")


def _test_only(asked: dict[str, str]) -> None:
    with store.changed() as state:
        number = store.new_id(state)  # as in Slurm: a test takes an id, too
    when = time.strftime("%Y-%m-%dT%H:%M:%S")
    cores, partition = resources.cpus(asked), asked.get("partition", "gpu")
    words = f"to start at {when} using {cores} processors on nodes fake1 in partition {partition}"
    print(f"sbatch: Job {number} {words}", file=sys.stderr)


def _count() -> int:
    """Return the number of this submission, accepted or not."""
    with store.changed() as state:
        state["submissions"] = state.get("submissions", 0) + 1
        return int(state["submissions"])


def _accept(argv: list[str], script: bytes, asked: dict[str, str], rest: list[str]) -> int:
    if not script.startswith(b"#!"):
        faults.fail(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh"
        )
    array, (_, percent, parallelism) = asked.get("array"), asked.get("array", "").partition("%")
    with store.changed() as state:
        files = store.root() / "submissions" / f"{len(state['jobs']) + 1:03}"
        files.mkdir(parents=True)
        (files / "script").write_bytes(script)
        (files / "script").chmod(0o700)
        (files / "argv.json").write_text(json.dumps(argv))
        (files / "environment.json").write_text(json.dumps(dict(os.environ)))
        number = store.new_id(state)
        state["jobs"].append(
            {
                "id": number,
                "name": asked.get("job-name", Path(rest[0]).name if rest else "wrap"),
                "user": getpass.getuser(),
                "submitted": time.time(),
                "folder": str(Path(asked.get("chdir", ".")).resolve()),
                "files": str(files),
                "arguments": rest[1:],
                "options": asked,
                "parallelism": int(parallelism) if percent else None,
                "elements": [
                    _element(index, "hold" in asked)
                    for index in (store.numbers(array) if array else [None])
                ],
            }
        )
        schedule.advance(state)
    return number


def _element(index: int | None, held: bool) -> store.Element:
    fresh = {"raw": None, "pid": None, "start": None, "end": None, "code": "0:0", "restarts": 0}
    reason = "JobHeldUser" if held else "None"
    queued = {"state": "PENDING", "reason": reason, "held": held, "attempts": []}
    return {"index": index} | fresh | queued
