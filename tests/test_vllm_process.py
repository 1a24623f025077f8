"""The process that vLLM runs in, whatever becomes of it, with a shell script for vLLM."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hsd.errors import EvaluationError
from hsd.inference.vllm_process import VllmProcess


def started(
    folder: Path,
    script: str,
    check_stop: Callable[[], None] = lambda: None,
    **settings: str,
) -> VllmProcess:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return VllmProcess(python, settings, folder / "vllm.log", check_stop)


@pytest.mark.parametrize(
    ("script", "how"), [("exit 3", "with exit status 3"), ("kill -SEGV $$", "by signal SIGSEGV")]
)
def test_a_vllm_that_dies_silently_is_not_explained_with_an_earlier_starts_last_words(
    script: str, how: str, tmp_path: Path
) -> None:
    (tmp_path / "vllm.log").write_text("torch.OutOfMemoryError: CUDA out of memory.\n")
    with pytest.raises(EvaluationError, match=f"vLLM ended {how}: it wrote nothing") as died:
        started(tmp_path, script)
    assert died.value.code is EvaluationError("").code
    assert "out of memory" in (tmp_path / "vllm.log").read_text()


def test_a_vllm_that_dies_is_explained_with_its_own_last_words(tmp_path: Path) -> None:
    (tmp_path / "vllm.log").write_text("an earlier start\n")
    with pytest.raises(EvaluationError, match="with exit status 1: no such device"):
        started(tmp_path, "echo no such device; exit 1")


class StopHeardError(Exception):
    """Stands for a stop."""


def test_a_stop_is_heard_while_a_large_request_is_written_to_a_vllm_that_reads_nothing(
    tmp_path: Path,
) -> None:
    looked = []

    def check_stop() -> None:
        looked.append(True)
        if len(looked) > 3:
            raise StopHeardError

    with pytest.raises(StopHeardError):
        started(tmp_path, "exec sleep 20", check_stop, model="x" * 1_000_000)
