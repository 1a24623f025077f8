"""gate.json: a verdict with digests of itself and of the answers that it is about."""

from pathlib import Path

from hsd.errors import EvaluationError
from hsd.io.digests import FILES, damage, digests
from hsd.io.files import write_json
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import read_object
from hsd.metrics.gate import Verdict
from hsd.report.gate_section import gate_numbers
from hsd.report.predictions import PREDICTIONS
from hsd.report.report_changes import GateReport
from hsd.report.report_file import parsed

GATE = "gate.json"
SHA256 = "sha256"
_AGAIN = "run `hsd gate` again"


def write_verdict(folder: Path, verdict: Verdict, rows: int) -> Path:
    """Write gate.json into the folder of an evaluation of `rows` answers; return its path."""
    about = {"rows": rows, FILES: digests(folder, [PREDICTIONS])}
    content = {**gate_numbers(verdict), **about}
    write_json(folder / GATE, {**content, SHA256: sha256_json(content)})
    return folder / GATE


def read_verdict(folder: Path) -> GateReport | None:
    """Return the verdict in an evaluation's folder, None where there is none.

    Raises EvaluationError when it was edited or damaged, or is about other answers than are there
    now.
    """
    file = folder / GATE
    if not file.exists():
        return None
    content = read_object(file)
    said = content.pop(SHA256, None)
    if said is not None and said != sha256_json(content):
        raise EvaluationError(f"{file}: was edited since `hsd gate` wrote it; {_AGAIN}.")
    if lost := damage(folder, GATE):
        raise EvaluationError(f"{file}: its verdict is about other answers ({lost}); {_AGAIN}.")
    verdict = {name: part for name, part in content.items() if name not in ("rows", FILES)}
    return parsed(GateReport, verdict, file, _AGAIN)
