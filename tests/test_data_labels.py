"""What a label says: nothing that has a meaning is dropped, and a map names every label or none."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from label_maps import labels_of

from hsd.data.class_names import ClassName
from hsd.data.label_names import parse_label, spelled, unknown_label
from hsd.data.own_table import load_table
from hsd.data.prepared_data import preparation
from hsd.data.source_formats import ReadOptions, load_any
from hsd.data.table_columns import Columns
from hsd.errors import ConfigError

NO_LABELS = [-1, -1.0, "-1", "-1.0", "\N{MINUS SIGN}1", "--1", "+1", "-0", "-hate", "- hate"]
OTHERS = ["01", "1e0", "10", "1 0", "1-0", "0-1", "1,0", "1/0", "1%", "0.5", 0.5, float("nan")]


@pytest.mark.parametrize("value", [*NO_LABELS, *OTHERS], ids=repr)
def test_a_sign_or_another_number_is_no_label(value: object) -> None:
    assert parse_label(value) is None


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", "1.00", "1.", " 1 ", True, "TRUE", "yes"])
def test_one_and_true_are_hate_however_they_are_written(value: object) -> None:
    assert parse_label(value) == "hate"


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.0", "0.00", "0.", False, "False", "No"])
def test_zero_and_false_are_normal_however_they_are_written(value: object) -> None:
    assert parse_label(value) == "normal"


@pytest.mark.parametrize("no", ["no", "not", "non"])
@pytest.mark.parametrize("what", ["hate", "Hateful", "hate speech", "HS", "toxic"])
@pytest.mark.parametrize("between", ["", " ", "-", "_"])
def test_a_denied_name_of_hate_is_normal(no: str, between: str, what: str) -> None:
    assert parse_label(f"{no}{between}{what}") == "normal"


def test_numbers_are_one_name_and_signs_another() -> None:
    assert {spelled(two) for two in (2, 2.0, "2", "2.0", " 2.00 ")} == {"2"}
    assert spelled("\N{MINUS SIGN}2") == spelled(-2.0) == "-2"
    assert len({spelled(name) for name in ("2", "-2", "+2", "--2", "02")}) == 5


def test_the_names_that_a_file_lists_are_told_with_one_that_is_unknown() -> None:
    said = unknown_label(ClassName("rude", ("rude", "fine")), "label")
    assert "unknown label 'rude' in 'label' (the file names its classes rude, fine)" in said
    assert "say what every label in use means, such as --labels hate=" in said


def test_the_advice_for_an_unknown_label_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label,target_group\na,offensive,gay\nb,hate,gay\nc,normal,\n")
    said = load_any(path, ReadOptions()).bad[0].reason
    assert said.startswith("unknown label 'offensive' in 'label': say what every label in use mea")
    assert "--labels hate=abusive,hateful normal=fine drop=unclear, with --group-col" in said
    assert said.endswith("(`hsd prepare` needs --source table:FILE too)")
    named = labels_of(labels="hate=hate normal=offensive,normal")
    found = load_table(path, Columns(group="target_group", labels=named))
    assert not found.bad
    assert not found.unread
    assert [example.groups for example in found.examples] == [("lgbtq",), ("lgbtq",), ()]


@pytest.mark.parametrize("column", ["target_group", "group", "persona tag"])
def test_a_table_is_told_the_option_for_its_group_alone(tmp_path: Path, column: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"text,label,{column}\na,hate,gay\n")
    (note,) = load_table(path, Columns()).unread
    assert note == (
        f"'{column}' looks like the group that posts are about; name it with "
        f"--group-column {shlex.quote(column)} (`hsd prepare` needs --source table:FILE too)"
    )


DAVIDSON = "tweet,class\na,0\nb,1\nc,2\nd,0\ne,2\nf,0\n"


def loaded(folder: Path, *labels: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels by text, and reasons by line."""
    path = folder / "own.csv"
    path.write_text(DAVIDSON)
    found = load_table(path, Columns("tweet", "class", labels=labels_of(label=labels)))
    reasons = {row.place.rpartition(":")[2]: row.reason for row in found.bad}
    return {example.text: example.label for example in found.examples}, reasons


def test_a_map_of_one_code_leaves_the_others_unknown(tmp_path: Path) -> None:
    examples, reasons = loaded(tmp_path, "2=normal")
    assert examples == {"c": "normal", "e": "normal"}
    assert sorted(reasons) == ["2", "3", "5", "7"]
    assert "unknown label '0' in 'class'" in reasons["2"]
    assert "not named in --labels; name every label in use there, such as" in reasons["2"]


def test_a_map_of_every_code_is_the_whole_map(tmp_path: Path) -> None:
    examples, reasons = loaded(tmp_path, "0=hate", "1=hate", "2.0=normal")
    assert not reasons
    assert examples == dict(zip("abcdef", ("hate", "hate", "normal", "hate", "normal", "hate"),
                                strict=True))  # fmt: skip


def test_a_map_of_a_name_leaves_the_common_names_unknown() -> None:
    names = labels_of(label=["hateful=normal"])
    assert parse_label("Hateful", names) == "normal"
    assert [parse_label(value, names) for value in ("hate", "normal", 1, True)] == [None] * 4


def test_one_name_cannot_be_both() -> None:
    with pytest.raises(ConfigError, match=r"label '1.0=normal': '1.0' is named both"):
        labels_of(label=["1=hate", "1.0=normal"])
    assert labels_of(label=["-1=hate", "1=normal"]) == {"-1": "hate", "1": "normal"}


def test_a_map_that_no_source_is_read_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"table and hub sources, but sources are unified; .*tabl"
    ):
        preparation(None, ["unified:a.parquet"], tmp_path / "o", ["2=normal"])


def test_the_command_counts_the_labels_that_a_map_leaves_out(tmp_path: Path) -> None:
    from hsd.errors import DataError
    from jobs.prepare import prepare

    path = tmp_path / "own.csv"
    path.write_text(DAVIDSON)
    arguments = ["--source", f"table:{path}", "--text_column", "tweet", "--label_column", "class"]
    arguments += ["--label", "2=normal", "--output_dir", str(tmp_path / "out")]
    with pytest.raises(DataError) as error:
        CliRunner().invoke(prepare, arguments, catch_exceptions=False)
    said = str(error.value)
    assert said.startswith(
        f"4 of 6 rows cannot be used: 4 rows ({path}:2, {path}:3, {path}:5, ...): unknown labels "
        "in 'class': '0' (3 rows), '1' (1 row): not named in --labels; name every label in use"
    )
    assert not (tmp_path / "out").exists()
