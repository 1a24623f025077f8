"""A merge that leaves experts in MXFP4: the base's files with a few weights replaced."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

torch = pytest.importorskip("torch")

import small_runs  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from peft import LoraConfig as PeftLora  # noqa: E402
from peft import get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from hsd.config.evaluate_config import EvalConfig  # noqa: E402
from hsd.config.merge_config import MergeConfig  # noqa: E402
from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.config.train_config import LoraConfig  # noqa: E402
from hsd.errors import ModelError  # noqa: E402
from hsd.evaluation.evaluate import evaluate  # noqa: E402
from hsd.io.json_reader import read_json  # noqa: E402
from hsd.io.manifest import update_manifest  # noqa: E402
from hsd.model import merge as merge_module  # noqa: E402
from hsd.model.adapter import export_adapter, load_adapter, new_adapter  # noqa: E402
from hsd.model.base import load_base  # noqa: E402
from hsd.model.describe import describe_base  # noqa: E402
from hsd.model.merge import merge  # noqa: E402
from hsd.model.packed_merge import write_packed  # noqa: E402
from hsd.prompts.contract import make_contract, save_contract  # noqa: E402
from hsd.prompts.template import load_template  # noqa: E402
from jobs.merge import merge as command  # noqa: E402

IDS = torch.arange(3, 40)[None]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PARTS = ("model.layers.0.", "model.layers.1.", "")


def sharded(base: Path, folder: Path, dtype: Any = torch.bfloat16) -> Path:
    """Copy a base as the released ones are: a file for each layer and one for the rest.

    It clearly prefers to repeat a token, so that rounding turns no answer.
    """
    shutil.copytree(base, folder)
    weights = load_file(folder / WEIGHTS)
    weights["model.embed_tokens.weight"] *= 50
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    (folder / WEIGHTS).unlink()
    places: dict[str, str] = {}
    for number, part in enumerate(PARTS):
        names = [name for name in weights if name.startswith(part) and name not in places]
        file = f"model-{number:05}-of-{len(PARTS):05}.safetensors"
        held = {n: w if w.dtype == torch.uint8 else w.to(dtype) for n, w in weights.items()}
        save_file({n: held[n] for n in names}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"of": "a test"}, "weight_map": places}))
    config = read_json(folder / "config.json") | {"dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def loaded(folder: Path, quantization: str = "auto") -> Any:
    return load_base(ModelConfig(name=str(folder), quantization=quantization, device="cpu"))


def exported(model: Any, folder: Path, size: float) -> Path:
    """Write an adapter of random numbers of this size."""
    generator = torch.Generator().manual_seed(7)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * size
    export_adapter(model, folder)
    return folder


def run_of(base: Path, folder: Path, size: float = 0.5) -> Path:
    held = loaded(base)
    facts = describe_base(held)
    targets = ["q_proj", "v_proj"]
    exported(new_adapter(held, LoraConfig(rank=4, target_modules=targets), seed=7), folder, size)
    save_contract(folder, make_contract(load_template("baseline"), "standard"))
    update_manifest(folder, kind="train", base=facts, config={"model": {"name": str(base)}})
    return folder


def run_inside(base: Path, folder: Path) -> Path:
    """Write an adapter that learned in the experts themselves."""
    inside = PeftLora(r=2, target_modules=["q_proj"], target_parameters=["experts.down_proj"])
    held = loaded(base, "none")
    held.model.name_or_path = str(base)
    return exported(get_peft_model(held.model, inside), folder, 0.5)


def merged_from(run: Path, output: Path, **changes: Any) -> Any:
    return merge(MergeConfig(adapter_path=run, output_dir=output, device="cpu", **changes))


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def stored(folder: Path) -> dict[str, Any]:
    return {n: w for file in folder.glob("*.safetensors") for n, w in load_file(file).items()}


def left(folder: Path) -> list[str]:
    return sorted({file.name for file in folder.iterdir()} - {"home", "work"})


@pytest.fixture(scope="module")
def base(tiny_mxfp4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(tiny_mxfp4, tmp_path_factory.mktemp("bases") / "base")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(base, tmp_path_factory.mktemp("runs") / "run")


# What is written


def test_only_what_the_adapter_changed_is_replaced_and_experts_keep_their_bytes(
    base: Path, run: Path, tmp_path: Path
) -> None:
    merged = merged_from(run, tmp_path / "merged")
    before, after = stored(base), stored(tmp_path / "merged")
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"model.layers.{layer}.self_attn.{part}_proj.weight" for layer in (0, 1) for part in "qv"
    }
    assert merged.figures["dtype"] == "bfloat16"
    assert "its experts packed as they were (MXFP4), written in bfloat16" in merged.sentences()[0]


def test_files_without_a_changed_weight_index_and_config_are_the_bases_own(
    base: Path, run: Path, tmp_path: Path
) -> None:
    merged_from(run, tmp_path / "merged")
    kept = [f"model-00002-of-{len(PARTS):05}.safetensors", INDEX, "config.json"]
    for name in kept:
        assert (tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes()
    assert (base / kept[0]).stat().st_nlink == 1
    assert read_json(tmp_path / "merged/config.json")["quantization_config"]["quant_method"]
    modes = {file.stat().st_mode for file in (tmp_path / "merged").iterdir()}
    assert len(modes) == 1, "all readable alike"


def test_the_packed_folder_gives_the_logits_of_the_adapter_on_its_base(
    base: Path, run: Path, tmp_path: Path
) -> None:
    merged = merged_from(run, tmp_path / "merged")
    packed = loaded(tmp_path / "merged")
    assert packed.quantization.method == "packed"
    expected = logits(load_adapter(loaded(base), run))
    off = (logits(packed.model) - expected).norm()
    assert off < 0.02 * expected.norm()  # q and v are rounded to bfloat16
    assert off < 0.1 * (logits(loaded(base).model) - expected).norm()
    assert merged.figures["to_adapter"]["label_agreement"] == 1


def test_packed_and_unpacked_merges_are_the_same_model(run: Path, tmp_path: Path) -> None:
    merged_from(run, tmp_path / "packed")
    merged_from(run, tmp_path / "unpacked", experts="unpacked")
    assert "quantization_config" not in read_json(tmp_path / "unpacked/config.json")
    one, other = (logits(loaded(tmp_path / name).model) for name in ("packed", "unpacked"))
    assert (one - other).norm() <= 1e-5 * other.norm()


def test_a_packed_merge_is_evaluated_as_any_model(run: Path, tmp_path: Path) -> None:
    merged_from(run, tmp_path / "merged")
    config = EvalConfig(
        model=ModelConfig(name=str(tmp_path / "merged"), device="cpu"),
        data_file=str(small_runs.jsonl(tmp_path / "rows.jsonl", small_runs.posts(4))),
        output_dir=tmp_path / "evaluation",
        max_new_tokens=8,
    )
    evaluated = evaluate(config)
    assert len(evaluated.predictions) == 4
    assert read_json(evaluated.folder / "manifest.json")["model"]["quantization"] == "packed"


# What is refused


def test_experts_that_learned_are_unpacked_and_packing_them_is_refused(
    base: Path, tmp_path: Path
) -> None:
    inside = run_inside(base, tmp_path / "run")
    with pytest.raises(ModelError, match=r"--experts packed: target_parameters changes experts"):
        merged_from(inside, tmp_path / "merged", experts="packed")
    assert left(tmp_path) == ["run"]
    merged_from(inside, tmp_path / "merged")
    assert "quantization_config" not in read_json(tmp_path / "merged/config.json")


def test_a_base_without_packed_experts_cannot_keep_them(tiny_gpt_oss: Path, tmp_path: Path) -> None:
    run = run_of(tiny_gpt_oss, tmp_path / "run")
    with pytest.raises(ModelError, match=r"has no experts in MXFP4 \(its weights: 16 or 32 bit\)"):
        merged_from(run, tmp_path / "merged", experts="packed")
    assert merged_from(run, tmp_path / "merged").figures["into"] == "the original base"


def test_an_update_that_bfloat16_would_swallow_is_refused_with_what_holds_it(
    base: Path, tmp_path: Path
) -> None:
    run = run_of(base, tmp_path / "run", size=1e-4)
    with pytest.raises(ModelError, match=r"Nothing was kept\. --experts unpacked writes float32"):
        merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == ["run"]
    assert merged_from(run, tmp_path / "merged", experts="unpacked").figures["dtype"] == "float32"


@pytest.mark.parametrize("harm", ["another answer", "a lost weight"])
def test_a_packed_merge_that_is_not_the_adapter_leaves_nothing(
    harm: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harmed(weights: Any, base: Any, folder: Path, dtype: Any) -> None:
        write_packed(weights, base, folder, dtype)
        file = folder / f"model-00000-of-{len(PARTS):05}.safetensors"
        written = load_file(file)
        name = "model.layers.0.self_attn.q_proj.weight"
        if harm == "a lost weight":
            del written[name]
        else:
            written[name] *= -3
        save_file(written, file, metadata={"format": "pt"})

    monkeypatch.setattr(merge_module, "write_packed", harmed)
    said = {"another answer": "does not answer as before", "a lost weight": "read back whole"}
    with pytest.raises(ModelError, match=said[harm]):
        merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == []


def test_ctrl_c_leaves_nothing_of_a_packed_merge(run: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if what == "probes on the merged model":
            raise KeyboardInterrupt

    config = MergeConfig(adapter_path=run, output_dir=tmp_path / "merged", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        merge(config, interrupt)
    assert left(tmp_path) == []


# The same command again


def test_a_merge_that_unpacked_its_experts_counts_as_done_until_packing_is_asked_for(
    run: Path, tmp_path: Path
) -> None:
    merged_from(run, tmp_path / "merged", experts="unpacked")  # as every merge of an older hsd
    assert merged_from(run, tmp_path / "merged").skipped
    assert merged_from(run, tmp_path / "packed").figures["into"].endswith("(MXFP4)")
    assert merged_from(run, tmp_path / "packed").skipped


def test_the_command_takes_the_form_of_the_experts(run: Path, tmp_path: Path) -> None:
    arguments = ["--adapter-path", str(run), "--output-dir", str(tmp_path / "merged")]
    asked = CliRunner().invoke(command, [*arguments, "--experts", "packed", "--device-map", "cpu"])
    assert asked.exit_code == 0, asked.output
    assert "Merged into the original base, its experts packed as they were" in asked.stdout
