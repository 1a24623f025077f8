"""`hsd data`: check data before training, and swap the groups in posts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.terminal.entry import run as run_command
from jobs.terminal.options import CONTEXT, Command, CommandGroup, groups_option
from jobs.terminal.output import echo
from jobs.terminal.table_options import table_fields, table_options

if TYPE_CHECKING:
    from hsd.example import Example

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def data() -> None:
    """Check data before training, or swap the groups in posts."""


@data.command(
    cls=Command,
    examples="""
    hsd data check data/unified/train.jsonl data/unified/val.jsonl data/unified/test.jsonl
    hsd data check data/prepared/train.jsonl data/prepared/unified/test.jsonl --output check.html
    hsd data check posts.csv --text-column body --label-column verdict --labels hate=mean normal=ok
    hsd data check posts.csv --model-name openai/gpt-oss-20b --max-length 512
    """,
)
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option(
    "--model-name",
    help="Measure whole prompts in this model's tokens instead of posts in characters.",
)
@click.option("--max-length", type=click.IntRange(min=1), help="Longer rows count as truncated.")
@groups_option
@click.option("--output", type=FILE, help="Also write the findings to this HTML file.")
@click.option("--strict", is_flag=True, help="Exit with code 10 for warnings too.")
@table_options
def check(
    files: tuple[Path, ...],
    model_name: str | None,
    max_length: int | None,
    groups: str | None,
    output: Path | None,
    strict: bool,
    **options: Any,
) -> int:
    """Check FILES of posts or chats for problems that spoil a result.

    Give all splits together to find leaks between splits. Errors are unreadable rows or answers,
    posts in two splits, prompts that name the group, and chats that differ from the prompt.json
    beside them. With errors the exit code is 10; with only warnings it is 0, unless --strict.
    """
    from hsd.data.data_check import check_data as look
    from hsd.data.data_files import require_data
    from hsd.data.row_lengths import Measure, PostLength, PromptLength
    from hsd.data.table_columns import columns_of
    from hsd.errors import DataError
    from hsd.groups.group_set import DEFAULT, load_groups
    from hsd.io.files import write_atomic
    from hsd.report.doctor_page import doctor_lines, doctor_page
    from jobs.terminal.check_tables import check_tables
    from jobs.terminal.data_tables import stdout

    columns = columns_of(**table_fields(options))
    for file in files:
        require_data(file)
    _require_once(files)
    measure: Measure = PostLength()
    if model_name:
        from hsd.config import ModelConfig
        from hsd.model.base import find_base

        measure = PromptLength(find_base(ModelConfig(name=model_name)).tokenizer, files)
    checked = look(files, measure, max_length, load_groups(groups or DEFAULT), columns)
    if output:
        write_atomic(output, doctor_page(checked, [file.name for file in files]))
    echo(*doctor_lines(checked))
    stdout().print(check_tables(checked))
    fails = checked.findings if strict else checked.errors
    return DataError.exit_code if fails else 0


def _require_once(files: tuple[Path, ...]) -> None:
    """Refuse a file that is given twice: all its posts would be duplicates of themselves."""
    seen: set[Path] = set()
    for file in files:
        if file.resolve() in seen:
            raise click.UsageError(f"{file} is given twice; give each file once.")
        seen.add(file.resolve())


@data.command(
    cls=Command,
    examples="""
    hsd data swap data/unified/test.jsonl swapped.jsonl
    hsd evaluate --model-name runs/adapter --data-file swapped.jsonl
    hsd data swap data/unified/train.jsonl more_train.jsonl --augment 1
    """,
)
@click.argument("file")
@click.argument("output", type=FILE)
@click.option(
    "--augment",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write a training file instead: every post of FILE, and N copies of each post that names "
    "one group, drawn at random.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, show_default=True, help="For --augment."
)
@groups_option
@table_options
def swap(
    file: str, output: Path, augment: int | None, seed: int, groups: str | None, **options: Any
) -> None:
    """Write the posts of FILE that name one group, and copies that name each other group instead.

    Evaluate OUTPUT like any other file. The report then shows how often the answer flips, and how
    far the score moves.
    """
    from hsd.counted import counted
    from hsd.data import unified
    from hsd.data.data_sets import load_named, require_own_file
    from hsd.data.identity_swap import SWAP, VERSION, augmented, swaps, without_doubles
    from hsd.data.table_columns import columns_of
    from hsd.errors import DataError
    from hsd.groups.group_set import DEFAULT, load_groups
    from hsd.io.files import write_jsonl
    from hsd.training.row_facts import of_split

    _require_new_jsonl(output, file)
    columns = columns_of(**table_fields(options))
    require_own_file([file], columns)
    follow = load_groups(groups or DEFAULT)
    examples = load_named(file, groups=follow, columns=columns).examples
    if augment:
        examples = list(of_split(examples, file, "train", "fail", [], _TRAINING_ROWS))
    rows = augmented(examples, augment, seed, follow) if augment else list(swaps(examples, follow))
    swapped = {row.reference_id for row in rows if row.functionality == SWAP}
    if not swapped:
        raise DataError(f"{file}: no post of {len(examples):,} names one group; nothing to swap.")
    kept = without_doubles(rows) if augment else rows
    write_jsonl(output, map(unified.to_row, kept))
    listed = f"version {VERSION}" if follow.is_default else f"of {follow.name}"
    echo(
        f"{len(swapped)} of {counted(len(examples), 'post')} "
        f"{'names' if len(swapped) == 1 else 'name'} one group "
        f"(term list {listed}); {counted(len(kept), 'row')} in {output}."
        + (_fewer(rows, len(rows) - len(kept), augment) if augment else "")
    )


_TRAINING_ROWS = "--augment writes a training file: give the training rows alone"


def _require_new_jsonl(output: Path, file: str) -> None:
    from hsd.errors import DataError

    if output.suffix not in (".jsonl", ".ndjson"):
        raise DataError(f"{output}: JSONL is written; give a name that ends in .jsonl.")
    if output.exists() and Path(file).exists() and output.samefile(file):
        raise DataError(f"{output} is FILE itself, which would be lost; give another OUTPUT.")
    if output.exists():
        raise DataError(f"{output} is there already; choose another OUTPUT.")


def _fewer(rows: "Sequence[Example]", left_out: int, augment: int) -> str:
    """Return what is said where fewer copies were written than --augment asks for."""
    from hsd.data.identity_swap import most_copies

    said = ""
    if left_out:
        doubles = "1 copy that equals" if left_out == 1 else f"{left_out:,} copies that equal"
        said += f" Left out: {doubles} another row."
    if (most := most_copies(rows)) < augment:
        others = f"a post has at most {most}, one for each other group that has words for it"
        said += f" --augment {augment} asks for more copies than there are: {others}."
    return said


if __name__ == "__main__":
    run_command(data)
