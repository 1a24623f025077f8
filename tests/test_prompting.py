"""Which prompt an evaluation asks with: any that the model was trained with, else none unasked."""

from pathlib import Path
from typing import Any

import pytest

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import EvaluationError
from hsd.evaluation.prompt_choice import contract_for
from hsd.prompts.contract import load_contract, make_contract, save_contract
from hsd.prompts.template import load_template

TEMPLATE = load_template("combined/combined_gptoss_v1")
MAIN, OTHER, NEVER = "combined_focused", "combined_conservative", "combined_optimized"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder whose model was trained with two of the three strategies of a template."""
    contract = make_contract(TEMPLATE, MAIN, [OTHER])
    save_contract(tmp_path, contract.model_copy(update={"stop_ids": (2,)}))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "strategy"),
    [
        ({}, MAIN),
        ({"prompt_template": TEMPLATE.name}, MAIN),
        ({"strategy": MAIN}, MAIN),
        ({"strategy": OTHER}, OTHER),
        ({"prompt_template": TEMPLATE.name, "strategy": OTHER}, OTHER),
    ],
)
def test_each_strategy_that_was_trained_may_be_asked_and_the_main_one_is_unless_told(
    asked: dict[str, Any], strategy: str, adapter: Path
) -> None:
    trained = load_contract(adapter)
    assert trained is not None
    contract = contract_for(EvalConfig(**asked), adapter)
    assert contract == trained.alone(strategy)
    assert contract.hash == make_contract(TEMPLATE, strategy).hash
    assert contract.others == {}


def test_a_strategy_that_was_not_trained_is_refused_and_may_be_insisted_on(adapter: Path) -> None:
    with pytest.raises(EvaluationError) as error:
        contract_for(EvalConfig(strategy=NEVER), adapter)
    assert f"trained with strategy '{MAIN}', '{OTHER}' of template" in str(error.value)
    assert "differs in parameters.max_new_tokens, parameters.rationale, system_prompt" in str(
        error.value
    )
    config = EvalConfig(strategy=NEVER, ignore_prompt_mismatch=True)
    assert contract_for(config, adapter).strategy_name == NEVER
