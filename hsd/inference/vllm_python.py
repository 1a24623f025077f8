"""Which Python runs vLLM: the two want other versions of transformers than one environment has."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from hsd.errors import PreflightError

NAMED_BY = "HSD_VLLM_PYTHON"
"""The variable that names a Python with vllm."""
BESIDE = ".venv-vllm"
"""What `make vllm` makes beside hsd's own environment."""
_INSTALL = (
    f"Install vllm in an environment of its own (python3 -m venv {BESIDE} && {BESIDE}/bin/pip "
    f'install vllm) and set {NAMED_BY}="$PWD/{BESIDE}/bin/python"'
)
_NO_VLLM = 42
"""How a Python ends that was asked for vllm and has none."""


def vllm_python(env: Mapping[str, str] | None = None) -> Path:
    """Return a Python that has vllm: the one that is named, this one, or that of `make vllm`.

    Raises PreflightError where there is none.
    """
    if named := (os.environ if env is None else env).get(NAMED_BY):
        if problem := _problem_of(named):
            raise PreflightError(f"{NAMED_BY}={named}: {problem}. {_INSTALL}, or unset it.")
        return Path(named)
    if find_spec("vllm"):
        return Path(sys.executable)
    beside = Path(sys.prefix).parent / BESIDE / "bin" / "python"
    if beside.is_file() and not _problem_of(str(beside)):
        return beside
    raise PreflightError(
        f"engine vllm: no Python with vllm was found. {_INSTALL}; for a CPU, `make vllm` makes one "
        "in hsd's own folder."
    )


@cache
def _problem_of(python: str) -> str:
    """Return why vllm cannot run in a Python; "" where it can."""
    look = f"import sys, importlib.util as u; sys.exit(0 if u.find_spec('vllm') else {_NO_VLLM})"
    try:
        ended = subprocess.run([python, "-P", "-c", look], capture_output=True).returncode
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"cannot be started ({error.strerror})"
    if ended == _NO_VLLM:
        return "this Python has no module vllm"
    return f"is no Python of 3.11 or later (it ended with {ended})" if ended else ""
