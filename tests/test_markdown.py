from hsd.report.markdown import markdown_cell, markdown_table


def test_a_name_from_data_is_no_markup() -> None:
    assert markdown_cell("a|b\n<script>x</script> `c` <!-- -->") == (
        "a\\|b &lt;script>x&lt;/script> 'c' &lt;!-- -->"
    )
    assert markdown_cell("p < 0.0001") == "p < 0.0001"


def test_a_table_is_of_numbers_unless_it_says_words() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert markdown_table(("a", "b"), [], numbers=False) == "| a | b |\n| --- | --- |"
