"""Run a command as a program: one line and an exit code for what the user can mend.

Exit codes: 0 done; 2 usage or config, 3 preflight, 10 data, 11 model, 12 training, 13 evaluation
(hsd/errors.py); 20, 21 a gate that fails or is undecided; 75 stopped on request, the same command
goes on; 130 stopped by Ctrl-C.
"""

import errno
import logging
import os
import sys
import warnings
from io import StringIO
from typing import NoReturn

import click

from hsd.errors import ERROR_CODE, ErrorCode, HsdError, PreflightError, Stopped
from hsd.secrets import hidden
from jobs.terminal.home import provide_home
from jobs.terminal.log_head import is_in_a_job
from jobs.terminal.output import VisibleFormatter, brief, echo, echo_text

_INTERRUPTED = 130
_THEIRS = {
    errno.ENOSPC: "no space left on this disk",
    errno.EDQUOT: "your quota on this disk is used up",
    errno.EACCES: "no permission",
    errno.EROFS: "this disk is read-only",
    errno.EFBIG: "a file may not grow as large as this here (ulimit -f)",
    errno.ENAMETOOLONG: "this name is too long for the file system",
    errno.EISDIR: "a folder stands where a file should",
    errno.ENOTDIR: "a file stands where a folder should",
}
"""What a full or closed disk says; any other OSError is a bug of ours."""
_CODES = {errno.ENOSPC: ErrorCode.DISK_FULL, errno.EDQUOT: ErrorCode.DISK_QUOTA_EXCEEDED}


def run(command: click.Command, name: str | None = None) -> NoReturn:
    """Run `command` on the program's arguments and exit; every `python -m jobs.X` ends here."""
    for line in provide_home(os.environ, os.getuid()):
        echo(line, err=True)
    _hush_libraries()
    sys.exit(_status(command, name))


def _hush_libraries() -> None:
    """Keep the libraries' remarks off the terminal; PYTHONWARNINGS and their own variables win."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of loading would fill log files
    if logging.lastResort:  # what shows hsd's own warnings
        logging.lastResort.setFormatter(VisibleFormatter())
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _status(command: click.Command, name: str | None) -> int:
    try:
        result = command.main(prog_name=name, standalone_mode=False)
    except HsdError as error:
        return _said(error)
    except click.ClickException as error:
        error.show(said := StringIO())
        echo_text(hidden(brief(said.getvalue())), nl=False, err=True)
        return error.exit_code
    except click.Abort as abort:
        # Click makes one of any EOFError too, such as a damaged file's: that is nobody's Ctrl-C.
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None
        echo("Stopped.", err=True)
        return _INTERRUPTED
    except OSError as error:
        if error.errno not in _THEIRS:
            raise
        what = f"{error.filename or 'output'}: {_THEIRS[error.errno]}."
        return _said(PreflightError(what, code=_CODES.get(error.errno)))
    return result if isinstance(result, int) else 0  # ctx.exit(1) arrives here as 1


def _said(error: HsdError) -> int:
    """Print an error as one line, in a job's log its code too; return the exit code."""
    sentence = " ".join(str(error).split())
    echo(sentence if isinstance(error, Stopped) else f"Error: {sentence}", err=True)
    if error.code and is_in_a_job():  # what `hsd status` reads
        echo(f"{ERROR_CODE}{error.code}", err=True)
    return error.exit_code
