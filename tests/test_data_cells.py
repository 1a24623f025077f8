"""A list is the same list however a file holds it: as one, or printed into a cell of text."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.data import hatecheck, hatexplain, toxigen, unified
from hsd.data.cell_values import names, words
from hsd.data.chat_rows import chat_row
from hsd.data.loaded_file import Bad, Convert, LeftOut, example_of
from hsd.data.own_table import converter
from hsd.data.printed_values import parse
from hsd.data.read_rows import BadRow, Row, read_rows
from hsd.data.source_formats import ReadOptions, load_any
from hsd.data.table_columns import Columns
from hsd.example import Example
from hsd.groups.group_set import default_groups


def cells(table: str) -> list[str]:
    return [cell.strip() for line in table.split("\n") for cell in line.split("|") if cell.strip()]


LISTS = [
    ["gay", "arab"],
    ("gay", "arab"),
    ["gay", None, "arab"],
    ["gay", float("nan"), "arab"],
    [numpy.str_("gay"), numpy.str_("arab")],
    numpy.array(["gay", "arab"]),
    numpy.array(["gay", "arab"], dtype=object),
    numpy.array(["gay"] * 40 + ["arab"]),  # printed over several lines
    pandas.array(["gay", pandas.NA, "arab"], dtype="string"),
    pandas.Index(["gay", "arab"]),
]


@pytest.mark.parametrize("value", LISTS, ids=str)
@pytest.mark.parametrize("form", [str, repr])
def test_a_printed_list_names_whom_the_list_names(value: Any, form: Any) -> None:
    made = example_of(
        unified.convert, Row({"text": "a", "label": 1, "target_group": form(value)}, "f:1")
    )
    assert isinstance(made, Example)
    assert made.groups == ("lgbtq", "middle_east")


EMPTY = ["[]", "()", "{}", "set()", "array([], dtype=object)", "[None]", "[nan]", '[""]', "[null]"]


@pytest.mark.parametrize("cell", [*EMPTY, [], [None], None, ""])
def test_an_empty_list_is_nobody(cell: Any) -> None:
    made = example_of(unified.convert, Row({"text": "a", "label": 1, "target_group": cell}, "f:1"))
    assert isinstance(made, Example)
    assert made.groups == ()


def test_two_strings_side_by_side_are_two_names_as_numpy_prints_them() -> None:
    assert parse("['gay' 'arab']") == ["gay", "arab"]
    assert parse("[[0 1]\n [1 0]]") == [[0, 1], [1, 0]]
    assert parse("[list(['a', 'b']) list([])]") == [["a", "b"], []]


def test_quotes_and_escapes_inside_a_printed_list_are_its_strings() -> None:
    strings = ["it's", 'a "word"', "both ' and \"", "back\\slash", "line\nend", "café", "[", "🥐"]
    for text in (str(strings), json.dumps(strings), str(numpy.array(strings, dtype=object))):
        assert parse(text) == strings


def test_a_printed_dict_of_arrays_is_the_dict() -> None:
    value = {"label": numpy.array([0, 2]), "target": [numpy.array(["a"], dtype=object), ()]}
    assert parse(str(value)) == {"label": [0, 2], "target": [["a"], []]}


NO_LISTS = [
    "[gay, arab]",
    "['gay'",
    "gay']",
    "['gay' 'arab', 'women']",
    "['gay''arab']",
    "['gay' ... 'arab']",
    "{gay,arab}",
    "(gay)",
    "['gay'] women",
    "[" * 3000,
    "tensor([1, 0])",
    "[__import__('os')]",
    r'["half \ud83e a character"]',
    "[" + "9" * 5000 + "]",
    r"['\d']",
]


@pytest.mark.parametrize("cell", NO_LISTS)
def test_a_cell_with_brackets_that_is_no_list_is_a_bad_row(cell: str) -> None:
    said = Bad("'target_group' cannot be read as a list")
    assert (
        example_of(unified.convert, Row({"text": "a", "label": 1, "target_group": cell}, "f:1"))
        == said
    )


MORE = ['{"gay": 1}', {"gay": 1}, [["gay"]], "[['gay']]", ["['gay']"], [{"who": "gay"}], [0, 1]]


@pytest.mark.parametrize("cell", MORE, ids=str)
def test_a_cell_that_holds_more_than_a_list_of_names_is_a_bad_row(cell: Any) -> None:
    made = example_of(unified.convert, Row({"text": "a", "label": 1, "persona_tag": cell}, "f:1"))
    assert made == Bad("'persona_tag' holds more than names; expected a name or a list of names")


CONTAINERS = """
    list(gay)|set(gay, arab)|tuple(gay)|frozenset(gay)|array(gay)|np.array(['gay'|Index(['gay'
    deque(['gay'])|dict(gay=1)|range(0, 3)|pd.Series(['gay'])|Unheard(['gay'])|unheard({'gay'})
    c("gay", "arab")|List(gay, arab)|WrappedArray(gay, arab)|tensor(1)|Counter()
    np.str_(gay)|('gay', (arab)|(gay (arab) ":)")
"""


@pytest.mark.parametrize("cell", cells(CONTAINERS))
def test_a_call_that_makes_a_container_is_never_a_name(cell: str) -> None:
    assert names({"g": cell}, "g") == Bad("'g' cannot be read as a list")


WITH_BRACKETS = {
    "women (all)": ("other",),
    "(North) African": ("other",),
    "(North) African (all)": ("other",),
    "Muslim(s)": ("middle_east",),
    "Muslim(s), Jew(s)": ("middle_east", "other"),
    "Latino(a)": ("mexican",),
    "Latino(a)s": ("mexican",),
    "LGBT(Q)": ("lgbtq",),
    "LGBT(Q)+": ("lgbtq",),
    "LGBT(QIA+)": ("lgbtq",),
    "Gay (men)": ("lgbtq",),
    "gay(men)": ("lgbtq",),
    "Women(Muslim)": ("middle_east",),
    "Muslim (Arab) women (all)": ("middle_east",),
    "(trans) women (all)": ("lgbtq",),
    "listed(gay)": ("lgbtq",),
}


@pytest.mark.parametrize("cell", WITH_BRACKETS)
@pytest.mark.parametrize("form", [str, lambda cell: [cell], lambda cell: str([cell])])
def test_a_name_with_brackets_inside_is_a_name(cell: str, form: Any) -> None:
    made = example_of(
        unified.convert, Row({"text": "a", "label": 1, "target_group": form(cell)}, "f:1")
    )
    assert isinstance(made, Example)
    assert made.groups == WITH_BRACKETS[cell]


def test_a_name_in_brackets_is_known_as_without_them() -> None:
    assert default_groups().lexicon.unknown("Jew(s), Women(Muslim), LGBT(Q)") == ()


PEOPLE: dict[str, tuple[Convert, dict[str, Any], str]] = {
    "unified": (unified.convert, {"text": "a", "label": 1}, "target_group"),
    "persona": (unified.convert, {"text": "a", "label": 1}, "persona_tag"),
    "table": (converter(Columns(group="who"), "t"), {"text": "a", "label": 1}, "who"),
    "hatecheck": (
        hatecheck.convert,
        {"test_case": "a", "label_gold": "hateful", "functionality": "f"},
        "target_ident",
    ),
    "toxigen": (toxigen.converter(), {"generation": "a", "prompt_label": 1}, "group"),
}


@pytest.mark.parametrize("kind", PEOPLE)
def test_every_kind_of_data_reads_printed_names_as_a_list_of_them(kind: str) -> None:
    convert, values, column = PEOPLE[kind]
    whole, printed, bad = (
        example_of(convert, Row({**values, column: cell}, "f:1"))
        for cell in (["Arab", "gay"], "['Arab', 'gay']", "[Arab, gay]")
    )
    assert whole == printed
    assert isinstance(whole, Example)
    assert whole.groups == ("middle_east", "lgbtq")
    assert whole.persona_tag == ("" if column == "target_group" else "arab|gay")
    assert bad == Bad(f"'{column}' cannot be read as a list")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (["liars", "leave"], "liars leave"),
        ("['liars', 'leave']", "liars leave"),
        ("['liars' 'leave']", "liars leave"),
        ([], ""),
        ("[]", ""),
        (None, ""),
        ("[sic] they wrote that", "[sic] they wrote that"),
        ("they (all) leave [1]", "they (all) leave [1]"),
        ("(see above)", "(see above)"),
    ],
)
def test_a_rationale_is_text_or_words(cell: Any, text: str) -> None:
    assert words({"rationale": cell}, "rationale_text", "rationale") == text


@pytest.mark.parametrize("cell", [[0, 1], "[0 1]", {"a": 1}, [["liars"]]])
def test_a_rationale_of_other_things_than_words_is_a_bad_row(cell: Any) -> None:
    made = example_of(unified.convert, Row({"text": "a", "label": 1, "rationale": cell}, "f:1"))
    assert made == Bad("'rationale' holds no text and no list of words")


CUT = [
    str(numpy.array([f"w{n}" for n in range(1200)])), "['a', 'b", "['a', 'b'", '["a", "b', "['a",
    '  ["a", ...]', "array(['a', 'b'", "[np.str_('a'), np.str_('b'", "[b'a', b'", "[['a', 'b']",
    "<StringArray>\n['a', 'b'", "{'words': ['a'",
]  # fmt: skip


@pytest.mark.parametrize("cell", CUT)
def test_a_list_of_words_that_was_cut_short_is_no_rationale(cell: str) -> None:
    assert words({"rationale": cell}, "rationale") == Bad("'rationale' cannot be read as a list")


@pytest.mark.parametrize("cell", ["[MASK] is it", "[1] see there", "[sic", "(he said)", "{}x"])
def test_text_with_a_bracket_stays_text(cell: str) -> None:
    assert words({"rationale": cell}, "rationale") == cell


TURNS = [
    {"role": "user", "content": "Is this hate? soup"},
    {"role": "assistant", "content": '{"classification": "hate"}'},
]


@pytest.mark.parametrize("cell", [TURNS, str(TURNS), json.dumps(TURNS), str(numpy.array(TURNS))])
def test_a_chat_is_the_same_from_every_form(cell: Any) -> None:
    row = chat_row(Row({"messages": cell, "target_group": "['Arab', 'gay']", "id": "c"}, "f:1"), 0)
    assert not isinstance(row, BadRow)
    assert row.messages == tuple(TURNS)
    assert row.target_group == "Arab|gay"


@pytest.mark.parametrize("blank", [None, float("nan"), ""])
def test_blank_group_names_of_a_chat_never_hide_its_group(blank: Any) -> None:
    row = {"messages": TURNS, "group_names": blank, "target_group": "lgbtq", "id": "c"}
    made = chat_row(Row(row, "f:1"), 0)
    assert not isinstance(made, BadRow)
    assert made.target_group == "lgbtq"


def test_a_chat_whose_content_is_a_list_of_parts_says_so() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "soup"}]}]
    made = chat_row(Row({"messages": turns}, "f:1"), 0)
    assert made == BadRow("f:1", "the content of the user turn is a list, no text")


@pytest.mark.parametrize("own", ["normal", 0, "0.0", "No-Hate"])
def test_a_chat_whose_label_contradicts_its_answer_is_a_bad_row(own: Any) -> None:
    made = chat_row(Row({"messages": TURNS, "label": own}, "f:1"), 0)
    assert made == BadRow("f:1", "'label' says normal, but the answer's classification is hate")


@pytest.mark.parametrize("own", ["hate", 1, "Hateful", "", None, "offensive"])
def test_a_chat_whose_label_says_the_same_or_nothing_is_sound(own: Any) -> None:
    assert not isinstance(chat_row(Row({"messages": TURNS, "label": own}, "f:1"), 0), BadRow)


VOTES = [
    {"label": "hatespeech", "annotator_id": 1, "target": ["Arab"]},
    {"label": "hatespeech", "annotator_id": 2, "target": ["Arab", "Women"]},
    {"label": "normal", "annotator_id": 3, "target": ["None"]},
]
HATEXPLAIN = [
    {
        "post_id": f"{n}_gab",
        "annotators": VOTES,
        "rationales": [[0, 1, 0], [0, 1, 1]],
        "post_tokens": ["so", f"wet{n}", "it's"],
    }
    for n in range(2)
]


def test_hatexplain_is_the_same_from_json_parquet_and_csv(tmp_path: Path) -> None:
    table = pandas.DataFrame(HATEXPLAIN)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in HATEXPLAIN))
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    # As people do: Parquet read into arrays, and those printed by numpy into CSV.
    pandas.read_parquet(tmp_path / "a.parquet").to_csv(tmp_path / "b.csv", index=False)
    files = [tmp_path / name for name in ("a.jsonl", "a.csv", "a.parquet", "b.csv")]
    first, *others = (load_any(file, ReadOptions()).examples for file in files)
    assert (first[0].label, first[0].groups, first[0].rationale) == (
        "hate", ("middle_east",), "wet0"
    )  # fmt: skip
    assert all(other == first for other in others)


def test_posts_are_the_same_from_every_format(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "soup", "label": 1, "target_group": ["Arab", "gay"], "n": 1.5},
        {"id": "b", "text": "tea, no", "label": 0, "target_group": [], "n": None},
        {"id": "c", "text": "rice", "label": 0, "target_group": None, "n": 2.5},
    ]
    table = pandas.DataFrame(rows)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    table.to_parquet(tmp_path / "a.parquet")
    table.to_feather(tmp_path / "a.feather")
    names = ("a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.feather")
    first, *others = (load_any(tmp_path / name, ReadOptions()).examples for name in names)
    assert first[0].groups == ("middle_east", "lgbtq")
    assert all(other == first for other in others)


def test_parquet_gives_what_json_would_hold(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "words": [["a", None]],
            "number": [float("nan")],
            "day": [pandas.Timestamp("2020-01-02")],
            "turn": [{"role": "user", "marks": [1, None]}],
            "counts": pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "kind": pyarrow.array(["hate"]).dictionary_encode(),
            "bytes": [b"caf\xc3\xa9"],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    (row,), _ = read_rows(tmp_path / "a.parquet")
    assert row.values == {
        "words": ["a", None],
        "number": None,
        "day": "2020-01-02T00:00:00",
        "turn": {"role": "user", "marks": [1, None]},
        "counts": {"a": 1},
        "kind": "hate",
        "bytes": "café",
    }


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)
CONVERTERS: dict[str, tuple[Callable[[Row], Any], dict[str, Any]]] = {
    "unified": (unified.convert, {"text": "a", "label": 1, "target_group": "", "rationale": "",
                                  "id": "", "split": "", "is_synthetic": "", "persona_tag": ""}),
    "hatexplain": (hatexplain.converter(), HATEXPLAIN[0]),
    "toxigen": (toxigen.converter(), {"generation": "a", "prompt_label": 1, "group": "", "id": ""}),
    "hatecheck": (hatecheck.convert, {"test_case": "a", "label_gold": "hateful", "case_id": "",
                                      "templ_id": "", "target_ident": ""}),
    "chat": (lambda row: chat_row(row, 0), {"messages": TURNS, "id": "", "target_group": ""}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVERTERS)
@given(data=st.data())
def test_no_cell_ends_in_a_traceback(kind: str, data: st.DataObject) -> None:
    convert, values = CONVERTERS[kind]
    column = data.draw(st.sampled_from(sorted(values)))
    cell = data.draw(VALUES | VALUES.map(str))
    made = example_of(convert, Row({**values, column: cell}, "f:1"))
    assert not isinstance(made, Bad | LeftOut) or made.reason


@given(st.text())
def test_any_text_is_a_printed_value_or_a_value_error(text: str) -> None:
    for cell in (text, f"[{text}]", f"['{text}']"):
        with suppress(ValueError):
            parse(cell)


@given(st.lists(st.text() | st.none() | st.booleans() | st.integers()))
def test_what_python_and_json_print_is_read_back(value: list[Any]) -> None:
    assert parse(str(value)) == value
    assert parse(json.dumps(value)) == value
