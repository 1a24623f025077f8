"""The click root: instant help, two spellings, one line for an error, a home in containers."""

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import hsd
from hsd.errors import DataError, Stopped
from jobs.cli import COMMANDS, OLD_NAMES, SECTIONS
from jobs.cli import hsd as root
from jobs.terminal import home
from jobs.terminal.entry import run
from jobs.terminal.home import provide_home
from jobs.terminal.options import Command, config_option, set_option, train_config

HEAVY = {"torch", "transformers", "peft", "sklearn", "pandas", "matplotlib", "numpy", "pydantic"}
UID = os.getuid()


def outcome(
    command: click.Command,
    *arguments: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    """Run as a program does; return the exit code and what was said on stderr."""
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(command, "hsd")
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def raising(error: BaseException) -> click.Command:
    @click.command(cls=Command)
    def command() -> None:
        raise error

    return command


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom jobs.cli import hsd\n"
        "hsd.main(['--help'], prog_name='hsd', standalone_mode=False)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert "click" in done.stderr.split()
    assert HEAVY.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_its_help_has_examples(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    assert leaves
    for leaf in leaves:
        assert isinstance(leaf, Command)
        assert leaf.examples


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context := click.Context(command)):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


LEAVES = dict(leaves(root, "hsd"))


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_is_explained_and_shown_with_dashes(path: str) -> None:
    options = [p for p in LEAVES[path].params if isinstance(p, click.Option)]
    assert [o.name for o in options if not o.help] == []
    assert [name for o in options for name in o.opts if "_" in name] == []


@pytest.mark.parametrize("path", LEAVES)
def test_every_example_shows_options_that_exist(path: str) -> None:
    command = LEAVES[path]
    assert isinstance(command, Command)
    known = {name for option in command.params for name in option.opts + option.secondary_opts}
    for line in (line for line in command.examples if line.startswith(f"{path} ")):
        own = line.split(" -- ")[0] if path != "hsd submit" else ""
        assert set(re.findall(r"--[a-z_-]+", own)) <= known, line


def test_the_help_has_sections_and_cuts_no_line_short() -> None:
    said = CliRunner().invoke(root, ["--help"]).output
    places = [said.index(f"{title}:\n") for title in SECTIONS]
    assert list(SECTIONS) == ["Data", "Train", "Evaluate", "Cluster", "Setup"]
    assert places == sorted(places)
    assert all(f"{name} " in said and line in said for name, (_, line) in COMMANDS.items())
    assert all(f"\n  {old} " not in said for old in OLD_NAMES)


@pytest.mark.parametrize("name", ["cluster", "config", "container", "data", "sweep"])
def test_the_help_of_a_group_cuts_no_line_short(name: str) -> None:
    said = CliRunner().invoke(root, [name, "--help"]).output
    assert "..." not in said.split("Commands:")[1]


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_an_old_name_works_and_says_nothing(old: str, new: str) -> None:
    by_old, by_new = (CliRunner().invoke(root, [name, "--help"]) for name in (old, new))
    assert by_old.exit_code == 0
    assert by_old.output == by_new.output


def test_version() -> None:
    assert CliRunner().invoke(root, ["--version"]).output == f"hsd, version {hsd.__version__}\n"


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(root, ["trian"])
    assert result.exit_code == 2
    assert "No such command 'trian'. Did you mean 'train'?" in result.output


@pytest.mark.parametrize("spelling", ["--data_file", "--data-file"])
def test_an_option_has_two_spellings(spelling: str) -> None:
    @click.command(cls=Command)
    @click.option("--data_file")
    def command(data_file: str) -> None:
        click.echo(data_file)

    assert CliRunner().invoke(command, [spelling, "a-b_c"]).output == "a-b_c\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--confg", "--config"),
        ("--model", "--model-name"),
        ("--modelname", "--model-name"),
        ("--with_bse", "--with-base"),
        ("--max-lenth", "--max-length"),
    ],
)
def test_a_mistyped_option_is_answered_with_the_nearest_in_the_spelling_of_the_help(
    typed: str, meant: str
) -> None:
    from jobs.evaluate import evaluate
    from jobs.train import train

    command = train if meant == "--config" else evaluate
    result = CliRunner().invoke(command, [typed, "x"])
    assert result.exit_code == 2
    shown = typed.replace("_", "-")
    assert f"Error: No such option '{shown}'. Did you mean '{meant}'?\n" in result.stderr


@pytest.mark.parametrize("arguments", [["--data-file"], ["--is-flag=x"]])
def test_an_option_used_wrongly_is_named_in_the_spelling_of_the_help(arguments: list[str]) -> None:
    @click.command(cls=Command)
    @click.option("--data-file")
    @click.option("--is-flag", is_flag=True)
    def command(data_file: str, is_flag: bool) -> None:
        raise AssertionError((data_file, is_flag))

    result = CliRunner().invoke(command, arguments)
    assert f"Option '{arguments[0].partition('=')[0]}'" in result.stderr


OF_OTHERS = {
    *("--nproc_per_node", "--num_processes", "--multi_gpu", "--node_rank"),
    *("--master_addr", "--master_port"),
}
"""Options of accelerate launch and torchrun."""


def test_messages_spell_options_with_dashes() -> None:
    root_folder = Path(hsd.__file__).parent.parent
    files = [*root_folder.glob("hsd/**/*.py"), *root_folder.glob("jobs/**/*.py")]
    found = {
        (file.name, option)
        for file in files
        for option in re.findall(r"--[a-z]+(?:_[a-z]+)+", file.read_text(encoding="utf-8"))
        if option not in OF_OTHERS
    }
    assert len(files) > 200
    assert found == {("options.py", "--data_file")}  # says that both work


@pytest.mark.parametrize("spelling", ["--config", "--config_file", "--config-file"])
def test_config_and_set_reach_the_loader_and_notes_reach_the_user(
    spelling: str, tmp_path: Path
) -> None:
    @click.command(cls=Command)
    @config_option
    @set_option
    def command(source: str, overrides: tuple[str, ...]) -> None:
        click.echo(train_config(source, overrides).lora)

    old = tmp_path / "old.json"
    old.write_text(json.dumps({"lora_r": 4, "bf16": True}))
    result = CliRunner().invoke(command, [spelling, str(old), "--set", "lora.alpha=2"])
    assert result.stdout.startswith("rank=4 alpha=2 ")
    assert result.stderr.startswith(f"Note: {old}: bf16 is ignored: ")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("a.jsonl:3: no text.\nSecond line."), 10, "Error: a.jsonl:3: no text. Second"),
        (Stopped("Stopped at step 3; the same command goes on."), 75, "Stopped at step 3;"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (OSError(errno.ENOSPC, "full", "x.bin"), 3, "Error: x.bin: no space left on this disk."),
        (click.UsageError("no"), 2, "Usage: hsd"),
    ],
)
def test_what_the_user_can_mend_ends_in_a_line_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, stderr = outcome(raising(error), monkeypatch=monkeypatch, capsys=capsys)
    assert ended == code
    assert stderr.startswith(said)
    assert "Traceback" not in stderr


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_may_choose_its_exit_code(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command(cls=Command)
    @click.pass_context
    def command(ctx: click.Context) -> None:
        ctx.exit(code)

    assert outcome(command, monkeypatch=monkeypatch, capsys=capsys) == (code, "")


def test_a_wrong_preset_is_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = outcome(
        root, "config", "show", "qick_test", monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 2
    assert said.startswith("Error: unknown preset 'qick_test'. Did you mean 'quick_test'?")
    assert said.count("\n") == 1


# hsd config


def test_config_show_json_can_be_used_as_a_file(tmp_path: Path) -> None:
    shown = CliRunner().invoke(root, ["config", "show", "quick_test", "--format", "json"]).stdout
    (tmp_path / "mine.json").write_text(shown)
    again = CliRunner().invoke(
        root, ["config", "show", str(tmp_path / "mine.json"), "--format", "json"]
    )
    assert again.stdout == shown
    assert json.loads(shown)["lora"]["rank"] == 8


def test_config_list_names_every_preset_and_what_it_changes() -> None:
    listed = CliRunner().invoke(root, ["config", "list"]).stdout
    assert "high_capacity" in listed
    assert "lora.rank=64" in listed


@pytest.mark.parametrize(("kind", "field"), [("train", "lora"), ("evaluate", "data_file")])
def test_config_schema_is_json(kind: str, field: str) -> None:
    printed = CliRunner().invoke(root, ["config", "schema", kind]).stdout
    assert field in json.loads(printed)["properties"]


def test_a_file_that_ends_early_is_no_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(EOFError, match="Ran out of input"):
        run(raising(EOFError("Ran out of input")), "hsd")
    assert "Stopped" not in capsys.readouterr().err


# A container started with `--user N`


def test_a_home_and_a_name_are_provided_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to /, user N not
    monkeypatch.setattr(home, "_account", lambda _: None)
    environ = {"HOME": "/"}
    lines = provide_home(environ, UID)
    folder = str(tmp_path / f"hsd-home-{UID}")
    assert environ == {"HOME": folder, "USER": f"user{UID}", "LOGNAME": f"user{UID}"}
    assert lines[0].startswith(f"hsd: HOME=/ is not a folder of yours; using {folder}.")
    assert lines[1] == f"hsd: user {UID} has no name here; using user{UID}."
    assert provide_home(environ, UID) == []


def test_a_folder_that_somebody_else_made_is_not_taken_as_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"hsd-home-{UID}").symlink_to(tmp_path / "theirs")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    environ = {"HOME": str(tmp_path / "missing"), "USER": "me"}
    provide_home(environ, UID)
    assert Path(environ["HOME"]).is_dir()
    assert not Path(environ["HOME"]).is_symlink()


def test_a_proper_home_is_left_alone(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "USER": "me"}
    assert provide_home(environ, UID) == []
    assert environ == {"HOME": str(tmp_path), "USER": "me"}
