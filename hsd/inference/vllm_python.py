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


def vllm_python(env: Mapping[str, str] | None = None) -> Path:
    """Return a Python that has vllm: the one that is named, this one, or that of `make vllm`.

    Raises PreflightError where there is none.
    """
    if named := (os.environ if env is None else env).get(NAMED_BY):
        if not _has_vllm(named):
            raise PreflightError(f"{NAMED_BY}={named}: no Python with vllm; name one, or unset it.")
        return Path(named)
    if find_spec("vllm"):
        return Path(sys.executable)
    beside = Path(sys.prefix).parent / BESIDE / "bin" / "python"
    if beside.is_file() and _has_vllm(str(beside)):
        return beside
    raise PreflightError(
        "engine vllm: no Python with vllm was found. Install vllm in an environment of its own "
        f"(python3 -m venv {BESIDE} && {BESIDE}/bin/pip install vllm) and set "
        f"{NAMED_BY}={BESIDE}/bin/python; for a CPU, `make vllm` makes one in hsd's own folder."
    )


@cache
def _has_vllm(python: str) -> bool:
    look = "import sys, importlib.util as u; sys.exit(not u.find_spec('vllm'))"
    try:
        return subprocess.run([python, "-P", "-c", look], capture_output=True).returncode == 0
    except OSError:
        return False
