"""The families that hsd knows: what the table says is what their code and templates do."""

from pathlib import Path
from typing import Any

import pytest
import small_runs

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

import tiny  # noqa: E402
import tiny_families  # noqa: E402
from judged import merged, scores, trained  # noqa: E402
from transformers import CONFIG_MAPPING, AutoConfig, GPT2Config, GPT2LMHeadModel  # noqa: E402

from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.config.train_config import LoraConfig  # noqa: E402
from hsd.errors import ModelError  # noqa: E402
from hsd.model.adapter import new_adapter  # noqa: E402
from hsd.model.base import load_base  # noqa: E402
from hsd.model.families import attention_for  # noqa: E402
from hsd.model.family_table import (  # noqa: E402
    FAMILIES,
    Family,
    family_line,
    family_of,
    unknown_family,
)
from hsd.model.lora_targets import last_name, resolve_targets  # noqa: E402
from hsd.model.quantization import skeleton  # noqa: E402
from hsd.model.text_model import beside_text, layer_names  # noqa: E402
from hsd.prompts.contract import make_contract  # noqa: E402
from hsd.prompts.render import Renderer  # noqa: E402
from hsd.prompts.template import load_template  # noqa: E402
from hsd.training.training_plan import plan_training  # noqa: E402

FORMS = [
    pytest.param(form, words, id=f"{family.name}-{words}")
    for family in FAMILIES
    for words, form in family.answers.items()
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny base of each family, made when the first test asks for any."""
    folder = tmp_path_factory.mktemp("families")
    return {
        name: make(folder / name.replace(" ", "_")) for name, make in tiny_families.BASES.items()
    }


def hollow(base: Path) -> Any:
    return skeleton(AutoConfig.from_pretrained(base))


def family_at(base: Path) -> Family:
    family = family_of(AutoConfig.from_pretrained(base).get_text_config().model_type)
    assert family
    return family


# The table


def test_every_family_has_a_tiny_base_and_no_type_is_in_two() -> None:
    assert {family.name for family in FAMILIES} <= tiny_families.BASES.keys()
    types = [one for family in FAMILIES for one in family.types]
    assert len(types) == len(set(types))
    assert set(types) <= set(CONFIG_MAPPING)


@pytest.mark.parametrize("name", tiny_families.BASES)
def test_a_familys_layers_and_attention_are_those_of_the_table(
    name: str, bases: dict[str, Path]
) -> None:
    family, model = family_at(bases[name]), hollow(bases[name])
    names = layer_names(model, beside_text(model))
    assert {*family.qv, *family.all_attention} <= set(names.known())
    assert set(family.experts) == set(names.fused_ends())
    assert attention_for(model, "auto", "cpu").code == family.code
    assert attention_kinds(model) <= set(family.attention)
    assert ("sinks" in family.attention) == ("sinks" in attention_kinds(model))


def attention_kinds(model: Any) -> set[str]:
    """What the layers of a model do, as its config and its parameters say."""
    text = model.config.get_text_config()
    kinds = {kind.removesuffix("_attention") for kind in getattr(text, "layer_types", None) or ()}
    if not kinds:
        kinds = {"sliding" if getattr(text, "sliding_window", None) else "full"}
    sinks = {"sinks" for name, _ in model.named_parameters() if name.endswith(".sinks")}
    return kinds | sinks


@pytest.mark.parametrize(("form", "words"), FORMS)
def test_an_answer_opens_and_ends_as_the_table_says(form: Any, words: str) -> None:
    tokenizer = tiny_families.WORDS[words]()
    renderer = Renderer(tokenizer, make_contract(load_template("baseline"), "standard"))
    assert tokenizer.convert_ids_to_tokens(renderer.stop_ids()[0]) == form.ends
    assert renderer.opening_text(has_system=True) == form.opens


# Targets


@pytest.mark.parametrize("name", tiny_families.BASES)
@pytest.mark.parametrize("target", ["qv", "attention", "all-linear", "experts"])
def test_a_named_target_is_what_the_table_says_or_is_refused_in_a_line(
    name: str, target: Any, bases: dict[str, Path]
) -> None:
    family, base = family_at(bases[name]), bases[name]
    lora = LoraConfig(rank=2, dropout=0.0, target_modules=target)
    expected = {"qv": family.qv, "attention": family.all_attention, "experts": family.experts}
    loaded = load_base(ModelConfig(name=str(base), device="cpu"))
    if not expected.get(target, ("all",)):
        with pytest.raises(ModelError, match="lora") as error:
            new_adapter(loaded, lora, seed=1)
        assert "\n" not in str(error.value)
        assert "Set lora.target_modules=" in str(error.value)
        return
    learned = learning(new_adapter(loaded, lora, seed=1))
    if target == "experts":
        assert {path.rpartition(".base_layer")[0] or path for path in learned} == {
            path.rpartition(".")[0] for path in layer_names(hollow(base)).fused
        }
    elif target == "all-linear":
        assert {*family.all_attention} <= {last_name(path) for path in learned}
    else:
        assert {last_name(path) for path in learned} == set(expected[target])
    assert not any("vision" in path for path in learned)


def learning(model: Any) -> set[str]:
    """The full names of what has an adapter."""
    return {
        name.removeprefix("base_model.model.").partition(".lora_")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def test_targets_of_an_unknown_family_are_found_by_their_names(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    sizes = {"vocab_size": len(words), "n_embd": 32, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    names = layer_names(model)
    everywhere = LoraConfig(target_modules="attention")
    assert resolve_targets(everywhere, names, "gpt2").modules == ("c_attn",)  # mlp has c_proj too
    with pytest.raises(ModelError, match="has no such layers of their own .*c_attn"):
        resolve_targets(LoraConfig(target_modules="qv"), names, "gpt2")
    assert "'gpt2', which hsd has no notes on" in str(unknown_family("gpt2"))


def test_a_run_on_an_unknown_family_says_so_once(tmp_path: Path, tiny_gemma2: Path) -> None:
    notes = plan_training(small_runs.config(tiny_gemma2, tmp_path)).notes()
    assert sum("which hsd has no notes on" in note for note in notes) == 1
    assert unknown_family("llama") is None
    assert family_line("gpt_oss") == "Family: gpt-oss. Attention: sliding, full, sinks."
    assert family_line("gemma2") == unknown_family("gemma2")


# Trained, merged and judged


@pytest.mark.parametrize("name", tiny_families.BASES)
def test_a_family_is_trained_merged_and_judged_alike(
    name: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    run = trained(bases[name], tmp_path, {"rank": 2, "target_modules": "attention"})
    figures = merged(run, tmp_path / "merged")
    assert figures["adapter_to_base"]["max_logit_difference"] > 0
    by = [scores(model, tmp_path) for model in (run, tmp_path / "merged")]
    assert by[0] == pytest.approx(by[1], abs=1e-4)


# The page


def test_the_page_on_training_has_the_table_and_what_is_refused() -> None:
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
    lines = page.splitlines()
    for family in FAMILIES:
        assert row_of(family) in lines
        for reason in family.refused:
            assert f"- {family.name}, {reason}." in lines


def row_of(family: Family) -> str:
    def short(names: Any) -> str:
        return ", ".join(last_name(name).removesuffix("_proj") for name in names) or "-"

    ends = dict.fromkeys(form.ends.replace("|", r"\|") for form in family.answers.values())
    cells = (
        family.name,
        ", ".join(f"`{one}`" for one in family.types),
        ", ".join(family.attention),
        short(family.qv),
        short(family.all_attention),
        short(family.experts),
        ", ".join(f"`{end}`" for end in ends),
    )
    return f"| {' | '.join(cells)} |"
