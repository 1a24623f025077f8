"""The names of groups, personas and labels in the data sets that hsd reads."""

import pytest

from hsd.data.groups import joined, parse_groups, persona, split_names
from hsd.data.labels import parse_label, unknown_label

GROUP_NAMES = {
    "lgbtq": "lgbtq",
    "LGBTQ+": "lgbtq",
    "Homosexual": "lgbtq",
    "trans women": "lgbtq",
    "Islam": "middle_east",
    "Middle Eastern": "middle_east",
    "muslim folks": "middle_east",
    "latino/hispanic folks": "mexican",
    "Mexican": "mexican",
    "Jewish": "other",
    "folks with mental disabilities": "other",
    "African American": "other",
    "left-handers": "other",
}


@pytest.mark.parametrize("name", GROUP_NAMES)
def test_a_group_name_has_one_group(name: str) -> None:
    assert parse_groups(name) == (GROUP_NAMES[name],)


@pytest.mark.parametrize("nobody", ["", "none", "None", None, [], ["None", "none"], "n/a", "nan"])
def test_nobody_is_no_group(nobody: object) -> None:
    assert parse_groups(nobody) == ()


@pytest.mark.parametrize(
    "cell", ["gay|arab", "gay, arab", "gay;arab", ["gay", "arab"], ("gay", "arab", "gay")]
)
def test_a_post_may_be_about_several_groups(cell: object) -> None:
    assert parse_groups(cell) == ("lgbtq", "middle_east")


def test_two_names_of_one_group_count_once() -> None:
    assert parse_groups("Arab|Islam|Women") == ("middle_east", "other")


def test_a_misspelt_group_of_ours_is_not_taken_for_another_group() -> None:
    with pytest.raises(ValueError, match="unknown group 'mexcian'. Did you mean 'mexican'"):
        parse_groups("mexcian")


def test_groups_are_written_as_they_are_read() -> None:
    assert joined(("lgbtq", "other")) == "lgbtq|other"
    assert parse_groups(joined(())) == ()


def test_personas_are_spelt_one_way() -> None:
    assert persona(split_names("Islam|Arab|Islam")) == "muslim|arab"
    assert persona(split_names("None")) == ""


HATE = ["hate", "Hate Speech", "hatespeech", "hate_speech", "toxic", "1", 1, 1.0, "1.0", True]
NORMAL = ["normal", "not_hate", "non-hateful", "Not Hate", "benign", "0", 0, 0.0, "0.0", False]
UNKNOWN = ["offensive", "hat", "", None, 2, "nan", "10"]


@pytest.mark.parametrize("value", HATE)
def test_the_names_of_hate(value: object) -> None:
    assert parse_label(value) == "hate"


@pytest.mark.parametrize("value", NORMAL)
def test_the_names_of_normal(value: object) -> None:
    assert parse_label(value) == "normal"


@pytest.mark.parametrize("value", UNKNOWN)
def test_any_other_label_is_unknown(value: object) -> None:
    assert parse_label(value) is None


def test_a_table_may_bring_its_own_names() -> None:
    assert parse_label("Off Topic", {"off-topic": "normal"}) == "normal"


def test_an_unknown_label_is_answered_with_the_nearest() -> None:
    assert "Did you mean 'hate'?" in unknown_label("hat", "label")
    assert unknown_label("", "label") == "no label in 'label'"
