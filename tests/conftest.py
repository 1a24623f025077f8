"""No test touches the network, the home folder or the checkout."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Read when the heavy libraries are imported, which is before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny models are 20x slower on two threads than on one

# The same examples every day, no clock (a busy machine is no bug), no database in the checkout.
settings.register_profile("hsd", deadline=None, derandomize=True, database=None)
settings.load_profile("hsd")

# Schedulers, CI systems and `nohup make test &` start with signals ignored or blocked, and every
# child inherits that. Tests send signals to themselves and to children: as in a terminal.
signal.pthread_sigmask(signal.SIG_SETMASK, ())
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

pytest_plugins = ["slurm_cluster", "slurm_runs", "fake_cluster", "hsd_program", "sweep_bench"]

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send HOME, HF_HOME and everything written to a relative path into tmp_path."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Give `golden(name, text)`: the text equals tests/golden/NAME, or `make golden` accepts it."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if os.environ.get("HSD_ACCEPT_GOLDEN"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{file} is missing; look at the text, then `make golden`"
        assert text == file.read_text(encoding="utf-8")

    return check


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama with a ChatML template; nobody writes into it."""
    import tiny

    return tiny.llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def tiny_thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama that answers after an empty thought, within a token."""
    import tiny

    words = tiny.thinking_tokenizer()
    return tiny.llama(tmp_path_factory.mktemp("tiny") / "thinker", words=words)


@pytest.fixture(scope="session")
def tiny_gpt_oss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny gpt-oss with a harmony-like template; nobody writes into it."""
    import tiny

    return tiny.gpt_oss(tmp_path_factory.mktemp("tiny") / "gpt_oss")


@pytest.fixture(scope="session")
def tiny_mxfp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny gpt-oss with experts in MXFP4; nobody writes into it."""
    import tiny

    return tiny.mxfp4(tmp_path_factory.mktemp("tiny") / "mxfp4")


@pytest.fixture(scope="session")
def tiny_gemma2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Gemma-2, which has no sdpa; nobody writes into it."""
    import tiny

    return tiny.gemma2(tmp_path_factory.mktemp("tiny") / "gemma2")


@pytest.fixture(scope="session")
def tiny_gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Gemma-3 that sees pictures too; nobody writes into it."""
    import tiny

    return tiny.gemma3(tmp_path_factory.mktemp("tiny") / "gemma3")
