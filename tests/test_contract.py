"""prompt.json: every word of a prompt counts, its names do not, and nobody edits it unseen."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hsd.errors import ConfigError, EvaluationError, PreflightError
from hsd.prompts.contract import (
    FILE,
    PINNED_DATE,
    Contract,
    load_contract,
    make_contract,
    mismatch,
    save_contract,
    trained_as,
)
from hsd.prompts.template import Parameters, Strategy, Template, load_template, shipped_templates

STRATEGY = Strategy(
    name="Plain",
    description="A short one.",
    system_prompt="Sort posts.",
    user_template="Post: {text}",
    parameters=Parameters(max_new_tokens=24),
)
CONTRACT = Contract(template="mine", strategy_name="plain", strategy=STRATEGY)


SHORT = Strategy(name="Short", user_template="{text}")
SEVERAL = CONTRACT.model_copy(update={"others": {"short": SHORT}})


def with_strategy(**changes: Any) -> Contract:
    return CONTRACT.model_copy(update={"strategy": STRATEGY.model_copy(update=changes)})


def edited(folder: Path, change: dict[str, Any]) -> None:
    content = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps(content | change))


@pytest.mark.parametrize("template", shipped_templates())
def test_a_contract_reloads_equal(template: str, tmp_path: Path) -> None:
    for name in load_template(template).strategies:
        contract = make_contract(load_template(template), name).model_copy(
            update={"chat_template_sha256": "ab", "stop_ids": (2, 0)}
        )
        save_contract(tmp_path, contract)
        assert load_contract(tmp_path) == contract
        assert json.loads((tmp_path / FILE).read_text())["hash"] == contract.hash


def test_without_a_name_the_first_strategy_is_meant() -> None:
    assert make_contract(load_template("baseline"), None).strategy_name == "standard"


def test_a_folder_without_a_contract_has_none(tmp_path: Path) -> None:
    assert load_contract(tmp_path) is None


NAMES = [
    CONTRACT.model_copy(update={"template": "other"}),
    CONTRACT.model_copy(update={"strategy_name": "other"}),
    CONTRACT.model_copy(update={"chat_template_sha256": "ab", "stop_ids": (1,)}),
    with_strategy(name="Other"),
    with_strategy(description="Other."),
]
WORDS = [
    with_strategy(system_prompt="Sort posts"),
    with_strategy(system_prompt=""),
    with_strategy(user_template="Post:  {text}"),
    with_strategy(parameters=Parameters(max_new_tokens=25)),
    with_strategy(parameters=Parameters(max_new_tokens=24, rationale=True)),
    with_strategy(parameters=Parameters(max_new_tokens=24, reasoning_effort="low")),
    CONTRACT.model_copy(update={"answers": ("{}", "[]")}),
    CONTRACT.model_copy(update={"answers": tuple(reversed(CONTRACT.answers))}),
    CONTRACT.model_copy(update={"chat_date": date(2025, 8, 6)}),
    SEVERAL,
    CONTRACT.model_copy(update={"others": {"asked": STRATEGY}}),
]


@pytest.mark.parametrize("other", NAMES, ids=range(len(NAMES)))
def test_the_hash_ignores_names(other: Contract) -> None:
    assert other != CONTRACT
    assert other.hash == CONTRACT.hash
    assert mismatch(CONTRACT, other) == []


@pytest.mark.parametrize("other", WORDS, ids=range(len(WORDS)))
def test_the_hash_sees_every_word(other: Contract) -> None:
    assert other.hash != CONTRACT.hash
    assert len(mismatch(CONTRACT, other)) == 1


def test_all_changes_give_different_hashes() -> None:
    assert len({c.hash for c in (CONTRACT, *WORDS)}) == len(WORDS) + 1


def test_a_mismatch_names_the_part() -> None:
    lines = mismatch(CONTRACT, with_strategy(system_prompt="Be kind."))
    assert lines == ['system_prompt: "Sort posts." -> "Be kind."']


def test_an_edited_contract_is_refused(tmp_path: Path) -> None:
    save_contract(tmp_path, CONTRACT)
    edited(tmp_path, {"answers": ["yes", "no"]})
    with pytest.raises(EvaluationError, match="words do not fit its hash"):
        load_contract(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stratgey": {}}, "stratgey: Extra inputs"),
        ({"strategy": {"name": "x"}}, "strategy.user_template: Field required"),
        ({"chat_date": "soon"}, "chat_date: Input should be a valid date"),
    ],
)
def test_a_contract_that_is_none_is_refused_in_a_line(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    save_contract(tmp_path, CONTRACT)
    edited(tmp_path, change)
    with pytest.raises(EvaluationError) as error:
        load_contract(tmp_path)
    assert f"{FILE}: not a prompt of hsd: {said}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("{", PreflightError), ("[]", EvaluationError), ("", PreflightError)]
)
def test_a_contract_that_is_not_json_is_refused(
    text: str, expected: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(expected, match=FILE):
        load_contract(tmp_path)


def test_the_date_is_pinned_and_thinking_is_off() -> None:
    kwargs = CONTRACT.chat_kwargs()
    assert date(2025, 8, 5) == PINNED_DATE
    assert kwargs == {"date_string": "05 Aug 2025", "enable_thinking": False}


def test_the_reasoning_effort_is_passed_on_where_there_is_one() -> None:
    low = with_strategy(parameters=Parameters(reasoning_effort="low"))
    assert low.chat_kwargs()["reasoning_effort"] == "low"


# Several strategies


def test_a_contract_of_several_strategies_reloads_equal(tmp_path: Path) -> None:
    save_contract(tmp_path, SEVERAL)
    assert load_contract(tmp_path) == SEVERAL
    assert list(SEVERAL.strategies) == ["plain", "short"]


def test_one_strategy_is_written_and_hashed_as_before_there_could_be_several(
    tmp_path: Path,
) -> None:
    save_contract(tmp_path, CONTRACT)
    written = json.loads((tmp_path / FILE).read_text())
    assert "others" not in written
    assert written["hash"] == "8c2bb2324ce7b163381f8e9d994be8eac5cf79a87d718339be1f182a23da2cc6"


def test_the_words_of_a_further_strategy_cannot_be_edited_unseen(tmp_path: Path) -> None:
    save_contract(tmp_path, SEVERAL)
    turned = SHORT.model_copy(update={"user_template": "Hm: {text}"})
    edited(tmp_path, {"others": {"short": turned.model_dump()}})
    with pytest.raises(EvaluationError, match="words do not fit its hash"):
        load_contract(tmp_path)


def test_alone_is_what_a_contract_of_that_strategy_is() -> None:
    assert SEVERAL.alone() == CONTRACT
    assert SEVERAL.alone("short") == Contract(
        template="mine", strategy_name="short", strategy=SHORT
    )


def test_a_post_is_a_row_of_each_strategy_and_keeps_its_id_where_there_is_one() -> None:
    assert CONTRACT.asks("p1") == [("p1", STRATEGY)]
    assert SEVERAL.asks("p1") == [("p1:plain", STRATEGY), ("p1:short", SHORT)]


def test_each_trained_strategy_is_found_by_its_words_and_no_other() -> None:
    sealed = SEVERAL.model_copy(update={"stop_ids": (2,)})
    renamed = Contract(template="edited", strategy_name="brief", strategy=SHORT)
    assert trained_as(sealed, renamed) == sealed.alone("short")
    assert trained_as(sealed, CONTRACT) == sealed.alone()
    assert trained_as(sealed, with_strategy(system_prompt="Be kind.")) is None
    assert trained_as(CONTRACT, renamed) is None


HASTY = Strategy(
    name="Hasty", user_template="{text}", parameters=Parameters(reasoning_effort="low")
)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["shrot"], "unknown strategy 'shrot'. Did you mean 'short'"),
        (["plain"], "strategies plain, plain: name each of them once"),
        (["short", "short"], "strategies plain, short, short: name each of them once"),
        (["hasty"], "strategies plain, hasty differ in parameters.reasoning_effort"),
    ],
)
def test_strategies_that_cannot_be_learned_together_are_refused(
    others: list[str], said: str
) -> None:
    known = {"plain": STRATEGY, "short": SHORT, "hasty": HASTY}
    with pytest.raises(ConfigError) as error:
        make_contract(Template(name="mine", strategies=known), "plain", others)
    assert said in str(error.value)
