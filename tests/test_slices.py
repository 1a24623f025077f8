from dataclasses import replace

import pytest
from posts import predictions
from present import present

from hsd.metrics.slices import Slice, length_of, slices
from hsd.prediction import Prediction

ROWS = predictions("- h h\n- n h\n- n n\n- h n\n- n n\n- n n")


def named(kind: str, rows: list[Prediction]) -> dict[str, Slice]:
    return {s.name: s for s in slices(rows) if s.kind == kind}


def test_slices_of_a_kind_add_up_to_the_whole() -> None:
    rows = [replace(p, source_dataset="ab"[n % 2]) for n, p in enumerate(ROWS * 2)]
    rows = [replace(p, id=str(n)) for n, p in enumerate(rows)]
    found = named("source", rows)
    assert {name: s.metrics.counts.n for name, s in found.items()} == {"a": 6, "b": 6}
    assert found["a"].metrics.accuracy == 1.0
    interval = present(found["b"].intervals["accuracy"])
    assert interval.low < 1 / 3 < interval.high


def test_few_posts_of_a_slice_or_of_one_of_its_labels_have_no_metrics() -> None:
    rows = predictions("\n".join(["- h h"] * 4 + ["- n n"] * 9 + ["- h h", "- n n"] * 5))
    sources = ["few"] * 4 + ["normal"] * 9 + ["both"] * 10
    found = named(
        "source", [replace(p, source_dataset=s) for p, s in zip(rows, sources, strict=True)]
    )
    shown = {name: (s.metrics.accuracy, s.metrics.f1) for name, s in found.items()}
    assert shown == {"few": (None, None), "normal": (1.0, None), "both": (1.0, 1.0)}
    assert found["normal"].metrics.counts.n == 9


def test_a_kind_with_one_slice_says_nothing() -> None:
    assert named("source", ROWS) == named("length", ROWS) == {}
    assert slices([]) == []


def test_the_view_without_offensive_leaves_out_what_counts_as_normal_here() -> None:
    rows = [replace(p, label_multiclass="normal") for p in ROWS]
    assert named("view", rows) == {}
    rows[1] = replace(rows[1], label_multiclass="offensive")
    view = named("view", rows)["without offensive"]
    assert (view.metrics.counts.n, view.metrics.counts.fp) == (5, 0)
    assert named("source label", rows)["offensive"].group.counts.fp == 1


@pytest.mark.parametrize(
    ("size", "name"),
    [(50, "up to 50"), (51, "up to 100"), (200, "up to 200"), (201, "over 200")],
)
def test_lengths_are_in_characters(size: int, name: str) -> None:
    assert length_of(replace(ROWS[0], text="x" * size)) == f"{name} characters"


def test_lengths_come_in_their_order() -> None:
    rows = [replace(p, text="x" * s) for p, s in zip(ROWS, (300, 60, 150, 10, 9, 8), strict=True)]
    assert [n.split()[-2] for n in named("length", rows)] == ["50", "100", "200", "200"]
