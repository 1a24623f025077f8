import pytest

from hsd.report.markdown import markdown_cell, markdown_table


def test_a_name_from_data_is_no_markup() -> None:
    assert markdown_cell("a|b\n<script>x</script> `c` <!-- -->") == (
        "a\\|b &lt;script>x&lt;/script> 'c' &lt;!-- -->"
    )
    assert markdown_cell("p < 0.0001") == "p < 0.0001"


def test_a_table_is_of_numbers_unless_it_says_words() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert markdown_table(("a", "b"), [], numbers=False) == "| a | b |\n| --- | --- |"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("![t](http://evil/x.png)", r"!\[t\](http\://evil/x.png)"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        (r"\[x\](u)", r"\\\[x\\\](u)"),
        ("[1](u)", r"\[1\](u)"),
        ("![.5](u)", r"!\[.5\](u)"),
        ("[x]: http://evil", r"\[x\]: http\://evil"),
        ("www.evil.example", r"www\.evil.example"),
        ("a\x1b[2J\u202eb", r"a\\u001b\[2J\\u202eb"),
        ("rate .5 [.4, .6]", "rate .5 [.4, .6]"),
        ("change -.1 [-.21, +.02]", "change -.1 [-.21, +.02]"),
    ],
)
def test_links_and_pictures_of_a_name_stay_text(name: str, shown: str) -> None:
    assert markdown_cell(name) == shown
