"""docs/cli.md, from click: what `hsd COMMAND --help` prints, and the exit codes."""

from collections.abc import Iterator

import click

from jobs.cli import SECTIONS, hsd
from jobs.terminal.options import CONTEXT

_HEAD = """# Commands

Every command prints this text with `--help`. Options may be written with dashes or underscores: `--data-file` and
`--data_file` are the same option.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | Done. For `hsd gate`: PASS. |
| 2 | The command line or the config is wrong: an unknown option, preset, sweep or cluster profile. |
| 3 | hsd refused before any work: the disk, the folder or the cluster does not allow it. |
| 4 | A submission failed, and hsd cancelled what it had submitted. |
| 5 | A sweep ended, and some of its cells failed. |
| 10 | The data are wrong. |
| 11 | The model or the adapter cannot be loaded. |
| 12 | Training failed. |
| 13 | Evaluation failed. |
| 20, 21 | `hsd gate`: FAIL, UNDERPOWERED. |
| 75 | Stopped on request. The same command resumes. |
| 130 | Stopped with Ctrl-C, where there is nothing to resume. |

Errors that you can fix are one line. A traceback is a bug in hsd: please report it.
"""
_WIDTH = 100


def commands_page() -> str:
    """Return docs/cli.md, without the first line that says how it is made."""
    parts = [_HEAD]
    for title, commands in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name in commands:
            command = hsd.get_command(click.Context(hsd), name)
            assert command is not None, name
            parts.extend(_section(f"hsd {name}", command))
    return "\n".join(parts)


def _section(path: str, command: click.Command) -> Iterator[str]:
    """Yield a command's help, then that of the commands in it."""
    yield f"### {path}\n\n```\n{_help(path, command)}\n```\n"
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _section(f"{path} {name}", inner)


def _help(path: str, command: click.Command) -> str:
    options = {**CONTEXT, "terminal_width": _WIDTH}
    with click.Context(command, info_name=path, **options) as context:
        return command.get_help(context)
