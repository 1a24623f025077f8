"""Chats are looked at as the posts inside them, and measured as the prompts that they are."""

import json
import re
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from hsd.data.data_check import DataFindings, check_data
from hsd.data.post_in_chat import shared_words
from hsd.data.posts import read_posts
from hsd.data.prepared_files import chat_rows
from hsd.data.row_lengths import PromptLength
from hsd.example import Example, Label
from hsd.io.files import write_jsonl
from hsd.prompts.contract import Contract, make_contract, save_contract
from hsd.prompts.template import load_template
from hsd.report.doctor_page import doctor_lines, doctor_page
from jobs.data import data

SOUP = "The bakery by the river sells very good soup on Mondays"
SONG = "We sang an old song about ships, and nobody knew the end"
WALK = "Nine of us walked up the hill before the rain came down"


def post(
    id: str, text: str, label: Label = "normal", group: str = "", source: str = "a"
) -> Example:
    groups = (group,) if group else ()
    return Example(id=id, text=text, label=label, groups=groups, source_dataset=source)


def prompt(*strategies: str) -> Contract:
    main, *others = strategies or ("standard",)
    return make_contract(load_template("baseline"), main, others)


def chats(name: str, posts: list[Example], contract: Contract | None = None) -> Path:
    """A file of chats as `hsd prepare` writes it, without the prompt.json."""
    write_jsonl(Path(name), chat_rows(contract or prompt(), posts))
    return Path(name)


def strange(name: str, *turns: tuple[str, Label]) -> Path:
    """A file of chats by somebody else: user turns with the label of their answer."""
    rows = [
        {"messages": [{"role": "user", "content": user},
                      {"role": "assistant", "content": json.dumps({"classification": label})}]}
        for user, label in turns
    ]  # fmt: skip
    write_jsonl(Path(name), rows)
    return Path(name)


def posts_file(name: str, *texts: str) -> Path:
    rows = [{"text": text, "label": "normal", "target_group": "none"} for text in texts]
    write_jsonl(Path(name), rows)
    return Path(name)


def counts(checked: DataFindings) -> dict[str, int]:
    """Return the findings; that a split of three posts has one label is another test's."""
    return {f.what: f.count for f in checked.findings if "of one label" not in f.what}


@pytest.mark.parametrize("has_prompt", [True, False])
def test_leaks_duplicates_and_contradictions_are_found_in_chats(has_prompt: bool) -> None:
    made = [post("1", SOUP), post("2", SOUP), post("3", SOUP, "hate"), post("4", SONG)]
    if has_prompt:
        save_contract(Path(), prompt())
    checked = check_data([chats("train.jsonl", made), posts_file("test.jsonl", SONG, WALK)])
    assert checked.rows == 6
    assert counts(checked) == {
        "posts with a duplicate in a held-out split": 1,
        "pairs of exact duplicates within a split": 2,
        "pairs of duplicates with contradicting labels": 1,
    }
    assert checked.errors[0].places[0].startswith("4 ~ row-00000-")
    assert checked.notes == ()


def test_chats_are_counted_by_split_group_label_and_source() -> None:
    made = [post("1", SOUP, "hate", "lgbtq"), post("2", SONG, source="b")]
    checked = check_data([chats("validation.jsonl", made)])
    assert checked.cells == {
        ("validation", "lgbtq", "hate", "a"): 1,
        ("validation", "none", "normal", "b"): 1,
    }
    assert sum(checked.lengths.values()) == 2


def test_a_post_asked_in_several_ways_counts_once() -> None:
    contract = prompt("standard", "conservative")
    save_contract(Path(), contract)
    file = chats("train.jsonl", [post("1", SOUP), post("2", SONG, "hate")], contract)
    checked = check_data([file])
    assert (checked.rows, sum(checked.cells.values()), checked.findings) == (4, 2, ())
    assert checked.notes == ("train.jsonl: 2 chats ask again about a post, which counts once.",)


def test_a_repeated_id_is_found_among_chats_too() -> None:
    assert counts(check_data([chats("train.jsonl", [post("1", SOUP), post("1", SONG)])])) == {
        "ids that repeat": 1
    }


def test_a_group_that_is_misspelt_is_a_bad_chat_with_its_place() -> None:
    file = chats("train.jsonl", [post("1", SOUP, group="mexicanos"), post("2", SONG)])
    checked = check_data([file])
    assert [(f.what, f.places) for f in checked.errors] == [
        ("chats whose answer or turns are wrong", ("train.jsonl:1",))
    ]
    assert checked.rows == 2


def test_a_chat_that_its_own_prompt_json_did_not_ask_is_an_error() -> None:
    save_contract(Path(), prompt("conservative"))
    checked = check_data([chats("train.jsonl", [post("1", SOUP)], prompt("standard"))])
    assert counts(checked) == {"chats that the prompt.json beside them did not ask": 1}


def test_the_posts_of_unknown_prompts_are_what_their_turns_do_not_share() -> None:
    words = 'Is this hate? Say so in JSON.\nText: "{}"\nThink first.'
    file = strange("train.jsonl", *[(words.format(text), "normal") for text in (SOUP, SONG, WALK)])
    found = read_posts([file])
    assert [e.text for e in found.examples] == [SOUP, SONG, WALK]
    (note,) = found.notes
    assert note.startswith(
        "train.jsonl: 3 of 3 chats were written with no strategy that hsd knows;"
    )
    assert counts(check_data([file, posts_file("test.jsonl", WALK)])) == {
        "posts with a duplicate in a held-out split": 1
    }


@pytest.mark.parametrize(
    ("users", "shared"),
    [
        (["Post: soup", "Post: song"], ("Post: ", "")),
        (["Hate?\n<p>soup</p>", "Hate?\n<p>song</p>"], ("Hate?\n<p>", "</p>")),
        (["the soup", "the song"], ("", "")),
        (["Post: soup"], ("", "")),
        (["Post: soup", "Post: "], ("", "")),
        (["soup", "song"], ("", "")),
    ],
)
def test_shared_words_end_at_a_mark_and_leave_something_of_each_turn(
    users: list[str], shared: tuple[str, str]
) -> None:
    assert shared_words(users) == shared


def test_one_chat_of_an_unknown_prompt_is_taken_whole_and_said_to_be() -> None:
    found = read_posts([strange("a.jsonl", (f"Hate? {SOUP}", "hate"))])
    assert found.examples[0].text == f"Hate? {SOUP}"
    assert "their whole user turn counts as the post" in found.notes[0]


def test_lengths_in_tokens_are_what_training_and_evaluation_limit() -> None:
    """Chats and posts to learn with their answer, posts to judge without; the template always."""
    from hsd.prompts.chat import make_chat
    from hsd.prompts.render import Renderer

    words, contract = tiny.tokenizer(), prompt()
    save_contract(Path(), contract)
    files = [chats("train.jsonl", [post("1", SOUP)]), posts_file("val.jsonl", SONG),
             posts_file("test.jsonl", WALK)]  # fmt: skip
    measure, renderer = PromptLength(words, files), Renderer(words, contract)
    lengths = [measure.length(row) for row in read_posts(files).posts]
    rows: list[tuple[str, Label | None]] = [(SOUP, "normal"), (SONG, "normal"), (WALK, None)]
    for n, (text, label) in zip(lengths, rows, strict=True):
        encoded = renderer.encode(make_chat(contract.strategy, "", text, label))
        assert n == len(encoded.prompt) + len(encoded.answer) > 2 * len(words.encode(text))
        assert renderer.encode(make_chat(contract.strategy, "", text, label), n).shortened is False
        assert renderer.encode(make_chat(contract.strategy, "", text, label), n - 1).shortened
    assert "Posts are asked with strategy 'standard' of 'baseline'." in measure.note
    assert check_data(files, measure, lengths[0] - 1).overflow["none"][0] >= 1


def test_what_is_measured_is_said_with_and_without_a_model() -> None:
    file = chats("train.jsonl", [post("1", SOUP)])
    assert "of the post alone" in check_data([file]).measured
    said = check_data([file], PromptLength(tiny.tokenizer(), [file])).measured
    assert "whole prompt, chat template included" in said
    assert "Posts are asked" not in said


def test_the_command_measures_whole_prompts_where_a_model_is_named(tmp_path: Path) -> None:
    model = tiny.llama(tmp_path / "base")
    file = chats("train.jsonl", [post("1", SOUP), post("2", SONG)])
    arguments = ["check", str(file), "--model_name", str(model), "--max_length", "60"]
    said = CliRunner().invoke(data, arguments, catch_exceptions=False).output
    assert re.search(r"WARNING: 2 rows over 60 tokens of the whole prompt \(1; 2\)", said)
    short = CliRunner().invoke(data, ["check", str(file), "--max_length", "60"]).output
    assert "rows over 60" not in short


def test_lines_and_page_tell_how_chats_were_read_and_measured() -> None:
    checked = check_data([strange("a.jsonl", (SOUP, "hate"))])
    assert doctor_lines(checked)[2].startswith("Note: a.jsonl: 1 of 1 chats")
    page = doctor_page(checked, ["a.jsonl"])
    assert "a.jsonl: 1 of 1 chats were written" in page
    assert "Lengths are of the post alone" in page
    assert SOUP not in page
