"""report.json on disk: written from the model, and read back or refused in one line."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hsd.errors import EvaluationError
from hsd.io.files import write_json
from hsd.io.json_reader import read_object
from hsd.report.numbers import SCHEMA
from hsd.report.report_model import EvaluationReport

REPORT = "report.json"
Model = TypeVar("Model", bound=BaseModel)
_LONGEST = 60


class OtherReportError(EvaluationError):
    """A report.json of another version of hsd, or a damaged one; the run itself may be whole."""


def write_report(folder: Path, report: EvaluationReport) -> None:
    """Write report.json into the folder of an evaluation."""
    write_json(folder / REPORT, report.model_dump(mode="json", by_alias=True))


def read_report(folder: Path) -> EvaluationReport:
    """Return the report in the folder of an evaluation.

    Raises EvaluationError, which says how to write the report anew, for one of another version of
    hsd and for a damaged one.
    """
    file, again = folder / REPORT, f"write it anew with `hsd report {folder}`"
    content = read_object(file)
    if (version := content.get("schema")) != SCHEMA:
        raise OtherReportError(
            f"{file}: schema {_shown(version)}, and this version of hsd reads schema {SCHEMA}; "
            f"{again}."
        )
    return parsed(EvaluationReport, content, file, again)


def parsed(model: type[Model], content: dict[str, Any], file: Path, again: str) -> Model:
    """Return the content of a file as a model.

    Raises EvaluationError that names the first wrong place and says what to do.
    """
    try:
        return model.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        more = f" (and {len(others)} more)" if others else ""
        raise OtherReportError(f"{file}: {_problem(first)}{more}; {again}.") from None


def _problem(detail: ErrorDetails) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{place} is missing"
    if detail["type"] == "extra_forbidden":
        return f"unknown key {place}"
    said = detail["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{place}: {_shown(detail['input'])} is not accepted ({said})"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
