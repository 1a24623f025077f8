"""rsLoRA, DoRA, LoRA+, patterns and experts: each is exact with all that hsd does to a run."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import small_runs

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

import tiny_families  # noqa: E402
from gradients import collected, exact_norms, moved, one_by_one, relative_error  # noqa: E402
from judged import ONCE, merged, scores, trained  # noqa: E402
from peft import LoraConfig as PeftLora  # noqa: E402
from peft import get_peft_model  # noqa: E402
from peft.optimizers import create_loraplus_optimizer  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_read_shape import PREFIX, ROWS, _kept_bytes, _others, config_of  # noqa: E402
from test_step import FORMS, learn, works_in  # noqa: E402
from test_step import ROWS as STEP_ROWS  # noqa: E402
from test_train import signalled  # noqa: E402
from transformers import Glm4MoeConfig, Trainer  # noqa: E402

from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.config.train_config import LoraConfig  # noqa: E402
from hsd.errors import ModelError, PreflightError, Stopped  # noqa: E402
from hsd.io.json_reader import read_json  # noqa: E402
from hsd.model.adapter import export_adapter, load_adapter, new_adapter, without_adapter  # noqa: E402
from hsd.model.base import load_base  # noqa: E402
from hsd.model.dora import Float32Lengths  # noqa: E402
from hsd.model.fused_experts import linear_names, require_unchanged  # noqa: E402
from hsd.model.memory_parts import Held, activations_bytes  # noqa: E402
from hsd.model.quantization import skeleton  # noqa: E402
from hsd.model.read_shape import read_shape  # noqa: E402
from hsd.model.recompute import recompute_activations  # noqa: E402
from hsd.model.text_model import layer_names  # noqa: E402
from hsd.training import trainer as trainer_module  # noqa: E402
from hsd.training.disk_space import adapter_parameters  # noqa: E402
from hsd.training.loraplus import split_for_loraplus  # noqa: E402
from hsd.training.microbatches import StepPlan  # noqa: E402
from hsd.training.planned_base import _adapter, planned_base  # noqa: E402
from hsd.training.planned_devices import PlannedDevices  # noqa: E402
from hsd.training.step import step_log_probabilities  # noqa: E402
from hsd.training.step_size import piece_sizes  # noqa: E402
from hsd.training.training_run import train  # noqa: E402

__all__ = ["exact_norms"]

RANK = {"rank": 4, "alpha": 8}
PATTERNS: dict[str, Any] = {
    "target_modules": "attention",
    "rank_pattern": {"v_proj": 2, "layers.1.self_attn.o_proj": 8},
    "alpha_pattern": {"q_proj": 3.5},
}
LAYERS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True, "target_modules": "all-linear"},
    "lora+": {"loraplus_lr_ratio": 8, "alpha": 2.5},
    "patterns": PATTERNS,
    "all at once": PATTERNS | {"use_dora": True, "use_rslora": True, "loraplus_lr_ratio": 2},
}
"""Options for layers, and for experts: dropout stays where the library has one."""
EXPERTS: dict[str, dict[str, Any]] = {
    "experts": {"target_modules": "experts", "dropout": 0},
    "one matrix of experts": {
        "target_modules": "attention",
        "target_parameters": ["experts.down_proj"],
        "rank_pattern": {"down_proj": 2},
        "use_rslora": True,
        "dropout": 0,
    },
}
CASES = [
    *(pytest.param("tiny_llama", options, id=name) for name, options in LAYERS.items()),
    *(pytest.param("tiny_gpt_oss", options, id=name) for name, options in EXPERTS.items()),
    pytest.param("tiny_moe", EXPERTS["experts"], id="experts, transposed"),
]
EVERY = pytest.mark.parametrize(("base", "options"), CASES)
HELD = [
    pytest.param({}, id="float32"),
    pytest.param({"dtype": "bfloat16"}, id="bfloat16"),
    pytest.param({"quantization": "nf4"}, id="nf4"),
]


@pytest.fixture(scope="session")
def tiny_moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Qwen3 with experts; nobody writes into it."""
    return tiny_families.qwen3_moe(tmp_path_factory.mktemp("tiny") / "moe")


@pytest.fixture
def folder_of(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue


def loaded(base: Path, **how: Any) -> Any:
    return load_base(ModelConfig(name=str(base), device="cpu", **how))


def fresh(base: Path, options: dict[str, Any], **how: Any) -> Any:
    settings = LoraConfig(**(RANK | options))
    return new_adapter(loaded(base, **how), settings, seed=1)


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 40)[None]).logits


# Learned, kept and judged


@EVERY
def test_an_option_is_trained_merged_and_judged_alike(
    base: str, options: dict[str, Any], folder_of: Any, tmp_path: Path
) -> None:
    run = trained(folder_of(base), tmp_path, options)
    figures = merged(run, tmp_path / "merged")
    assert figures["adapter_to_base"]["max_logit_difference"] > 0
    by = [scores(model, tmp_path) for model in (run, tmp_path / "merged")]
    assert by[0] == pytest.approx(by[1], abs=1e-4)


@pytest.mark.parametrize("options", [LAYERS["dora"], LAYERS["all at once"]], ids=["dora", "all"])
def test_an_option_learns_on_a_base_in_4_bit(
    options: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    run = trained(tiny_llama, tmp_path, options, model={"quantization": "nf4"})
    figures = merged(run, tmp_path / "merged")
    assert figures["into"] == "the dequantised 4-bit base"
    by = [scores(model, tmp_path) for model in (run, tmp_path / "merged")]
    assert by[0] == pytest.approx(by[1], abs=0.01)  # 4 bit computes in bfloat16


@pytest.mark.parametrize(
    ("base", "options"),
    [("tiny_llama", LAYERS["all at once"]), ("tiny_gpt_oss", EXPERTS["experts"])],
    ids=["layers", "experts"],
)
def test_a_run_with_options_that_was_stopped_and_resumed_equals_the_uninterrupted(
    base: str, options: dict[str, Any], folder_of: Any, tmp_path: Path
) -> None:
    def config(name: str) -> Any:
        return small_runs.config(
            folder_of(base), tmp_path / name, rows=8, validation=0, lora=options, training=ONCE
        )

    whole = train(config("whole")).folder
    with pytest.raises(Stopped):
        train(config("stopped"), signalled(signal.SIGTERM, 1))
    resumed = train(config("stopped")).folder
    assert small_runs.adapter_bytes(resumed) == small_runs.adapter_bytes(whole)


def test_the_files_of_a_run_say_its_options_in_pefts_words(
    tiny_llama: Path, tmp_path: Path
) -> None:
    run = trained(tiny_llama, tmp_path, LAYERS["all at once"])
    said = read_json(run / "adapter_config.json")
    assert (said["use_dora"], said["use_rslora"]) == (True, True)
    assert said["rank_pattern"] == PATTERNS["rank_pattern"]
    assert said["alpha_pattern"] == PATTERNS["alpha_pattern"]
    assert repr(said["lora_alpha"]) == "8", "programs that serve adapters want a whole number"
    assert read_json(run / "config.json")["lora"]["loraplus_lr_ratio"] == 2


# Gradients


@EVERY
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
@pytest.mark.usefixtures("exact_norms")
def test_a_shared_steps_gradient_is_that_of_its_rows_one_by_one(
    base: str, options: dict[str, Any], form: str, again: bool, folder_of: Any
) -> None:
    model = moved(fresh(folder_of(base), options | {"dropout": 0}), torch.float64)
    expected = one_by_one(model, STEP_ROWS)
    if again:
        recompute_activations(model, on=True)
        model.train()
    learn(model, works_in(form, STEP_ROWS), STEP_ROWS)
    exact = base != "tiny_moe"  # its norms always go by float32
    assert relative_error(collected(model), expected) <= (1e-10 if exact else 1e-5)


def test_the_groups_of_lora_plus_have_the_rates_that_peft_gives_them(tiny_llama: Path) -> None:
    model = fresh(tiny_llama, {"use_dora": True})
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=8)
    ours = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    split_for_loraplus(ours, model, 8)
    assert rates(ours, model) == rates(theirs, model)
    assert set(rates(ours, model).values()) == {0.01, 0.08}


def rates(optimizer: Any, model: Any) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


def test_two_rates_rise_and_fall_together_and_lengths_do_not_decay(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    create = Trainer.create_scheduler

    def noted(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        made.append((trainer.optimizer, trainer.model))
        return create(trainer, *args, **kwargs)

    monkeypatch.setattr(trainer_module.HsdTrainer, "create_scheduler", noted)
    trained(tiny_llama, tmp_path, {"use_dora": True, "loraplus_lr_ratio": 8})
    (optimizer, model), names = made[0], {}
    for name, parameter in model.named_parameters():
        names[id(parameter)] = name
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            is_length = "magnitude" in names[id(parameter)]
            assert group["weight_decay"] == (0 if is_length else 0.01)
            faster = is_length or "lora_B" in names[id(parameter)]
            assert group["initial_lr"] == pytest.approx(0.08 if faster else 0.01)


# Effect


@EVERY
def test_a_fresh_adapter_with_an_option_changes_nothing(
    base: str, options: dict[str, Any], folder_of: Any
) -> None:
    plain = logits(loaded(folder_of(base)).model)
    assert torch.allclose(logits(fresh(folder_of(base), options).eval()), plain, atol=1e-6)


@pytest.mark.parametrize("how", HELD)
def test_a_fresh_dora_adapter_changes_nothing_however_its_base_is_held(
    how: dict[str, Any], tiny_llama: Path
) -> None:
    model = fresh(tiny_llama, LAYERS["dora"], **how).eval()
    with without_adapter(model):
        plain = logits(model)
    assert torch.equal(logits(model), plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # as a 16-bit base trains
        length = next(m for m in model.modules() if isinstance(m, Float32Lengths))
        layer = model.base_model.model.model.layers[0].self_attn.q_proj
        weight = torch.randn(64, 64).to(torch.bfloat16)
        found = length.get_weight_norm(weight, torch.zeros(64, 64), 1.0)
        assert torch.allclose(found, weight.float().norm(dim=1), rtol=1e-6)
        assert layer.lora_magnitude_vector["default"].weight.dtype == torch.float32


@EVERY
def test_an_adapter_with_an_option_that_learned_nothing_is_refused(
    base: str, options: dict[str, Any], folder_of: Any, tmp_path: Path
) -> None:
    export_adapter(fresh(folder_of(base), options), tmp_path)
    with pytest.raises(ModelError, match="the adapter changes nothing"):
        load_adapter(loaded(folder_of(base)), tmp_path)


@pytest.mark.parametrize("trained_on", HELD)
@pytest.mark.parametrize("judged_on", HELD)
def test_a_dora_adapter_that_learned_nothing_is_refused_on_a_base_of_any_format(
    trained_on: dict[str, Any], judged_on: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    export_adapter(fresh(tiny_llama, LAYERS["dora"], **trained_on), tmp_path)
    with pytest.raises(ModelError, match="the adapter changes nothing"):
        load_adapter(loaded(tiny_llama, **judged_on), tmp_path)


def test_a_dora_adapter_whose_lengths_alone_learned_does_something(
    tiny_llama: Path, tmp_path: Path
) -> None:
    export_adapter(fresh(tiny_llama, LAYERS["dora"]), tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    longer = {name: w * (1.5 if "magnitude" in name else 1) for name, w in weights.items()}
    save_file(longer, tmp_path / "adapter_model.safetensors")
    assert load_adapter(loaded(tiny_llama), tmp_path)


def test_dora_on_a_4_bit_base_is_judged_as_it_learned(tiny_llama: Path) -> None:
    """Some CPUs pack 4-bit weights when a model is judged, which peft takes for plain ones."""
    model = moved(fresh(tiny_llama, LAYERS["dora"], quantization="nf4"), torch.float32)
    layers = [m.get_base_layer() for m in model.modules() if hasattr(m, "lora_magnitude_vector")]
    assert len(layers) == 2 * 7
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    model.eval()
    judged = logits(model.requires_grad_(False))
    assert torch.equal(judged, logits(model))
    for layer in layers:
        layer.train()  # nothing is packed then
    assert torch.equal(judged, logits(model))


def test_rslora_scales_by_the_root_of_the_rank(tiny_llama: Path) -> None:
    model = fresh(tiny_llama, {"use_rslora": True, "alpha": 2.5})
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == pytest.approx(2.5 / math.sqrt(4))


# Refused


@pytest.mark.parametrize("options", EXPERTS.values(), ids=EXPERTS)
def test_packed_experts_do_not_learn_and_unpacked_ones_do(
    options: dict[str, Any], tiny_mxfp4: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"stay packed in MXFP4.*Set model\.quantization=none"):
        trained(tiny_mxfp4, tmp_path, options)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="stay packed in MXFP4"):
        fresh(tiny_mxfp4, options)
    run = trained(tiny_mxfp4, tmp_path, options, model={"quantization": "none"})
    with pytest.raises(ModelError, match=r"packed in MXFP4.*model\.quantization=none"):
        load_adapter(loaded(tiny_mxfp4), run)
    assert merged(run, tmp_path / "merged")["adapter_to_base"]["max_logit_difference"] > 0


@pytest.mark.parametrize(
    ("base", "options", "said"),
    [
        ("tiny_llama", EXPERTS["experts"], "has no fused experts that could learn"),
        (
            "tiny_gpt_oss",
            {"target_parameters": ["experts.down_prj"], "dropout": 0},
            "'experts.down_prj' are no fused experts .* Did you mean 'experts.down_proj'",
        ),
        (
            "tiny_gpt_oss",
            {"target_parameters": ["o_proj.weight"], "dropout": 0},
            "'o_proj.weight' are no fused experts",
        ),
        (
            "tiny_llama",
            {"rank_pattern": {"k_proj": 2}},
            r"lora\.rank_pattern: 'k_proj' matches nothing that learns",
        ),
        (
            "tiny_llama",
            {"alpha_pattern": {"layers.7.*q_proj": 2}},
            r"lora\.alpha_pattern: 'layers\.7\.\*q_proj' matches nothing",
        ),
        *(
            (
                "tiny_llama",
                {"target_modules": "all-linear", setting: {layer: 64}},
                "matches nothing",
            )
            for setting in ("rank_pattern", "alpha_pattern")
            for layer in ("lm_head", "embed_tokens")
        ),
        (
            "tiny_llama",
            {"alpha_pattern": {"v_proj": 64, "layers.0.self_attn.v_proj": 4}},
            r"'layers.0.self_attn.v_proj' \(4\) and 'v_proj' \(64\) both match model.layers.0",
        ),
        (
            "tiny_moe",
            {"target_modules": ["q_proj", "gate_proj", "up_proj"], "dropout": 0},
            "'gate_proj' is no linear layer",
        ),
    ],
)
def test_what_an_option_cannot_reach_is_refused_in_a_line(
    base: str, options: dict[str, Any], said: str, folder_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said) as error:
        fresh(folder_of(base), options)
    assert "\n" not in str(error.value)
    config = small_runs.config(folder_of(base), tmp_path, lora=options)
    with pytest.raises(ModelError, match=said):
        planned_base(config, PlannedDevices(1, 80.0, is_gpu=False))


def test_all_linear_leaves_the_experts_of_a_mixture_alone(tiny_moe: Path) -> None:
    """peft alone would put an adapter on them, and on the router."""
    model = fresh(tiny_moe, {"target_modules": "all-linear"})
    assert not any("experts" in name for name, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "gate_proj", "up_proj", "down_proj"]])
def test_layers_that_peft_would_take_for_experts_are_refused(targets: Any) -> None:
    """A shared expert has layers of these names, and peft would leave it out."""
    model = skeleton(Glm4MoeConfig(num_hidden_layers=2, n_routed_experts=4, pad_token_id=0))
    assert {"gate_proj", "up_proj"} <= set(layer_names(model).known())
    modules = linear_names(model, ()) if targets == "all-linear" else targets
    with pytest.raises(ModelError, match="for its fused experts.*Set lora.target_modules=attent"):
        require_unchanged(PeftLora(target_modules=list(modules)), model, "a base")
    require_unchanged(PeftLora(target_modules=["q_proj", "v_proj"]), model, "a base")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"use_rslora": True}, "use_rslora is None there and True here"),
        ({"use_dora": True}, {}, "use_dora is True there and None here"),
        (PATTERNS, {"target_modules": "attention"}, "rank_pattern is .* there and None here"),
    ],
)
def test_a_run_goes_on_from_an_adapter_with_its_own_options_alone(
    before: Any, after: Any, said: str, tiny_llama: Path, tmp_path: Path
) -> None:
    first = trained(tiny_llama, tmp_path / "first", before)
    going_on = {"training": ONCE | {"init_from": str(first)}}
    assert trained(tiny_llama, tmp_path / "same", before, **going_on)
    with pytest.raises(PreflightError, match=said):
        trained(tiny_llama, tmp_path / "other", after, **going_on)


# Planned


@EVERY
def test_the_plan_counts_the_parameters_that_an_option_has(
    base: str, options: dict[str, Any], folder_of: Any, tmp_path: Path
) -> None:
    config = small_runs.config(folder_of(base), tmp_path, lora=RANK | options)
    planned = planned_base(config, PlannedDevices(1, 80.0, is_gpu=False))
    assert planned.source
    assert planned.how.adapter_parameters == adapter_parameters(config, planned.source)


@EVERY
@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_the_plan_counts_what_autograd_keeps_of_an_option(
    base: str, options: dict[str, Any], dropout: float, folder_of: Any, tmp_path: Path
) -> None:
    lora = {"dropout": dropout} | RANK | options
    shape = read_shape(config_of(folder_of(base)))
    adapter = _adapter(shape, small_runs.config(folder_of(base), tmp_path, lora=lora), "none")
    model = fresh(folder_of(base), lora).train()
    work = StepPlan("with", PREFIX, [ROWS], 0)
    (piece,) = piece_sizes([work])
    planned = activations_bytes(shape, adapter, Held("none", 4), piece, False, False)
    kept = _kept_bytes(model, lambda: step_log_probabilities(model, work, ROWS, None, 0))
    assert planned == pytest.approx(kept - _others(shape, piece.logits, piece.tokens), rel=0.1)


def test_an_adapter_made_here_is_what_peft_makes_of_the_same_words(tiny_llama: Path) -> None:
    options = LAYERS["all at once"]
    ours = fresh(tiny_llama, options)
    theirs = get_peft_model(
        loaded(tiny_llama).model,
        PeftLora(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            use_dora=True,
            use_rslora=True,
            rank_pattern=dict(PATTERNS["rank_pattern"]),
            alpha_pattern=dict(PATTERNS["alpha_pattern"]),
        ),
    )
    shapes = [
        {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
