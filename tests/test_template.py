"""Template files: what ships loads, and what is wrong in one is said in a line."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.errors import ConfigError
from hsd.prompts.answers import object_end
from hsd.prompts.chat import answer_json, make_chat
from hsd.prompts.template import Strategy, Template, load_template, shipped_templates

SHIPPED = {
    "baseline": ["standard", "conservative"],
    "combined/combined_gptoss_v1": [
        "combined_optimized",
        "combined_focused",
        "combined_conservative",
    ],
}
STRATEGIES = [(template, name) for template, names in SHIPPED.items() for name in names]
ASKED = {"name": "Asked", "user_template": "Judge. {text}"}


def written(folder: Path, content: Any) -> str:
    path = folder / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def refused(folder: Path, content: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load_template(written(folder, content))
    assert str(error.value).startswith(str(folder / "mine.json"))
    return str(error.value).removeprefix(str(folder / "mine.json"))


def test_two_templates_ship_with_two_and_three_strategies() -> None:
    found = {name: list(load_template(name).strategies) for name in shipped_templates()}
    assert found == SHIPPED
    assert len(STRATEGIES) == 5


@pytest.mark.parametrize(("template", "name"), STRATEGIES)
def test_the_post_stands_last_in_a_shipped_strategy(template: str, name: str) -> None:
    strategy = load_template(template).strategy(name)
    assert strategy.around_post[0].endswith("Post: ")
    assert strategy.around_post[1] == ""
    assert "Post: the bakery" in make_chat(strategy, "1", "the bakery").user


@pytest.mark.parametrize(("template", "name"), STRATEGIES)
def test_a_shipped_strategy_shows_the_answers_as_they_are_trained(template: str, name: str) -> None:
    strategy = load_template(template).strategy(name)
    assert answer_json("hate") in strategy.around_post[0]
    assert answer_json("normal") in strategy.around_post[0]
    assert ("rationale" in strategy.user_template) == strategy.parameters.rationale
    assert strategy.parameters.max_new_tokens is not None


@pytest.mark.parametrize(("template", "name"), STRATEGIES)
def test_a_shipped_strategy_has_no_stray_braces(template: str, name: str) -> None:
    strategy = load_template(template).strategy(name)
    words = strategy.system_prompt + strategy.around_post[0]
    assert "{{" not in words
    assert "}}" not in words
    assert object_end(strategy.around_post[0]) is not None


def test_a_strategy_is_found_by_name_and_the_first_without_one() -> None:
    template = load_template("baseline.json")
    assert template.name == "baseline"
    assert template.strategy() is template.strategy("standard")


def test_an_unknown_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"baseline: unknown strategy 'standrad'\. Did you mean 'standard'\?"
    ):
        load_template("baseline").strategy("standrad")


def test_an_unknown_template_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'basline': no such .* Did you mean 'baseline'\?"):
        load_template("basline")


def test_a_template_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    template = load_template(written(tmp_path, {"strategies": {"asked": ASKED}}))
    assert template.strategy("asked").around_post == ("Judge. ", "")


def test_literal_braces_are_written_twice() -> None:
    strategy = Strategy(name="x", user_template="Say {{yes}}: {text} {{end}}")
    assert strategy.around_post == ("Say {yes}: ", " {end}")


@pytest.mark.parametrize(
    ("user_template", "shown"),
    [
        ("Judge.", "it has none"),
        ("{text} {text}", "it has {text}, {text}"),
        ("{text} {group}", "it has {text}, {group}"),
        ("{group}", "it has {group}"),
        ("{}", "it has {}"),
        ("{0}", "it has {0}"),
        ("{text.__class__}", "it has {text.__class__}"),
        ("{text[0]}", "it has {text[0]}"),
        ("{text!r}", "exactly once, and no other"),
        ("{text:>10}", "exactly once, and no other"),
        ("{text:{text}}", "exactly once, and no other"),
        ("{text", "write literal braces twice"),
        ('{"classification": "hate"} {text}', "exactly once, and no other"),
    ],
)
def test_a_user_template_has_the_post_once_and_nothing_else(
    user_template: str, shown: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, {"strategies": {"s": ASKED | {"user_template": user_template}}})
    assert said.startswith(": strategies.s.user_template: n")
    assert shown in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", ":1: not JSON"),
        ("[]", ': expected {"strategies"'),
        ({"stratgies": {}}, ': expected {"strategies"'),
        ({"strategies": {}}, ': expected {"strategies"'),
        ({"strategies": {"s": ASKED}, "version": 2}, ": unknown key 'version'. Known: strategies"),
        ({"strategies": ["s"]}, ": strategies: Input should be"),
        ({"strategies": {"s": {"name": "S"}}}, ": strategies.s.user_template: Field required"),
        (
            {"strategies": {"s": ASKED | {"sytem_prompt": "x"}}},
            ": strategies.s: unknown key 'sytem_prompt'. Did you mean 'system_prompt'?",
        ),
        (
            {"strategies": {"s": ASKED | {"parameters": {"rationales": True}}}},
            ": strategies.s.parameters: unknown key 'rationales'. Did you mean 'rationale'?",
        ),
        (
            {"strategies": {"s": ASKED | {"parameters": {"max_new_tokens": 0}}}},
            ": strategies.s.parameters.max",
        ),
    ],
)
def test_a_wrong_template_file_is_refused_saying_where(
    content: Any, said: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, content).startswith(said)


def test_a_template_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes(b'{"strategies": "\xff"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_template(str(tmp_path / "mine.json"))


def test_older_files_settings_of_chat_apis_are_passed_over(tmp_path: Path) -> None:
    parameters = {"temperature": 0.1, "top_p": 1, "response_format": "json", "max_tokens": 99}
    template = load_template(
        written(tmp_path, {"strategies": {"s": ASKED | {"parameters": parameters}}})
    )
    assert template.strategy().parameters.max_new_tokens == 99


def test_a_template_written_out_loads_equal(tmp_path: Path) -> None:
    template = load_template("baseline")
    path = written(tmp_path, {"strategies": template.model_dump(mode="json")["strategies"]})
    again = load_template(path)
    assert again == Template(name=path.removesuffix(".json"), strategies=template.strategies)
