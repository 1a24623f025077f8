"""CSV and TSV as people have them: a file is read whole, or the row that would be lost is named."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.data.delimited import table_rows
from hsd.errors import DataError

TAB, COMMA, SEMI = "\t", ",", ";"


def texts(content: str, delimiter: str = COMMA) -> list[Any]:
    """The `text` of each row, or the reason why it is none."""
    found = table_rows(Path("a.csv"), content, delimiter)
    return [row if isinstance(row, str) else row["text"] for _, row in found]


def tsv(*posts: str) -> str:
    rows = (f"{n}\t{post}\t{('hate', 'normal')[n % 2]}\n" for n, post in enumerate(posts))
    return "id\ttext\tlabel\n" + "".join(rows)


RAW = ['"open only', "plain", 'close only"', '"', 'in "the" middle', '""', "it's", '"whole"']


def test_quotes_in_a_file_with_tabs_are_letters(tmp_path: Path) -> None:
    assert texts(tsv(*RAW), TAB) == RAW
    assert texts(tsv(*RAW).replace("\n", "\r\n"), TAB) == RAW


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", [TAB, COMMA, SEMI])
def test_what_a_csv_writer_wrote_is_read_as_it_was(quoting: Any, delimiter: str) -> None:
    posts = ['he said "go"', "two\nlines", "a,b;c", '"', "plain", '"whole"', "ends \\"]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting)
    writer.writerows([("text", "label"), *((post, "hate") for post in posts)])
    assert texts(out.getvalue(), delimiter) == posts


def test_excel_quotes_the_cells_with_commas_alone() -> None:
    posts = ["tea, please", "plain", "rice, no, soup"]
    quoted = [f'"{post}"' if "," in post else post for post in posts]
    assert texts(tsv(*quoted), TAB) == posts
    others = ["tea, please", *quoted[1:]]  # a cell with a comma, and nobody quoted it
    assert texts(tsv(*others), TAB) == others
    others = ['"plain"', *quoted[1:]]
    assert texts(tsv(*others), TAB) == others


def test_a_bad_line_without_quotes_is_a_bad_row_of_a_file_with_raw_quotes() -> None:
    assert texts(tsv('"open', "plain", 'close"').replace("\tplain", ""), TAB) == [
        '"open', "2 cells, but the header has 3 columns", 'close"',
    ]  # fmt: skip


SWALLOWED = {
    "tabs": (tsv('"open\tmore', "plain", 'close"'), TAB, 2, 4),
    "commas": ('text,label\n"open,hate\nplain,normal\nclose",hate\nx,normal\n', COMMA, 2, 4),
    "semicolons": ('text;label\nx;hate\n"open;hate\nclose";hate\n', SEMI, 3, 4),
    "two rows": ('id,text,label\n1,"a,hate\n2,b",hate\n3,c,hate\n', COMMA, 2, 3),
    "the text last": ('label,text\nhate,"a\nnormal,b\nhate,c"\nnormal,d\n', COMMA, 2, 4),
    "numbers": ('text,label\n"open 5,1\nplain 6,0\nclose",1\nx,0\n', COMMA, 2, 4),
    "numbers in a row": ('text,id,label\n"open,12,0\nclose",13,0\nx,14,1\n', COMMA, 2, 3),
    "a comma more first": (
        'id,text,label,group\na,"hi, he,hate,Gay\nb,tea,normal,Arab\nc,more",hate,Gay\n'
        "d,x,normal,Arab\n", COMMA, 2, 4
    ),
    "a comma more last": (
        'id,text,label,group\na,"hi,hate,Gay\nb,tea,normal,Arab\nc,so, more",hate,Gay\n'
        "d,x,normal,Arab\n", COMMA, 2, 4
    ),
    "commas more everywhere": (
        'text,label\n"hi, he,hate\nno, tea, please,normal\nso, more",hate\nx,normal\n', COMMA, 2, 4
    ),
    "a comma less": ('id,text,label\n1,"a,hate\ncut off\n3,c",hate\n4,d,normal\n', COMMA, 2, 4),
    "two rows, a comma more": ('text,label\n"hi, he,hate\nmore",hate\nx,normal\n', COMMA, 2, 3),
    "two columns": ('text,label\n"hi, he,hate\ntea,normal\nmore",hate\nx,normal\n', COMMA, 2, 4),
    "the text last, a comma more": (
        'label,text\nhate,"hi, he\nnormal,tea\nhate,more"\nnormal,x\nhate,z\n', COMMA, 2, 4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SWALLOWED)
def test_a_cell_that_swallows_rows_is_refused_with_its_lines(name: str) -> None:
    content, delimiter, first, last = SWALLOWED[name]
    with pytest.raises(DataError) as error:
        texts(content, delimiter)
    assert str(error.value).startswith(
        f"a.csv:{first}: a quote opens a cell that ends in line {last} only, with whole rows in it"
    )
    assert "JSONL" in str(error.value)


def test_posts_of_several_lines_with_commas_are_posts() -> None:
    posts = ["Hello, world\nhow, are you", "I hate mondays, really\nthey are bad", "a\n\nb, c"]
    posts += ["It is\nnormal, they say, or hate,\nI do not know", "rice, hate\nnormal"]
    rows = "".join(f'"{post}",hate\n' for post in posts)
    assert texts(f"text,label\n{rows}x,normal\ny,hate\n") == [*posts, "x", "y"]
    turned = "".join(f'hate,"{post}"\n' for post in posts)
    assert texts(f"label,text\n{turned}normal,x\nhate,y\n") == [*posts, "x", "y"]


@pytest.mark.parametrize("content", ['"te\nxt",label\n"a\nb",hate\n', 'a,b\n1,2,3,"c\nd"\n'])
def test_an_odd_header_or_row_of_several_lines_is_no_traceback(content: str) -> None:
    assert len(list(table_rows(Path("a.csv"), content, COMMA))) == 1


def test_a_number_with_a_comma_is_no_end_of_a_row() -> None:
    posts = ["so many:\n1,000 came", "it cost 3,1\nno more", "0,5 and\n0,7"]
    rows = "".join(f'1,"{post}"\n' for post in posts)
    assert texts(f"label,text\n{rows}1,x\n0,y\n") == [*posts, "x", "y"]
    turned = "".join(f'"and {post}\nend",1\n' for post in posts)
    assert len(texts(f"text,label\n{turned}x,1\ny,0\n")) == 5


def test_quotes_escaped_by_backslashes_are_quotes_and_other_backslashes_stay() -> None:
    content = 'text,label\n"he said \\"go\\", loud",hate\n"C:\\new",normal\n"plain",hate\n'
    assert texts(content) == ['he said "go", loud', "C:\\new", "plain"]


@pytest.mark.parametrize("delimiter", [TAB, COMMA, SEMI])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_pandas_writes_without_quoting_is_read_as_it_was(delimiter: str, end: str) -> None:
    posts = ['he said "go", loud', "a;b\tc", "C:\\new", '"', "plain", "two\nlines, hate"]
    table = pandas.DataFrame({"text": posts, "label": "hate"})
    content = table.to_csv(
        sep=delimiter, index=False, quoting=csv.QUOTE_NONE, escapechar="\\", lineterminator=end
    )
    assert texts(content, delimiter) == posts


@pytest.mark.parametrize("post", ["C:\\new", "a \\ b", "ends \\", "_\\\\server", "C:\\\\"])
@pytest.mark.parametrize("delimiter", [TAB, COMMA])
def test_backslashes_that_escape_nothing_stay(delimiter: str, post: str) -> None:
    content = f"id{delimiter}text{delimiter}label\n1{delimiter}{post}{delimiter}hate\n"
    assert texts(content, delimiter) == [post]


def test_an_open_quote_is_refused_with_what_would_work() -> None:
    with pytest.raises(DataError, match=r"a.csv:3: not CSV .* quote open\? .* CSV writer"):
        texts('text,label\na,hate\n"b" or not,normal\n')


@pytest.mark.parametrize("expected", [COMMA, TAB])
@pytest.mark.parametrize("delimiter", [TAB, COMMA, SEMI])
def test_the_header_tells_the_delimiter_whatever_the_name(delimiter: str, expected: str) -> None:
    content = f"id{delimiter}text{delimiter}label\n1{delimiter}a{delimiter}hate\n"
    assert texts(content, expected) == ["a"]


@pytest.mark.parametrize("said", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_first_line_of_excel_names_the_delimiter(said: str) -> None:
    content = f"{said}\r\nid;text;label\r\n1;a, b;hate\r\n2;c\r\n"
    (first, row), (second, reason) = table_rows(Path("a.csv"), content, COMMA)
    assert (first, row) == (3, {"id": "1", "text": "a, b", "label": "hate"})
    assert (second, reason) == (4, "2 cells, but the header has 3 columns")


@given(st.lists(st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]))))
def test_no_row_of_a_file_with_tabs_is_ever_lost(posts: list[str]) -> None:
    content = tsv(*posts)
    try:
        found = texts(content, TAB)
    except DataError:
        return
    assert len(found) == len(posts)


@given(
    st.lists(st.text(st.sampled_from('ab",; \n\\')), min_size=1, max_size=6),
    st.sampled_from([COMMA, SEMI]),
)
def test_a_written_post_is_read_or_its_line_is_refused(posts: list[str], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows([("id", "text", "label"), *((f"id{n}", p, "x") for n, p in enumerate(posts))])
    assert texts(out.getvalue(), delimiter) == posts
