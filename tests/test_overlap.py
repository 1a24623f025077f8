from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from posts import predictions

from hsd.metrics.seen_in_training import among
from hsd.prediction import Prediction

TEXTS = st.lists(st.text(max_size=8), max_size=6)


def posts(*texts: str) -> list[Prediction]:
    rows = predictions("\n".join(["- n n"] * len(texts)))
    return [replace(row, text=text) for row, text in zip(rows, texts, strict=True)]


def test_a_copy_is_found_whatever_its_case_punctuation_and_addresses() -> None:
    judged = posts("Soup is GOOD!", "tea is good", "  see https://a.example, @ann  ")
    known = ["soup is good", "See www.b.example @bob", "coffee"]
    assert among(judged, known) == ["p000", "p002"]


@given(TEXTS, TEXTS)
def test_every_post_is_among_its_own_texts_and_none_among_no_texts(
    texts: list[str], others: list[str]
) -> None:
    judged = posts(*texts) if texts else []
    assert among(judged, [*others, *texts]) == [p.id for p in judged]
    assert among(judged, []) == []
