"""What a folder holds, so that two runs can be compared: a digest by the name of each file."""

import json
import re
from pathlib import Path
from typing import Any

from hsd.io.hashes import sha256_file, sha256_text

State = dict[str, str]

TOLD = re.compile(r"manifest\.json|.*\.(log|html|txt|csv)")
"""Files that tell of starts and times, or show what report.json has: they must be there."""
TIMED = {"tokens_per_second", "response_time", "mean_response_time_s", "date"}
"""What no two runs share of the JSON that is compared."""
OF_TIMED = {"sha256", "files"}
"""Keys of digests in what an evaluation writes: of predictions, which have times in them."""
_TIME = re.compile(r"(?<=_)\d{8}_\d{6}")


def state(place: Path) -> State:
    """Return the digest of every file below `place`, by its name without the time in it.

    TensorBoard's files, one a start, are left out.
    """
    files = sorted(p for p in place.rglob("*") if p.is_file() and "tensorboard" not in p.parts)
    return {_TIME.sub("TIME", str(p.relative_to(place))): digest(p) for p in files}


def digest(file: Path) -> str:
    """Return the digest of what two equal runs share of a file."""
    if TOLD.fullmatch(file.name):
        return "there"
    if file.suffix not in (".json", ".jsonl"):
        return sha256_file(file)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        value = json.loads(text)
        judged = (file.parent / "predictions.jsonl").exists() and isinstance(value, dict)
        kept = {k: v for k, v in value.items() if k not in OF_TIMED} if judged else value
        return sha256_text(json.dumps(_timeless(kept)))
    # The rows of a rank are in the order in which they were answered, which a stop changes.
    return sha256_text(
        "".join(sorted(json.dumps(_timeless(json.loads(row))) for row in text.splitlines()))
    )


def differences(wanted: State, found: State) -> list[str]:
    """Return a line for each file that is missing, left over or another one."""
    lines = [f"missing: {name}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"left over: {name}" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return lines + [f"differs: {name}" for name in both if wanted[name] != found[name]]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMED}
    return [_timeless(v) for v in value] if isinstance(value, list) else value
