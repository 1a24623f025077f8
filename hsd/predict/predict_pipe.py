"""`hsd predict` in a pipe: rows from standard input, or the table to standard output.

A pipe is read once, so rows are answered in windows as they come, and nothing is kept: there is no
restart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hsd.data.read_rows import stream_pipe
from hsd.errors import ConfigError, DataError, PreflightError
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.shard import Shard
from hsd.model.placement import launch
from hsd.predict.called_shares import CalledShares
from hsd.predict.input_posts import SMALLEST_WINDOW, InputPost, input_posts, windows
from hsd.predict.output_columns import NewColumns
from hsd.predict.output_tables import WriteRows, new_table, output_format, text_table
from hsd.predict.post_asker import PostAsker
from hsd.predict.post_model import PostModel
from hsd.predict.predict_file import Predicted
from hsd.predict.predict_job import PIPE, PredictJob, plan_of_columns, plan_predict
from hsd.predict.survey import Survey, require_columns, require_free, survey

STDIN = "standard input"


@dataclass(frozen=True, slots=True)
class _PipedRows:
    """What is read, by whom it is answered, and what is known of it before; rows 0: nothing."""

    model: PostModel
    columns: NewColumns
    posts: Iterator[InputPost]
    window: int
    found: Survey


def predict_pipe(
    job: PredictJob,
    stdin: Iterable[bytes],
    stdout: IO[str],
    progress: Progress = silent,
    say: Say = unsaid,
) -> Predicted:
    """Label the rows of `stdin`, or of a file into `stdout`; `say` gets what was decided.

    Raises ConfigError for what a pipe cannot do.
    """
    _require_alone(job)
    source = _source(job, stdin)
    columns, shares, done = source.columns, CalledShares(job.by), 0
    say(columns.rule.said)
    with closing(PostAsker(source.model, say)) as asker, _table(job, stdout) as table:
        for window in windows(source.posts, source.window):
            table.require(window, source)
            answers = asker.answer(window)
            rows = [
                {**post.values, **cells}
                for post, cells in zip(window, columns.cells(answers), strict=True)
            ]
            shares.add_all(rows, columns.label_column, columns.reason_column)
            table.write(rows)
            done += len(window)
            if source.found.rows:
                progress(done, source.found.rows, f"{job.config.data_file} rows")
    asked = source.model.answering(None)
    return Predicted(job.output, columns.rule, shares, answering=asked)


def _require_alone(job: PredictJob) -> None:
    if launch().world_size > 1 or job.shard != Shard():
        raise ConfigError(
            "a pipe is read and written by one process; name files for FILE and --output, or start "
            "one process without --shard."
        )
    if job.output != PIPE and output_format(Path(job.output)) == "parquet":
        raise ConfigError(
            f"output '{job.output}': the columns of a pipe are known only at its end; write .jsonl "
            "or .csv."
        )
    if job.output != PIPE and Path(job.output).exists():
        raise PreflightError(f"{job.output} is there already; choose another --output.")


def _source(job: PredictJob, stdin: Iterable[bytes]) -> _PipedRows:
    if job.config.data_file != PIPE:
        plan = plan_predict(job)
        return _PipedRows(plan.model, plan.columns, plan.posts(), plan.window, plan.found)
    model, columns = plan_of_columns(job)
    posts = input_posts(stream_pipe(stdin, STDIN), job.text_column)
    return _PipedRows(model, columns, posts, SMALLEST_WINDOW, Survey())


class _PipedTable:
    """The table of a pipe, whose columns are those of its first rows; JSONL may get more."""

    def __init__(self, job: PredictJob, open_table: Callable[[dict[str, Any]], WriteRows]) -> None:
        self._job, self._open = job, open_table
        self._write: WriteRows | None = None
        self._columns: list[str] = []

    def require(self, window: Sequence[InputPost], source: _PipedRows) -> None:
        """Raise DataError where the rows cannot be written, before they are answered."""
        job, new = self._job, list(source.columns.kinds)
        name = STDIN if job.config.data_file == PIPE else job.config.data_file
        found = survey(window)
        if self._write is not None:
            require_free(found.columns, name, new)
            self._require_known(found)
            return
        known = source.found if source.found.rows else found
        require_columns(known, name, job.text_column, job.by, new)
        self._columns = [*known.columns, *new]
        self._write = self._open({**known.columns, **source.columns.kinds})

    def _require_known(self, found: Survey) -> None:
        more = [name for name in found.columns if name not in self._columns]
        if more and self._job.output != PIPE and output_format(Path(self._job.output)) == "csv":
            raise DataError(
                f"a row has a column '{more[0]}' that the first {SMALLEST_WINDOW} rows do not "
                "have, and the header is written; write .jsonl."
            )

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write rows, for whoever reads the pipe to have them now."""
        assert self._write is not None  # `require` came before
        self._write(rows)


@contextmanager
def _table(job: PredictJob, stdout: IO[str]) -> Iterator[_PipedTable]:
    """Yield the table: in standard output, or in a file that appears when the block ends well."""
    with ExitStack() as stack:

        def open_table(kinds: dict[str, Any]) -> WriteRows:
            if job.output == PIPE:
                return _flushing(text_table(stdout, "jsonl", list(kinds)), stdout)
            output = Path(job.output)
            return stack.enter_context(new_table(output, output_format(output), kinds))

        yield _PipedTable(job, open_table)


def _flushing(write: WriteRows, stdout: IO[str]) -> WriteRows:
    def write_now(rows: Any) -> None:
        write(rows)
        stdout.flush()

    return write_now
