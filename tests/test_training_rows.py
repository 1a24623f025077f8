"""From files to token ids: which rows a run learns, with which prompt, and what it refuses."""

import json
import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import small_runs
from present import present
from small_runs import jsonl, posts

from hsd.errors import ConfigError, DataError, HsdError
from hsd.example import Label
from hsd.prompts.chat import Chat, chat_messages
from hsd.prompts.contract import load_contract, make_contract, save_contract
from hsd.prompts.render import Encoded
from hsd.prompts.template import Strategy, Template, load_template
from hsd.training.dataset import TrainingRows, load_training_rows
from hsd.training.label_targets import balanced
from hsd.training.lesson import Lesson
from hsd.training.training_files import RowSource
from hsd.training.training_run import train

pytestmark = pytest.mark.model

TEMPLATE = load_template("baseline")
CONSERVATIVE = make_contract(TEMPLATE, "conservative")
BOTH = make_contract(TEMPLATE, "standard", ["conservative"])


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def load(tiny_llama: Path, tmp_path: Path, tokenizer: Any) -> Callable[..., TrainingRows]:
    """Give `load(train=rows, validation=rows, **data)`: the encoded rows of these files."""

    def rows(train: Any = None, validation: Any = None, **data: Any) -> TrainingRows:
        config = small_runs.config(tiny_llama, tmp_path, validation=0, data=data)
        if train is not None:
            jsonl(Path(config.data.train_file), train)
        if validation is not None:
            file = str(jsonl(tmp_path / "validation.jsonl", validation))
            inside = config.data.model_copy(update={"validation_file": file})
            config = config.model_copy(update={"data": inside})
        return load_training_rows(config, tokenizer)

    return rows


def chats(
    rows: list[dict[str, Any]], strategy: str = "conservative", template: Template = TEMPLATE
) -> list[dict[str, Any]]:
    """Return posts as `hsd prepare` writes them."""
    words = template.strategies[strategy]
    return [
        {"id": row["id"], "messages": chat_messages(words, row["text"], row["label"])}
        for row in rows
    ]


@pytest.mark.parametrize("written", ["posts", "chats"])
def test_rows_are_counted_in_the_groups_that_the_config_names(
    tiny_llama: Path, tmp_path: Path, written: str
) -> None:
    rows = posts(4) if written == "posts" else chats(posts(4), "standard")
    found = []
    for name in (None, "hatexplain"):
        config = small_runs.config(tiny_llama, tmp_path, validation=0, data={"groups": name})
        jsonl(Path(config.data.train_file), [r | {"target_group": "Jewish|Women"} for r in rows])
        lessons = RowSource.of(config, "train").lessons(make_contract(TEMPLATE, "standard"))
        found.append({lesson.groups for lesson in lessons})
    assert found == [{("other",)}, {("jewish", "women")}]


def named(rows: list[dict[str, str]], strategy: str) -> list[dict[str, str]]:
    return [row | {"id": f"{row['id']}:{strategy}"} for row in rows]


def test_a_row_is_its_prompt_and_the_answer_with_its_stop_token(
    load: Callable[..., TrainingRows], tokenizer: Any
) -> None:
    rows = load(posts(2))
    row = rows.train[1]
    assert row.id == "p1"
    assert tokenizer.decode(row.answer) == '{"classification": "hate"}<|im_end|>'
    prompt = tokenizer.decode(row.prompt)
    assert prompt.endswith(f"Post: {posts(2)[1]['text']}<|im_end|>\n<|im_start|>assistant\n")
    whole = tokenizer.encode(
        prompt + '{"classification": "hate"}<|im_end|>', add_special_tokens=False
    )
    assert row.prompt + row.answer == whole  # prompt ids are a prefix of prompt and answer


def test_a_validation_row_is_scored_by_both_labels_whole_and_a_learned_one_where_asked(
    load: Callable[..., TrainingRows], tokenizer: Any
) -> None:
    rows = load(
        posts(2),
        [row | {"text": f"{row['text']} again", "id": f"v{row['id']}"} for row in posts(2)],
    )
    assert [row.target for row in rows.train] == [None, None]
    for row in rows.validation:
        target = row.target
        assert target is not None
        hate, normal = (tokenizer.decode(tail) for tail in target.tails)
        own, rival = (hate, normal) if target.label == "hate" else (normal, hate)
        said = tokenizer.decode(row.answer[target.opening :])
        assert said.startswith(own)
        assert [tokenizer.decode(tail) for tail in target.rivals] == [rival]
        assert '"' in hate
        assert '"' in normal


def test_embedded_rows_come_from_the_split_they_are_asked_for(
    tiny_llama: Path, tmp_path: Path, tokenizer: Any
) -> None:
    config = small_runs.config(
        tiny_llama,
        tmp_path,
        data={"train_file": "embedded", "validation_file": "embedded", "max_train_rows": 6},
    )
    rows = load_training_rows(config, tokenizer)
    assert len(rows.train) == 6
    assert all(row.id.startswith("embedded-train") for row in rows.train)
    assert all("train" not in row.id for row in rows.validation)


def test_a_limit_draws_a_seeded_sample_half_of_each_label(
    load: Callable[..., TrainingRows],
) -> None:
    rows = load(posts(40), max_train_rows=10)
    numbers = [int(row.id[1:]) for row in rows.train]
    assert len(set(numbers)) == 10
    assert sum(number % 2 for number in numbers) == 5
    assert [row.id for row in load(posts(40), max_train_rows=10).train] == [
        row.id for row in rows.train
    ]


# Chats that `hsd prepare` wrote


def test_prepared_chats_are_learned_with_the_prompt_json_beside_them(
    tiny_llama: Path, tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    save_contract(tmp_path, CONSERVATIVE)
    rows = load(chats(posts(4)))  # the config says `standard`
    assert rows.contract.hash == CONSERVATIVE.hash
    config = small_runs.config(tiny_llama, tmp_path, validation=0, training={"max_steps": 1})
    jsonl(Path(config.data.train_file), chats(posts(4)))
    run = train(config).folder
    contract = present(load_contract(run))
    assert contract.strategy_name == "conservative"
    assert contract.stop_ids == rows.contract.stop_ids is not None


def test_a_chat_gives_the_same_ids_as_its_post(load: Callable[..., TrainingRows]) -> None:
    plain = load(posts(4))
    written = load(chats(posts(4), "standard"))
    assert [(row.prompt, row.answer) for row in written.train] == [
        (row.prompt, row.answer) for row in plain.train
    ]


def test_chats_of_another_prompt_are_refused_with_file_and_line(
    load: Callable[..., TrainingRows],
) -> None:
    rows = [*chats(posts(2), "standard"), *chats(posts(1, first=5), "conservative")]
    with pytest.raises(DataError, match=r"train\.jsonl:3: this row was not written with .*standar"):
        load(rows)


def test_an_answer_in_another_form_is_refused_with_file_and_line(
    load: Callable[..., TrainingRows],
) -> None:
    rows = chats(posts(3), "standard")
    rows[1]["messages"][-1]["content"] = '{"rationale": "an insult", "classification": "hate"}'
    with pytest.raises(DataError, match=r"train\.jsonl:2: the answer is written in another form"):
        load(rows)


def test_an_answer_with_a_rationale_behind_the_label_is_learned(
    load: Callable[..., TrainingRows], tokenizer: Any
) -> None:
    rows = chats(posts(2), "standard")
    answer = '{"classification": "hate", "rationale": "it demeans"}'
    rows[1]["messages"][-1]["content"] = answer
    assert tokenizer.decode(load(rows).train[1].answer) == answer + "<|im_end|>"


# Several strategies in one file


def test_rows_of_several_strategies_are_learned_each_with_its_own_prompt(
    tmp_path: Path, load: Callable[..., TrainingRows], tokenizer: Any
) -> None:
    save_contract(tmp_path, BOTH)
    first, second = chats(posts(2), "standard"), chats(named(posts(2), "c"))
    rows = load([*first, *second])
    prompts = [tokenizer.decode(row.prompt) for row in rows.train]
    said = [TEMPLATE.strategies[name].system_prompt for name in ("standard", "conservative")]
    assert [[words in prompt for words in said] for prompt in prompts] == (
        [[True, False]] * 2 + [[False, True]] * 2
    )
    assert [row.asked[0] for row in rows.train] == [said[0]] * 2 + [said[1]] * 2
    assert rows.train[0].asked is rows.train[1].asked
    assert rows.contract.others == BOTH.others
    assert rows.asked.strategy == "standard"


def test_a_run_on_several_strategies_carries_them_all(tiny_llama: Path, tmp_path: Path) -> None:
    config = small_runs.config(tiny_llama, tmp_path, validation=0, training={"max_steps": 1})
    save_contract(tmp_path, BOTH)
    rows = [*chats(posts(4), "standard"), *chats(named(posts(4), "c"))]
    jsonl(Path(config.data.train_file), rows)
    carried = load_contract(train(config).folder)
    assert carried is not None
    assert carried.hash == BOTH.hash
    assert carried.strategies == BOTH.strategies
    assert carried.alone("conservative").hash == CONSERVATIVE.hash


def test_posts_beside_the_prompts_of_several_strategies_are_asked_with_each(
    tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    save_contract(tmp_path, BOTH)
    plain = load(posts(3))
    prepared = [*chats(named(posts(3), "standard"), "standard")]
    conservative = chats(named(posts(3), "conservative"))
    written = load([row for pair in zip(prepared, conservative, strict=True) for row in pair])
    assert plain.train == written.train
    assert len(load(posts(4), max_train_rows=6).train) == 6


def test_a_row_asked_with_none_of_the_strategies_is_refused_with_file_and_line(
    tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    save_contract(tmp_path, BOTH)
    rows = [*chats(posts(1), "standard"), *chats(posts(2, first=5))]
    rows[2]["messages"][0]["content"] = "Sort posts."
    with pytest.raises(DataError, match=r"train\.jsonl:3: .* 'standard' or 'conservative' of temp"):
        load(rows)


def test_a_post_learned_under_one_strategy_is_refused_in_validation_under_another(
    tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    save_contract(tmp_path, BOTH)
    with pytest.raises(
        DataError, match="validation row p3:other has the same post as training row p3;"
    ):
        load(chats(posts(5), "standard"), chats(named(posts(1, first=3), "other")))


def test_a_row_belongs_to_the_strategy_that_says_more_of_its_words(
    tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    template = Template(
        name="mine",
        strategies={
            "short": Strategy(name="Short", user_template="Post: {text}"),
            "long": Strategy(name="Long", user_template="Post: Judge this. {text}"),
        },
    )
    save_contract(tmp_path, make_contract(template, "short", ["long"]))
    rows = load([*chats(posts(1), "short", template), *chats(posts(1, 1), "long", template)])
    assert [row.asked[1] for row in rows.train] == ["Post: ", "Post: Judge this. "]
    assert [row.post for row in rows.train] == [row["text"] for row in posts(2)]


def test_strategies_whose_answers_have_their_label_in_two_places_are_scored_each_at_its_own(
    tiny_llama: Path, tmp_path: Path, tokenizer: Any
) -> None:
    template = Template(
        name="mine",
        strategies={
            "bare": Strategy(name="Bare", user_template="Post: {text}"),
            "told": Strategy(name="Told", system_prompt="Sort.", user_template="Post: {text}"),
        },
    )
    save_contract(tmp_path, make_contract(template, "bare", ["told"]))
    config = small_runs.config(tiny_llama, tmp_path, validation=0, training={"objective": "label"})
    thoughtful = deepcopy(tokenizer)
    # Thinks aloud where there is a system turn, and is asked the same way in both cases.
    thoughtful.chat_template = tokenizer.chat_template.replace(
        "\n{{ m['content'] }}",
        "\n{% if m['role'] == 'assistant' and messages[0]['role'] == 'system' %}thought: "
        "{% endif %}{{ m['content'] }}",
    )
    rows = load_training_rows(config, thoughtful).train
    openings = {row.id.partition(":")[2]: opening_of(thoughtful, row) for row in rows}
    assert openings == {
        "bare": '{"classification": "',
        "told": 'thought: {"classification": "',
    }


def opening_of(tokenizer: Any, row: Encoded) -> str:
    assert row.target is not None
    opening: str = tokenizer.decode(row.answer[: row.target.opening])
    return opening


def test_balanced_weights_let_labels_or_the_labels_of_every_group_count_alike() -> None:
    def lesson(label: Label, *groups: str) -> Lesson:
        return Lesson(Chat(id="", system="", before=""), label, rationale=False, groups=groups)

    rows = [
        lesson("hate", "lgbtq"),
        lesson("normal", "lgbtq"),
        lesson("normal", "lgbtq"),
        lesson("normal", "lgbtq", "mexican"),
        lesson("normal"),
    ]
    assert balanced(rows, "none") == [1.0] * 5
    assert balanced(rows, "label") == pytest.approx([2.5, *[0.625] * 4])
    by_group = balanced(rows, "group")
    assert sum(by_group) == pytest.approx(5)
    # Four cells of 1.25 each: hate and normal about lgbtq, normal about mexican, and about nobody.
    half = 1.25 / 2.5 / 2
    assert by_group == pytest.approx([1.25, 0.5, 0.5, half + 1.25, 1.25])


# What is refused


def test_a_validation_row_that_is_learned_is_refused(load: Callable[..., TrainingRows]) -> None:
    same = posts(1, first=3)[0] | {"id": "other"}
    with pytest.raises(
        DataError, match="validation row other has the same post as training row p3"
    ):
        load(posts(5), [*posts(2, first=90), same])


def test_a_validation_post_cut_to_one_that_is_learned_is_refused(
    load: Callable[..., TrainingRows],
) -> None:
    same = posts(1, first=3)[0]
    limit = len(load([same]).train[0].prompt) + 10
    longer = same | {"id": "longer", "text": same["text"] + " and so on" * 20}
    assert load([longer], max_length=limit).train[0].shortened
    with pytest.raises(DataError, match="row longer has the same post as training row again"):
        load([longer | {"id": "again"}], [longer], max_length=limit)
    cut = load([longer], max_length=limit).train[0].post
    with pytest.raises(DataError, match="row longer has the same post as training row cut"):
        load([same | {"id": "cut", "text": cut}], [longer], max_length=limit)


def test_a_longer_post_is_cut_counted_and_said_but_never_the_answer(
    load: Callable[..., TrainingRows], caplog: pytest.LogCaptureFixture
) -> None:
    whole = load(posts(3))
    lengths = [len(row.prompt) + len(row.answer) for row in whole.train]
    limit = max(lengths) - 5
    with caplog.at_level(logging.WARNING):
        cut = load(posts(3), max_length=limit)
    assert "1 of 3 posts were cut to fit" in caplog.text
    assert cut.facts()["train"]["posts_cut"] == 1
    assert [len(row.prompt) + len(row.answer) <= limit for row in cut.train] == [True] * 3
    assert [row.answer for row in cut.train] == [row.answer for row in whole.train]
    (short,) = [row for row in cut.train if row.shortened]
    frame = whole.train[0].prompt[:20]
    assert short.prompt[:20] == frame
    assert short.prompt[-4:] == whole.train[0].prompt[-4:]


def test_a_longer_post_can_refuse_the_run_instead(load: Callable[..., TrainingRows]) -> None:
    limit = max(len(row.prompt) + len(row.answer) for row in load(posts(3)).train) - 1
    with pytest.raises(
        DataError, match=rf"row p2: \d+ tokens are more than data.max_length {limit}; "
    ):
        load(posts(3), max_length=limit, overflow="fail")


def test_a_prompt_that_leaves_no_room_for_a_post_is_refused(
    load: Callable[..., TrainingRows],
) -> None:
    said = (
        r"row p0: the prompt has (\d+) tokens without the post, so no post fits in "
        r"data.max_length 60; raise data.max_length to \d+ or more, or take a shorter strategy"
    )
    with pytest.raises(DataError, match=said):
        load(posts(1), max_length=60)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"train\.jsonl:1: the file is empty"),
        ("\n\n", r"train\.jsonl:1: the file is empty"),
        ('{"text": "a", "label": "hate"}\n{"text": "b", "la', r"train\.jsonl:2: .*ends in the mid"),
        ('{"text": "a", "label": "hate"}\n{"text": "b"}\n', r"train\.jsonl:2: "),
        ('{"text": "a", "label": "hate"}\n{"label": "hate"}\n', r"train\.jsonl:2: "),
        ('{"text": "a", "label": "rude"}\n', r"train\.jsonl:1.*rude"),
        (json.dumps({"messages": []}) + "\n", r"train\.jsonl:1: turns are none"),
    ],
    ids=["empty", "blank", "half written", "no label", "no text", "unknown label", "no turns"],
)
def test_files_without_usable_rows_are_refused_with_file_and_line(
    tiny_llama: Path, tmp_path: Path, tokenizer: Any, content: str, message: str
) -> None:
    config = small_runs.config(tiny_llama, tmp_path, validation=0)
    Path(config.data.train_file).write_text(content)
    with pytest.raises(DataError, match=message):
        load_training_rows(config, tokenizer)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"data": {"train_file": "tran.jsonl"}},
            DataError,
            r"^data.train_file: data file 'tran.jsonl': .* Give --set data.train_file=FILE\.$",
        ),
        (
            {"data": {"validation_file": "val.jsonl"}},
            DataError,
            "^data.validation_file: data file 'val.jsonl': .* Give --set data.validation_file=FILE"
            ", or null to train without one",
        ),
        ({"prompt": {"template": "basline"}}, ConfigError, "Did you mean 'baseline'"),
        ({"prompt": {"strategy": "standart"}}, ConfigError, "Did you mean 'standard'"),
    ],
    ids=["train_file", "validation_file", "template", "strategy"],
)
def test_an_unknown_name_is_refused(
    tiny_llama: Path,
    tmp_path: Path,
    tokenizer: Any,
    changes: dict[str, Any],
    error: type[HsdError],
    message: str,
) -> None:
    config = small_runs.config(tiny_llama, tmp_path, validation=0, **changes)
    with pytest.raises(error, match=message):
        load_training_rows(config, tokenizer)


def test_the_digest_of_the_rows_tells_any_change_of_ids_or_tokens(
    load: Callable[..., TrainingRows],
) -> None:
    first = load(posts(4)).facts()["train"]
    assert load(posts(4)).facts()["train"] == first
    renamed = [row | {"id": f"x{row['id']}"} for row in posts(4)]
    assert load(renamed).facts()["train"]["sha256"] != first["sha256"]
    assert load(posts(4)[::-1]).facts()["train"]["sha256"] != first["sha256"]


def test_the_digest_of_the_rows_is_worked_out_once(
    load: Callable[..., TrainingRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr("hsd.training.dataset._digest", lambda rows: made.append(len(rows)))
    rows = load(posts(4), posts(2, first=50))
    assert [rows.facts() for _ in range(3)] == [rows.facts()] * 3
    assert made == [4, 2]


@pytest.mark.parametrize("name", ["unified", "canned_50_quick", "embedded:test"])
def test_rows_that_are_held_out_for_evaluation_are_not_learned(
    name: str, load: Callable[..., TrainingRows]
) -> None:
    with pytest.raises(DataError, match=f"'{name}' is held out"):
        load(train_file=name)


def test_the_config_of_a_run_names_the_prompt_its_rows_were_written_with(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.training.training_plan import plan_training

    settings = small_runs.config(tiny_llama, tmp_path, validation=0)
    rows = [
        {"id": row["id"], "messages": chat_messages(CONSERVATIVE.strategy, row["text"], "hate")}
        for row in posts(4)
    ]
    jsonl(Path(settings.data.train_file), rows)
    save_contract(Path(settings.data.train_file).parent, CONSERVATIVE)
    assert settings.prompt.strategy != "conservative"
    assert plan_training(settings).config.prompt.strategy == "conservative"
