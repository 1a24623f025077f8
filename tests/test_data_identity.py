from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.data.identity_swap import SWAP, VERSION, SwapTerms, augmented, swaps, without_doubles
from hsd.errors import DataError
from hsd.example import GROUPS, Example
from hsd.groups.group_set import default_groups

TERMS = SwapTerms(default_groups())
named, swapped = TERMS.named, TERMS.swapped


def post(text: str, id: str = "a") -> Example:
    return Example(id=id, text=text, label="normal")


def test_every_term_is_of_a_group_that_hsd_knows_and_reads_as_that_group() -> None:
    assert VERSION == 2
    assert {(term.form, term.group) for term in TERMS.terms} == set(
        product(("adjective", "plural"), GROUPS)
    )
    for term in TERMS.terms:
        assert default_groups().lexicon.parse(term.word) == (term.group,)


def test_a_post_is_followed_by_itself_with_every_other_group() -> None:
    original, *others = swaps([post("My Muslim neighbour waved.")])
    assert (original.groups, original.cluster) == (("middle_east",), "a")
    assert [(e.id, e.text) for e in others] == [
        ("a~lgbtq", "My Gay neighbour waved."),
        ("a~mexican", "My Mexican neighbour waved."),
        ("a~other", "My Asian neighbour waved."),
    ]
    assert {(e.functionality, e.reference_id, e.label) for e in others} == {(SWAP, "a", "normal")}


def test_a_post_of_a_thread_and_its_copies_stay_in_the_cluster_of_the_thread() -> None:
    rows = [*swaps([replace(POSTS[0], cluster="thread 7"), POSTS[2]])]
    assert {row.cluster for row in rows[:4]} == {"thread 7"}
    assert {row.cluster for row in rows[4:]} == {"c"}


@pytest.mark.parametrize(
    ("text", "group", "becomes"),
    [
        ("MEXICANS and mexicans", "middle_east", "MUSLIMS and muslims"),
        ("a middle eastern shop", "mexican", "a mexican shop"),
        ("a mexicanised dish", "lgbtq", "a mexicanised dish"),
    ],
)
def test_case_and_form_are_kept_and_parts_of_words_are_left_alone(
    text: str, group: str, becomes: str
) -> None:
    assert swapped(text, group) == becomes


@pytest.mark.parametrize(
    ("text", "group", "becomes"),
    [
        ("an Arab, An arab, AN ARAB", "mexican", "a Mexican, A mexican, A MEXICAN"),
        ("a Mexican and a very  gay\nman", "middle_east", "a Muslim and a very  muslim\nman"),
        ("A Muslim, a muslim; A MUSLIM", "other", "An Asian, an asian; AN ASIAN"),
        ("Ana Arab has an arab\thorse", "lgbtq", "Ana Gay has a gay\thorse"),
    ],
)
def test_an_article_follows_the_new_word(text: str, group: str, becomes: str) -> None:
    assert swapped(text, group) == becomes


@pytest.mark.parametrize("text", ["MUSLİM", "muslım", "mu\u017flim"])
def test_a_term_in_letters_that_only_look_alike_is_no_term(text: str) -> None:
    assert named(text) == []
    assert swapped(text, "mexican") == text


def test_posts_about_nobody_or_about_two_groups_do_not_qualify() -> None:
    assert list(swaps([post("soup for lunch"), post("gay and muslim people")])) == []


@given(st.text(max_size=60), st.sampled_from([t.word for t in TERMS.terms]))
def test_a_swapped_post_names_the_new_group_only(text: str, word: str) -> None:
    whole = f"{text} {word} {text}"
    for group in GROUPS:
        assert {term.group for term in named(swapped(whole, group))} == {group}


POSTS = [post("My Muslim neighbour waved."), post("It rains.", "b"), post("Gay people sing.", "c")]


def test_an_augmented_file_has_every_post_and_so_many_copies_of_those_that_name_a_group() -> None:
    rows = augmented(POSTS, 2)
    assert [row.id for row in rows if not row.functionality] == ["a", "b", "c"]
    assert [row.reference_id for row in rows if row.functionality == SWAP] == ["a", "a", "c", "c"]
    assert [row for row in rows if row.id in "abc"] == POSTS, "a post stays as it is"


def test_no_copy_is_drawn_twice_however_many_are_asked_for() -> None:
    ids = [row.id for row in augmented(POSTS, 99)]
    assert len(ids) == len(set(ids)) == 3 + 2 * 3


def test_what_is_drawn_for_a_post_depends_on_the_seed_and_not_on_other_posts() -> None:
    drawn = [[row.id for row in augmented(POSTS, 1, seed)][1] for seed in range(20)]
    assert len(set(drawn)) == 3
    assert [row.id for row in augmented(POSTS[:1], 1, 7)][1] == drawn[7]


def test_a_rationale_follows_the_post_or_is_left_out() -> None:
    about = replace(post("Mexicans bake bread."), rationale="It praises Mexicans.")
    swapped_too = next(row for row in swaps([about]) if row.id == "a~lgbtq")
    assert swapped_too.rationale == TERMS.swapped("It praises Mexicans.", "lgbtq")
    assert "Mexican" not in swapped_too.rationale
    others = replace(about, rationale="It sets Mexicans beside Muslims.")
    assert {row.rationale for row in swaps([others]) if row.functionality == SWAP} == {""}


def test_swaps_are_not_swapped_again() -> None:
    with pytest.raises(DataError, match="2 swaps of groups are among these posts already"):
        augmented(augmented(POSTS, 1), 1)


def test_a_copy_is_synthetic_and_its_post_is_not() -> None:
    assert [row.is_synthetic for row in swaps(POSTS[:1])] == [False, True, True, True]


def test_a_copy_that_says_what_a_post_or_another_copy_says_is_left_out() -> None:
    posts = [post("Gay people sing."), post("gay  people sing!", "b"), post("Asian people.", "c")]
    rows = without_doubles(augmented([*posts, post("Mexican people.", "d")], 3))
    assert {row.id for row in rows} == {
        *("a", "a~mexican", "a~middle_east", "a~other", "b"),
        *("c", "c~lgbtq", "c~middle_east", "d"),
    }
