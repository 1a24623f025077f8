"""ToxiGen: prompt labels of the large set, human scores of the annotated one."""

from typing import Any

import pytest

from hsd.data.loaded_file import Bad, example_of
from hsd.data.read_rows import Row
from hsd.data.toxigen import converter, undo_bytes
from hsd.example import Example


def converted(threshold: float = 3.0, **values: Any) -> Any:
    return example_of(converter(threshold), Row(values, "f:1"))


def test_a_generated_post_takes_the_prompts_label() -> None:
    made = converted(
        prompt="- p",
        generation="soup is fine",
        generation_method="TopK",
        group="middle_east",
        prompt_label="1",
        roberta_prediction="0.5",
    )
    assert made == Example(
        id="",
        text="soup is fine",
        label="hate",
        groups=("middle_east",),
        persona_tag="middle_east",
        source_dataset="toxigen",
        label_multiclass="toxic_implicit",
        is_synthetic=True,
    )


@pytest.mark.parametrize(("label", "expected"), [(0, "normal"), (1, "hate"), (1.0, "hate")])
def test_prompt_labels_may_be_numbers(label: float, expected: str) -> None:
    assert converted(generation="a", group="women", prompt_label=label).label == expected


@pytest.mark.parametrize(
    ("score", "threshold", "label"),
    [(1, 3.0, "normal"), (3.0, 3.0, "normal"), ("3.33", 3.0, "hate"), (3.5, 4.0, "normal")],
)
def test_an_annotated_post_is_hate_above_the_threshold(
    score: object, threshold: float, label: str
) -> None:
    made = converted(
        threshold, text="a", target_group="latino/hispanic folks", toxicity_human=score
    )
    assert made.label == label
    assert made.groups == ("mexican",)


def test_cells_that_hold_a_bytes_literal_become_text() -> None:
    made = converted(text=r"b'caf\xc3\xa9 it\'s'", target_group="b'women'", toxicity_human=1)
    assert made.text == "café it's"
    assert made.groups == ("other",)


@pytest.mark.parametrize("text", ["b'open", "b", "bother'", r"b'\xff'", "b'a' + 'b'", "fine"])
def test_text_that_only_looks_like_bytes_stays(text: str) -> None:
    assert undo_bytes(text) == text


BAD: dict[str, dict[str, Any]] = {
    "neither 'generation' nor 'toxicity_human'": {"text": "a"},
    "'prompt_label' is '2'": {"generation": "a", "prompt_label": 2},
    "'toxicity_human' is 'x'": {"text": "a", "toxicity_human": "x"},
    "'toxicity_human' is 7": {"text": "a", "toxicity_human": 7},
    "no text in 'generation'": {"generation": "", "prompt_label": 1},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_row_that_cannot_be_used_says_why(reason: str) -> None:
    made = converted(**BAD[reason])
    assert isinstance(made, Bad)
    assert made.reason.startswith(reason)
