import json
import re
import shlex
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hsd.data.data_check import Finding, check_data, half_width
from hsd.data.row_lengths import PostLength, length_histogram
from hsd.errors import DataError
from hsd.report.doctor_page import doctor_lines, doctor_page
from jobs.data import data

LETTERS = str.maketrans("0123456789", "ghijklmnop")  # numbers are one token to the doctor


def row(
    n: int, split: str, label: str = "normal", group: str = "lgbtq", text: str = ""
) -> dict[str, Any]:
    """A post that no other one is like."""
    own = sha256(str(n).encode()).hexdigest().translate(LETTERS)
    return {"id": f"{split}{n}", "text": text or own, "label": label, "target_group": group,
            "split": split, "source_dataset": "a"}  # fmt: skip


def written(name: str, rows: list[dict[str, Any]]) -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chat(
    n: int, user: str = "Is this hate? soup", answer: str = '{"classification": "hate"}'
) -> dict[str, Any]:
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {"id": str(n), "messages": turns}


def found(*files: Path, **options: Any) -> dict[str, int]:
    """Return the findings; that a split of three posts has one label is a test of its own."""
    findings = check_data(files, **options).findings
    return {f.what: f.count for f in findings if "of one label" not in f.what}


def test_sound_data_has_no_findings() -> None:
    rows = [row(n, "train", label) for n, label in enumerate(["hate", "normal"] * 5)]
    checked = check_data([written("train.jsonl", rows)])
    assert checked.findings == ()
    assert doctor_lines(checked)[:2] == ["10 rows.", "Nothing was found."]


def test_a_post_in_two_splits_is_an_error_however_its_words_are_dressed() -> None:
    train = [row(1, "train"), row(2, "train")]
    test = [row(3, "test", text=train[0]["text"].upper() + "!!"), row(4, "test")]
    checked = check_data([written("train.jsonl", train), written("test.jsonl", test)])
    (leak,) = [f for f in checked.errors if "held-out" in f.what]
    assert (leak.count, leak.places) == (1, ("train1 ~ test3 (train ~ test)",))


def test_a_leak_hides_no_other_double_across_splits() -> None:
    train = [row(1, "train"), row(2, "train")]
    test = [row(3, "test", text=train[0]["text"])]
    pool = [row(4, "pool", text=train[1]["text"]), row(5, "pool", text=train[0]["text"])]
    files = [written(f"{n}.jsonl", rows) for n, rows in enumerate((train, test, pool))]
    places = {f.what: f.places for f in check_data(files).findings}
    assert places["posts with a duplicate in a held-out split"] == (
        "train1 ~ test3 (train ~ test)",
    )
    assert places["pairs of duplicates across other splits"] == (
        "train1 ~ pool5 (train ~ pool)",
        "train2 ~ pool4 (train ~ pool)",
    )


def test_what_is_a_leak_is_told_once() -> None:
    text = row(1, "train")["text"]
    train, test = [row(1, "train"), row(2, "train", text=text)], [row(3, "test", text=text)]
    files = [written("train.jsonl", train), written("test.jsonl", test)]
    assert "pairs of duplicates across other splits" not in found(*files)


def test_duplicates_and_contradictions_are_warned_about() -> None:
    rows = [row(1, "train"), row(2, "train", text=row(1, "train")["text"], label="hate")]
    assert found(written("train.jsonl", rows)) == {
        "pairs of exact duplicates within a split": 1,
        "pairs of duplicates with contradicting labels": 1,
    }


def test_a_row_without_a_known_label_is_an_error_with_its_place() -> None:
    checked = check_data([written("a.jsonl", [row(1, "train"), row(2, "train", label="maybe")])])
    assert checked.errors[0].places == ("a.jsonl:2",)


def test_reasons_stand_beside_the_places_of_rows_that_cannot_be_read() -> None:
    labels = ["offensive", "offensive", "", "offensive", "offensive"]
    rows = [row(n, "train", label) for n, label in enumerate(labels)]
    checked = check_data([written("a.jsonl", [*rows, row(9, "train")])])
    error, most, least = doctor_lines(checked)[1:4]
    assert error == "ERROR: 5 rows that cannot be read"
    assert most.startswith("  4 rows (a.jsonl:1, a.jsonl:2, a.jsonl:4, ...): unknown label 'off")
    assert least == "  a.jsonl:3: no label in 'label'"
    assert "unknown label" in doctor_page(checked, ["a.jsonl"])


def test_reasons_stand_beside_the_places_of_chats_that_are_wrong() -> None:
    checked = check_data([written("train.jsonl", [chat(1), chat(2, answer="hate")])])
    assert doctor_lines(checked)[1:3] == [
        "ERROR: 1 chat whose answer or turns are wrong",
        "  train.jsonl:2: the assistant turn is not JSON",
    ]


@pytest.mark.parametrize(
    "answer", ['{{"classification": "hate"}}', "hate", '{"classification": "offensive"}']
)
def test_an_answer_that_is_not_the_promised_json_is_an_error(answer: str) -> None:
    checked = check_data([written("train.jsonl", [chat(1), chat(2, answer=answer)])])
    assert [(f.what, f.count) for f in checked.errors] == [
        ("chats whose answer or turns are wrong", 1)
    ]


@pytest.mark.parametrize(
    "user", ["Target group: lgbtq\nPost: soup", "persona_tag=muslim soup", 'group: "middle_east"']
)
def test_a_prompt_that_names_the_group_is_an_error(user: str) -> None:
    assert found(written("t.jsonl", [chat(1, user)])) == {"prompts that name the group": 1}


def test_a_post_that_speaks_of_a_group_is_no_leak_of_it() -> None:
    said = "Is this hate? A group of mexican friends; muslim neighbours."
    assert found(written("t.jsonl", [chat(1, said)])) == {}


def test_a_post_that_names_a_group_as_a_prompt_would_is_its_own_words() -> None:
    chats = [chat(n, f'Is this hate? "{said}"') for n, said in enumerate(
        ["other group: lgbtq friends", "community: mexican neighbours", "soup"], start=1
    )]  # fmt: skip
    assert "prompts that name the group" not in found(written("t.jsonl", chats))


def test_power_is_that_of_the_specification() -> None:
    """At a rate of .25 and 165 posts +-6.6 points, a difference +-9.3."""
    assert half_width(165) == pytest.approx(0.066, abs=5e-4)
    assert half_width(165, 165) == pytest.approx(0.0935, abs=5e-4)
    rows = [row(n, "test", group=g) for n, g in enumerate(["lgbtq"] * 8 + ["mexican"] * 4)]
    file = written("test.jsonl", rows)
    power = {(p.group, p.label): (p.n, p.gap) for p in check_data([file]).power}
    n, gap = power["lgbtq", "normal"]
    assert n == 8
    assert gap == pytest.approx(half_width(8, 4))
    assert found(file) == {"test groups with too few posts of a label": 2}


def test_lengths_and_overflow_are_by_group_in_the_unit_that_was_asked_for() -> None:
    rows = [row(1, "train", text="one two three"), row(2, "train", text="four", group="mexican")]
    words = PostLength(lambda text: len(text.split()), "words")
    checked = check_data([written("a.jsonl", rows)], words, 2)
    assert checked.overflow == {"lgbtq": (1, 1), "mexican": (0, 1)}
    assert found(written("a.jsonl", rows), measure=words, max_length=2)["rows over 2 words"] == 1
    assert (
        length_histogram([16, 17, 5000])["up to 16"]
        == length_histogram([16, 17, 5000])["over 1024"]
        == 1
    )


def test_cells_add_up_to_the_rows() -> None:
    rows = [row(n, "train", "hate" if n % 3 else "normal") for n in range(9)]
    checked = check_data([written("a.jsonl", rows)])
    assert sum(checked.cells.values()) == checked.rows == 9
    assert checked.cells["train", "lgbtq", "hate", "a"] == 6


def test_the_page_quotes_no_post() -> None:
    rows = [row(1, "train"), row(2, "train", text=row(1, "train")["text"])]
    html = doctor_page(check_data([written("a.jsonl", rows)]), ["a.jsonl"])
    assert "pairs of exact duplicates" in html
    assert rows[0]["text"] not in html


def run(*arguments: str) -> Result:
    return CliRunner().invoke(data, arguments, catch_exceptions=False, standalone_mode=False)


def test_the_exit_code_is_for_pipelines() -> None:
    bad = written("bad.jsonl", [row(1, "train", label="maybe"), row(2, "train")])
    double = written("double.jsonl", [row(1, "train"), row(2, "train", text=row(1, "x")["text"])])
    assert run("check", str(bad)).return_value == 10
    assert run("check", str(double)).return_value == 0
    assert run("check", str(double), "--strict", "--output", "page.html").return_value == 10
    assert Path("page.html").read_text().startswith("<!doctype html>")


def test_swaps_are_an_ordinary_data_file() -> None:
    from hsd.data.data_sets import resolve

    rows = [row(1, "test", text="My gay friend sings."), row(2, "test", text="No group here.")]
    said = run("swap", str(written("t.jsonl", rows)), "swapped.jsonl").output
    assert re.match(r"1 of 2 posts names one group \(term list version 2\); 4 rows", said)
    assert [e.reference_id for e in resolve("swapped.jsonl")] == ["", "test1", "test1", "test1"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("t.jsonl", "is FILE itself, which would be lost"),
        ("others.jsonl", "others.jsonl is there already; choose another OUTPUT."),
        ("swapped.csv", "JSONL is written; give a name that ends in .jsonl."),
        ("empty.jsonl", "no post of 1 names one group; nothing to swap."),
    ],
)
def test_swapping_writes_over_no_data_and_no_empty_file(output: str, said: str) -> None:
    file = written("t.jsonl", [row(1, "test", text="No group here.")])
    others = written("others.jsonl", [row(1, "test", text="A gay friend.")])
    before = [one.read_bytes() for one in (file, others)]
    with pytest.raises(DataError) as refused:
        run("swap", str(file), output)
    assert said in str(refused.value)
    assert [one.read_bytes() for one in (file, others)] == before
    assert output in ("t.jsonl", "others.jsonl") or not Path(output).exists()


@pytest.mark.parametrize("split", ["test", "validation", "dev"])
def test_held_out_rows_are_not_augmented_for_training(split: str) -> None:
    rows = [row(1, "train", text="My gay friend."), row(2, split, text="A gay choir.")]
    with pytest.raises(DataError, match="1 of 2 rows says itself .* give the training rows alone"):
        run("swap", str(written("t.jsonl", rows)), "more.jsonl", "--augment", "1")
    assert not Path("more.jsonl").exists()


def test_an_augmented_file_says_which_copies_it_has_not() -> None:
    rows = [row(1, "train", text="Gay people."), row(2, "train", text="Mexican people.")]
    said = run("swap", str(written("t.jsonl", rows)), "more.jsonl", "--augment", "9").output
    assert said == (
        "2 of 2 posts name one group (term list version 2); 4 rows in more.jsonl. Left out: 4 "
        "copies that equal another row. --augment 9 asks for more copies than there are: a post "
        "has at most 3, one for each other group that has words for it.\n"
    )


def test_group_names_that_hsd_does_not_know_are_listed_with_their_counts() -> None:
    groups = ["Sikh", "sikh, left-handers", "Non-Muslim", "gay", "none", "Jewish"]
    rows = [
        row(n, "train", ("hate", "normal")[n % 2], group=group) for n, group in enumerate(groups)
    ]
    (note,) = check_data([written("train.jsonl", rows)]).notes
    assert note == (
        "3 posts name groups that hsd does not know and counts as other: 'Non-Muslim' 1, 'Sikh' 1, "
        "'left-handers' 1, 'sikh' 1."
    )


def test_chats_list_group_names_that_hsd_does_not_know_too() -> None:
    chats = [chat(1) | {"target_group": "Sikh"}, chat(2, "Is this hate? bread")]
    notes = check_data([written("chats.jsonl", chats)]).notes
    assert [note for note in notes if "'Sikh' 1" in note]


@pytest.mark.parametrize("name", ["train.jsonl", "mine.jsonl"])
def test_posts_of_one_label_are_a_warning_whatever_their_file_is_called(name: str) -> None:
    rows = [row(n, "") | {"split": ""} for n in range(3)]
    checked = check_data([written(name, rows)])
    assert checked.errors == ()
    assert doctor_lines(checked)[1] == (
        f"WARNING: 1 split with posts of one label ({name[:-6]}: 3 posts, all normal)"
    )


@pytest.mark.parametrize(
    "column",
    ["target", "Target Groups", "groups", "identity", "targeted_groups", "victim_group",
     "hate_target", "communities"],
)  # fmt: skip
def test_a_column_that_looks_like_groups_and_is_not_read_is_a_warning(column: str) -> None:
    rows = [row(n, "train", ("hate", "normal")[n % 2]) for n in range(4)]
    rows = [{column: one.pop("target_group"), **one} for one in rows]
    checked = check_data([written("train.jsonl", rows)])
    (finding,) = checked.findings
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.places == (
        f"train.jsonl: '{column}' looks like the group that posts are about; call it "
        "target_group, or name it with --group-column "
        f"{shlex.quote(column)} (`hsd prepare` needs --source table:FILE too)",
    )


def test_a_split_under_another_name_is_a_warning_and_notes_beside_a_group_are_none() -> None:
    rows = [
        {k: v for k, v in row(n, "train", label).items() if k != "split"} | {"target": "notes"}
        for n, label in enumerate(("hate", "normal"))
    ]
    assert found(written("train.jsonl", rows)) == {}
    rows = [one | {"Split": "test", "labels": "x"} for one in rows]
    (finding,) = check_data([written("train.jsonl", rows)]).findings
    assert [place.split("'")[1] for place in finding.places] == ["Split", "labels"]


def test_chats_warn_of_columns_that_are_not_read_too() -> None:
    file = written("train.jsonl", [chat(1) | {"target": "gay"}, chat(2) | {"target": "gay"}])
    assert "columns that are not read" in found(file)


def test_rows_of_another_split_than_their_file_are_a_warning() -> None:
    rows = [
        row(n, "train" if n < 4 else "test", ("hate", "normal")[n % 2], "none") for n in range(6)
    ]
    places = {f.what: f.places for f in check_data([written("train.jsonl", rows)]).findings}
    assert places == {
        "rows of another split than their file's name says": (
            "train.jsonl:5 is of test",
            "train.jsonl:6 is of test",
        )
    }
    assert found(written("all.jsonl", rows)) == {}


@pytest.mark.parametrize(
    ("what", "one"),
    [
        ("rows that cannot be read", "1 row that cannot be read"),
        ("ids that repeat", "1 id that repeats"),
        ("prompts that name the group", "1 prompt that names the group"),
        ("columns that are not read", "1 column that is not read"),
        ("pairs of exact duplicates within a split", "1 pair of exact duplicates within a split"),
        ("rows over 60 tokens", "1 row over 60 tokens"),
        (
            "test groups with too few posts of a label",
            "1 test group with too few posts of a label",
        ),
    ],
)
def test_one_finding_is_said_of_one(what: str, one: str) -> None:
    assert Finding("error", what, 1, ()).said == one
    assert Finding("error", what, 1_200, ()).said == f"1,200 {what}"


def test_a_file_that_is_given_twice_is_no_leak_but_refused() -> None:
    file = written("test.jsonl", [row(1, "test"), row(2, "test", "hate")])
    result = CliRunner().invoke(data, ["check", str(file), f"./{file}"])
    assert result.exit_code == 2
    assert "test.jsonl is given twice; give each file once." in result.output


def test_a_folder_as_output_is_refused_before_the_files_are_read() -> None:
    Path("pages").mkdir()
    file = written("test.jsonl", [row(1, "test"), row(2, "test", "hate")])
    result = CliRunner().invoke(data, ["check", str(file), "--output", "pages"])
    assert result.exit_code == 2
    assert "'pages' is a directory" in result.output
    assert "rows" not in result.output
