from pathlib import Path

import pytest

from hsd.data.data_sets import resolve
from hsd.errors import DataError

HEADER = (
    ",functionality,case_id,test_case,label_gold,target_ident,direction,focus_words,focus_lemma,"
    "ref_case_id,ref_templ_id,templ_id,case_templ\n"
)
CASES = """\
0,derog_neg_emote_h,1,I really dislike X.,hateful,women,general,dislike,dislike,,,1,x
1,negate_neg_nh,2,I do not dislike X.,non-hateful,women,general,dislike,dislike,1.0,1.0,2,x
2,ident_neutral_nh,3,I live near Y.,non-hateful,trans people,,,,,,3,x
3,counter_quote_nh,4,Saying Z is wrong.,non-hateful,Muslims,,,,1,1,1,x
4,profanity_nh,5,What rotten weather.,non-hateful,,,,,,,9,x
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    path.write_text(HEADER + CASES)
    return path


def test_the_published_columns_are_known_by_themselves(file: Path) -> None:
    first, second, third, fourth, fifth = resolve(str(file))
    assert [e.label for e in (first, second)] == ["hate", "normal"]
    assert (first.id, first.functionality) == ("hatecheck-1", "derog_neg_emote_h")
    assert (second.reference_id, first.reference_id) == ("hatecheck-1", "")
    assert (third.groups, third.persona_tag) == (("lgbtq",), "trans people")
    assert fourth.groups == ("middle_east",)
    assert (fifth.groups, fifth.persona_tag) == ((), "")


def test_cases_of_one_template_are_a_cluster(file: Path) -> None:
    rows = resolve(str(file))
    assert rows[0].cluster == rows[3].cluster == "template 1"


def test_an_unknown_label_is_a_bad_row_with_its_place(file: Path) -> None:
    file.write_text(file.read_text().replace(",non-hateful,Muslims", ",maybe,Muslims"))
    with pytest.raises(DataError, match=r"cases\.csv:5: unknown label 'maybe' in 'label_gold'"):
        resolve(str(file))


def test_a_misspelt_target_is_a_bad_row_with_its_place(file: Path) -> None:
    file.write_text(file.read_text().replace(",Muslims,", ",mexicanos,"))
    with pytest.raises(
        DataError, match=r"cases\.csv:5: unknown group 'mexicanos'\. Did you mean 'mexicans'\?"
    ):
        resolve(str(file))
