"""The names of groups, personas and labels in the data sets that hsd reads."""

import pytest

from hsd.data.label_names import parse_label, unknown_label
from hsd.groups.group_set import default_groups
from hsd.groups.name_lists import joined, persona, unknown_said

NAMES = default_groups().lexicon
parse_groups, unknown_names, split_names = NAMES.parse, NAMES.unknown, NAMES.split

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
    "L.G.B.T.": "lgbtq",
    "2SLGBTQ+ community": "lgbtq",
    "same-sex couples": "lgbtq",
    "Iraqis": "middle_east",
    "Mexican-American": "mexican",
    "Jewish": "other",
    "people of color": "other",
    "folks with mental disabilities": "other",
    "African American": "other",
    "left-handers": "other",
}


@pytest.mark.parametrize("name", GROUP_NAMES)
def test_a_group_name_has_one_group(name: str) -> None:
    assert parse_groups(name) == (GROUP_NAMES[name],)


NOBODY = """
    none|None|n/a|N.A.|n.a.|nan|<NA>|-|--|?|nobody|No one|Nobody in particular|no target|No_Target
    none of the above|Not applicable|unspecified|not specified|unknown|no specific group
"""
NOT_MEANT = """
    non-muslim|Non-Muslim|nonmuslims|non muslim|Non-Hispanic White|non hispanic white|not gay
    ex-muslim|former muslims|anti-gay|pro-gay|neither gay nor trans|not muslim or arab
    not muslim/arab|anyone but latinos|people other than arabs|isn't trans|white (non-hispanic)
    non-LGBTQ+|without muslims
"""
JOINED = {
    "Arab&Women": ("middle_east", "other"),
    "Arab and Women": ("middle_east", "other"),
    "women + latino": ("other", "mexican"),
    "women+latino": ("other", "mexican"),
    "latino+ women": ("mexican", "other"),
    "LGBTQ+ & Arab": ("lgbtq", "middle_east"),
    "LGBTQ+/women": ("lgbtq", "other"),
    "LGBTQ+ people": ("lgbtq",),
    "gay and/or arab": ("lgbtq", "middle_east"),
    "Arab, n/a": ("middle_east",),
    "gays;  ;arabs": ("lgbtq", "middle_east"),
    "gay muslims": ("lgbtq", "middle_east"),
    "non-white latinos": ("mexican",),
    "muslims but not arabs": ("middle_east",),
    "women and not gay": ("other",),
}


def cells(table: str, separator: str = "|") -> list[str]:
    parts = [cell.strip() for line in table.split("\n") for cell in line.split(separator)]
    return [cell for cell in parts if cell]


@pytest.mark.parametrize("name", cells(NOT_MEANT))
def test_a_negated_group_is_not_the_group_and_is_listed(name: str) -> None:
    assert parse_groups(name) == ("other",)
    assert unknown_names(name) == (name,)


@pytest.mark.parametrize("cell", JOINED)
def test_however_names_are_joined_none_is_lost(cell: str) -> None:
    assert parse_groups(cell) == JOINED[cell]


REACHED = """
    Non-Hispanic/Latino; Non-Hispanic or Latino; Non-Mexican/Latino; non-Muslim/Arab
    non-Muslim & Arab; non-Muslim + Arab; anti-Muslim and Arab; anti-gay/trans; ex-Muslim and/or gay
    former Muslims or Arabs; nonmuslims or arabs; non_hispanic_or_latino; non-(Muslim/Arab)
    Non-Hispanic (or Latino); non-Muslim believers or Arabs; non-LGBTQ+/trans
    Non-Hispanic, or Latino; Non-Hispanic, Latino or Spanish; non-Hispanic, Latino, or Spanish
    Not Hispanic/Latino; Not Hispanic, Latino or Spanish; not gay, arab; not_muslim/arab
    not of Hispanic, Latino, or Spanish origin; (not) Hispanic/Latino; not gay or non-binary
    neither gay, trans nor arab; no gays, no arabs; never muslims, arabs; cannot be gay, trans
    isn't muslim, arab; isn’t gay/trans; isnt gay; arent gay, trans; aren't gay; wasn't gay & arab
    Un-Islamic; un-Hispanic; unislamic/arab; not middle eastern; no transgender; isn`t transgender
    without muslims, arabs; excluding Latinos, Hispanics; Hispanic: no; Muslims excluded
"""
"""Cells of one negated name each."""


@pytest.mark.parametrize("cell", cells(REACHED, ";"))
def test_a_negation_reaches_the_names_joined_to_the_negated_one(cell: str) -> None:
    assert parse_groups(cell) == ("other",)
    assert unknown_names(cell) == (cell,)


NOT_REACHED = {
    "No, not of Hispanic, Latino, or Spanish origin": ("other",),
    "White, not of Hispanic, Latino or Spanish origin": ("other",),
    "non-Muslim and non-Arab": ("other",),
    "non-Muslim and non-binary": ("other", "lgbtq"),
    "Non-Muslim, gay": ("other", "lgbtq"),
    "Non-Muslim, gay and arab": ("other", "lgbtq", "middle_east"),
    "Non-Muslim;gay": ("other", "lgbtq"),
    "Non-Muslim|gay": ("other", "lgbtq"),
    "Non-Hispanic White/Latino": ("other", "mexican"),
    "not gay; arab, women": ("other", "middle_east"),
    "not gay|arab": ("other", "middle_east"),
    "not gay\narab": ("other", "middle_east"),
    "gay, not muslim": ("lgbtq", "other"),
    "White (not Hispanic), Latino": ("other", "mexican"),
    "White (non-Hispanic)/Latino": ("other", "mexican"),
}


@pytest.mark.parametrize("cell", NOT_REACHED)
def test_a_negation_ends_where_its_list_does(cell: str) -> None:
    assert parse_groups(cell) == NOT_REACHED[cell]
    assert unknown_names(cell)


NOT_NEGATED = {
    "non-binary and gay": ("lgbtq",),
    "Non-binary/trans": ("lgbtq",),
    "non-binary, arab": ("lgbtq", "middle_east"),
    "non-binary or arab": ("lgbtq", "middle_east"),
    "nonbinary & arab": ("lgbtq", "middle_east"),
    "nonreligious/gay": ("other", "lgbtq"),
    "non-white latinos and arabs": ("mexican", "middle_east"),
    "immigrants/gay": ("other", "lgbtq"),
    "none, gay": ("lgbtq",),
    "None, gay or trans": ("lgbtq",),
    "not specified, gay": ("lgbtq",),
    "none or unknown": (),
    "none/n/a": (),
    "none, n/a/gay": ("lgbtq",),
    "unknown/gay": ("lgbtq",),
    "n/a & gay": ("lgbtq",),
    "n/a/women": ("other",),
}


@pytest.mark.parametrize("cell", NOT_NEGATED)
def test_what_negates_no_group_reaches_none(cell: str) -> None:
    assert parse_groups(cell) == NOT_NEGATED[cell]
    assert unknown_names(cell) == ()


@pytest.mark.parametrize("negation", ["not ", "no ", "isn't ", "non-", "anti-", "ex-", "un-"])
@pytest.mark.parametrize("joiner", ["/", " or ", " and ", "&", " + "])
@pytest.mark.parametrize("second", ["latino", "gay men", "arabs", "non-binary"])
def test_no_joined_group_is_meant_after_a_negation(negation: str, joiner: str, second: str) -> None:
    own = negation == "non-" and second == "non-binary"  # `non-` is said again
    cell = f"{negation}muslim{joiner}{second}"
    assert parse_groups(cell) == (("other", "lgbtq") if own else ("other",))
    assert parse_groups(f"{second} ; {negation}muslim") == (*parse_groups(second), "other")
    assert parse_groups([f"{negation}muslim", second]) == ("other", *parse_groups(second))


NON_BINARY = ["Non-binary", "non binary people", "nonbinary", "trans & non-binary"]


@pytest.mark.parametrize("name", NON_BINARY)
def test_non_binary_is_no_negation(name: str) -> None:
    assert parse_groups(name) == ("lgbtq",)
    assert unknown_names(name) == ()


@pytest.mark.parametrize("name", [*GROUP_NAMES][:-1])
def test_a_known_name_is_not_listed(name: str) -> None:
    assert unknown_names(name) == ()


def test_unknown_names_are_listed_with_their_counts_and_called_other() -> None:
    posts = ["Sikh", "Sikh, left-handers", "gay", None, "Jewish", "x" * 99]
    assert unknown_said(map(unknown_names, posts)) == [
        "3 posts name groups that hsd does not know and counts as other: 'Sikh' 2, "
        f"'left-handers' 1, '{'x' * 40}' 1."
    ]
    assert unknown_said([(), ()]) == []
    many = [f"unheard{n}" for n in range(30)]
    assert unknown_said([many])[0].endswith(" and 10 more names.")


@pytest.mark.parametrize(
    "nobody", ["", None, [], ["None", "none"], "none, n/a", float("nan"), *cells(NOBODY)]
)
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
    assert "(did you mean 'hate'?)" in unknown_label("hat", "label")
    assert unknown_label("", "label") == "no label in 'label'"
