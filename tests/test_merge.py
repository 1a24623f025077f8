"""Merging: the same answers from a folder that stands alone, or no folder at all."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

torch = pytest.importorskip("torch")

import small_runs  # noqa: E402
from bitsandbytes.functional import dequantize_4bit, quantize_4bit  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from peft.tuners.lora.bnb import Linear4bit as LoraOn4bit  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from stolen import stolen  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase  # noqa: E402

from hsd.config.evaluate_config import EvalConfig  # noqa: E402
from hsd.config.merge_config import MergeConfig  # noqa: E402
from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.config.train_config import LoraConfig  # noqa: E402
from hsd.errors import InUseError, ModelError, PreflightError, TakenOver  # noqa: E402
from hsd.evaluation.evaluate import evaluate  # noqa: E402
from hsd.io.digests import digests  # noqa: E402
from hsd.io.files import write_json  # noqa: E402
from hsd.io.json_reader import read_json  # noqa: E402
from hsd.io.manifest import MANIFEST, update_manifest  # noqa: E402
from hsd.io.run_identity import IDENTITY  # noqa: E402
from hsd.model import merge as merge_module  # noqa: E402
from hsd.model.adapter import export_adapter, load_adapter, new_adapter  # noqa: E402
from hsd.model.adapter_folder import CONFIG  # noqa: E402
from hsd.model.base import load_base  # noqa: E402
from hsd.model.dequantize import dequantize  # noqa: E402
from hsd.model.describe import describe_base  # noqa: E402
from hsd.model.merge import merge  # noqa: E402
from hsd.model.merge_plan import plan_merge  # noqa: E402
from hsd.model.standalone import write_standalone  # noqa: E402
from hsd.prompts.contract import make_contract, save_contract  # noqa: E402
from hsd.prompts.template import load_template  # noqa: E402
from jobs.merge import merge as command  # noqa: E402

IDS = torch.arange(3, 40)[None]
WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"
Q = "model.layers.0.self_attn.q_proj"


def run_of(base: Path, folder: Path, quantization: str = "none", size: float = 0.1) -> Path:
    """Write what a training run leaves, with an adapter of random numbers of this size."""
    loaded = load_base(ModelConfig(name=str(base), quantization=quantization, device="cpu"))
    facts = describe_base(loaded)
    model = new_adapter(loaded, LoraConfig(rank=4, alpha=8), seed=7)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * size
    export_adapter(model, folder)
    save_contract(folder, make_contract(load_template("baseline"), "conservative"))
    update_manifest(folder, kind="train", base=facts, config={"model": {"name": str(base)}})
    return folder


def merged_from(run: Path, output: Path, **changes: Any) -> Any:
    return merge(MergeConfig(adapter_path=run, output_dir=output, device="cpu", **changes))


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def adapter_logits(base: Path, run: Path) -> Any:
    return logits(load_adapter(load_base(ModelConfig(name=str(base), device="cpu")), run))


def merged_logits(folder: Path) -> Any:
    return logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())


def left(folder: Path) -> list[str]:
    """Return what lies in a test's folder beside what every test gets."""
    return sorted({file.name for file in folder.iterdir()} - {"home", "work"})


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def in_bfloat16(base: Path, folder: Path) -> Path:
    """Copy a base, in bfloat16, with a mind of its own: it clearly prefers to repeat a token."""
    shutil.copytree(base, folder)
    weights = load_file(folder / WEIGHTS)
    weights["model.embed_tokens.weight"] *= 50
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(
        {name: weight.to(torch.bfloat16) for name, weight in weights.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = read_json(folder / "config.json") | {"dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tiny_llama, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def run_in_4bit(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tiny_llama, tmp_path_factory.mktemp("runs") / "run4", "nf4")


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])
def test_the_merged_model_gives_the_logits_of_the_adapter_on_its_base(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(family)
    run, before = run_of(base, tmp_path / "run"), contents(base)
    merged = merged_from(run, tmp_path / "merged")
    expected = adapter_logits(base, run)
    found = merged_logits(tmp_path / "merged")
    assert (found - expected).abs().max() < 1e-4
    plain = logits(load_base(ModelConfig(name=str(base), device="cpu")).model)
    assert (found - plain).abs().max() > 1e-2
    assert merged.figures["to_adapter"]["label_agreement"] == 1
    assert merged.figures["to_adapter"]["probes"] >= 8
    assert contents(base) == before


def test_the_folder_is_an_ordinary_model_with_the_adapters_prompt(
    run: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "merged"
    merged_from(run, output)
    assert {file.name for file in output.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "identity.json",
        "manifest.json",
        "model.safetensors",
        "prompt.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (output / "prompt.json").read_bytes() == (run / "prompt.json").read_bytes()
    manifest = read_json(output / "manifest.json")
    assert (manifest["kind"], manifest["onto"]) == ("merge", "trained")
    assert manifest["figures"]["to_adapter"]["max_logit_difference"] < 1e-3
    assert [file.name for file in output.parent.iterdir()] == ["merged"]
    assert len({file.stat().st_mode for file in output.iterdir()}) == 1, "all readable alike"


def test_a_merged_folder_is_evaluated_with_the_adapters_prompt_and_replies(
    tiny_llama: Path, run: Path, tmp_path: Path
) -> None:
    merged_from(run, tmp_path / "merged")
    rows = small_runs.jsonl(tmp_path / "rows.jsonl", small_runs.posts(4))
    replies = []
    for model in (run, tmp_path / "merged"):
        config = EvalConfig(
            model=ModelConfig(name=str(model), device="cpu"),
            data_file=str(rows),
            output_dir=tmp_path / "eval" / model.name,
            max_new_tokens=8,
        )
        evaluated = evaluate(config)
        asked = read_json(evaluated.folder / "manifest.json")["prompt"]
        assert asked["strategy"] == "conservative"
        replies.append([prediction.reply for prediction in evaluated.predictions])
    assert replies[0] == replies[1]


# Two at once


def test_the_same_merge_started_while_it_runs_is_refused_and_harms_nothing(
    run: Path, tmp_path: Path
) -> None:
    config = MergeConfig(adapter_path=run, output_dir=tmp_path / "merged", device="cpu")
    refused = []

    def start_again(done: int, total: int, what: str) -> None:
        if done == 0:
            with pytest.raises(InUseError, match="is in use: hsd merge ") as error:
                merge(config)
            refused.append(str(error.value))

    merged = merge(config, start_again)
    assert len(refused) == 2
    assert all(sentence.startswith(f"{merged.folder} is in use") for sentence in refused)
    assert left(tmp_path) == ["merged"]
    assert merge(config).skipped


def test_a_disk_that_is_full_is_said_with_the_folder_whoever_finds_out(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, folder: Path, **how: Any) -> None:
        raise Exception("No space left on device (os error 28)")  # as tokenizers does

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", full)
    with pytest.raises(OSError) as caught:
        merged_from(run, tmp_path / "models/merged")
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value.filename)
    assert left(tmp_path) == []  # the folder above it goes again too


def test_what_was_put_into_the_folder_meanwhile_is_kept_and_said(run: Path, tmp_path: Path) -> None:
    config = MergeConfig(adapter_path=run, output_dir=tmp_path / "merged", device="cpu")

    def meanwhile(done: int, total: int, what: str) -> None:
        config.output_dir.mkdir(exist_ok=True)
        (config.output_dir / "thesis.txt").touch()

    with pytest.raises(InUseError, match="something was put there while"):
        merge(config, meanwhile)
    assert left(tmp_path) == ["merged"]
    assert left(config.output_dir) == ["thesis.txt"]


def test_a_merge_whose_lease_was_taken_leaves_the_folder_to_the_other(
    run: Path, tmp_path: Path
) -> None:
    config = MergeConfig(adapter_path=run, output_dir=tmp_path / "merged", device="cpu")

    def steal(done: int, total: int, what: str) -> None:
        stolen(tmp_path / ".lease-merged", "hsd merge")

    with pytest.raises(TakenOver, match=f"{config.output_dir} was taken over: hsd merge "):
        merge(config, steal)
    assert left(tmp_path) == [".lease-merged"]


# A run on a 4-bit base


def test_a_run_in_4bit_goes_into_the_very_weights_it_was_trained_with(
    tiny_llama: Path, run_in_4bit: Path, tmp_path: Path
) -> None:
    merged = merged_from(run_in_4bit, tmp_path / "merged")
    original, adapter = load_file(tiny_llama / WEIGHTS), load_file(run_in_4bit / ADAPTER)
    packed, state = quantize_4bit(
        original[f"{Q}.weight"], quant_type="nf4", compress_statistics=True
    )
    held = dequantize_4bit(packed, state).to(torch.bfloat16).float()
    name = f"base_model.model.{Q}.lora_"
    learned = adapter[f"{name}B.weight"] @ adapter[f"{name}A.weight"] * 8 / 4
    found = load_file(tmp_path / "merged" / WEIGHTS)
    assert torch.allclose(found[f"{Q}.weight"], held + learned, atol=1e-6)
    assert not torch.allclose(found[f"{Q}.weight"], original[f"{Q}.weight"] + learned, atol=1e-3)
    k_proj = Q.replace("q_proj", "k_proj")  # has no adapter, and was in 4 bit all the same
    assert not torch.equal(found[f"{k_proj}.weight"], original[f"{k_proj}.weight"])
    assert merged.figures["into"] == "the dequantised 4-bit base"
    assert merged.figures["to_4bit"]["kl"] < 1e-4
    assert "quantization_config" not in read_json(tmp_path / "merged" / "config.json")


def test_into_the_original_weights_the_difference_to_what_was_trained_is_stated(
    tiny_llama: Path, run_in_4bit: Path, tmp_path: Path
) -> None:
    exact = merged_from(run_in_4bit, tmp_path / "exact")
    other = merged_from(run_in_4bit, tmp_path / "other", onto="original")
    assert other.onto == read_json(tmp_path / "other" / "manifest.json")["onto"] == "original"
    assert other.figures["to_4bit"]["kl"] > 3 * exact.figures["to_4bit"]["kl"]
    said = "\n".join(other.sentences())
    assert "Merged into the original base" in said
    assert "Difference to the 4-bit model that was trained: logits up to" in said
    k_proj = f"{Q.replace('q_proj', 'k_proj')}.weight"
    found = load_file(tmp_path / "other" / WEIGHTS)[k_proj]
    assert torch.equal(found, load_file(tiny_llama / WEIGHTS)[k_proj])


def test_nothing_is_ever_merged_into_quantised_weights(
    run_in_4bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("merged in place")

    monkeypatch.setattr(LoraOn4bit, "merge", refuse)
    for onto in ("trained", "original"):
        merged_from(run_in_4bit, tmp_path / onto, onto=onto)


def test_a_merge_that_is_not_what_was_trained_in_4bit_is_refused(
    run_in_4bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeroed(base: Any) -> Any:
        dequantize(base)
        base.model.model.layers[0].mlp.down_proj.weight.data.zero_()
        base.model.model.layers[1].self_attn.o_proj.weight.data *= -1
        return base

    monkeypatch.setattr(merge_module, "dequantize", zeroed)
    with pytest.raises(ModelError, match="to the 4-bit model that was trained"):
        merged_from(run_in_4bit, tmp_path / "merged")
    assert left(tmp_path) == []


# Number formats


def test_an_update_that_bfloat16_would_swallow_is_written_in_float32(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = in_bfloat16(tiny_llama, tmp_path / "base")
    run = run_of(base, tmp_path / "run", size=1e-4)
    merged = merged_from(run, tmp_path / "merged")
    assert merged.figures["dtype"] == "float32"
    assert merged.figures["refused"]["dtype"] == "bfloat16"
    assert any(line.startswith("Not in bfloat16: ") for line in merged.sentences())
    assert {w.dtype for w in load_file(tmp_path / "merged" / WEIGHTS).values()} == {torch.float32}


def test_the_bases_own_number_format_is_kept_where_it_holds_the_update(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = in_bfloat16(tiny_llama, tmp_path / "base")
    merged = merged_from(run_of(base, tmp_path / "run", size=0.5), tmp_path / "merged")
    assert (merged.figures["dtype"], merged.figures["refused"]) == ("bfloat16", None)
    assert {w.dtype for w in load_file(tmp_path / "merged" / WEIGHTS).values()} == {torch.bfloat16}


# Folders, and whatever goes wrong


def test_the_same_merge_is_not_done_twice_and_another_is_refused(
    run: Path, run_in_4bit: Path, tmp_path: Path
) -> None:
    output = tmp_path / "merged"
    first, before = merged_from(run, output), contents(output)
    again = merged_from(run, output)
    assert (again.skipped, again.figures) == (True, dict(first.figures))
    assert again.sentences() == ["Was finished before.", *first.sentences()]
    with pytest.raises(PreflightError, match="belongs to another run; differs in adapter_sha256"):
        merged_from(run_in_4bit, output)
    with pytest.raises(PreflightError, match="is not empty and not a run of hsd"):
        merged_from(run, run)
    assert contents(output) == before


def test_an_empty_folder_is_taken(run: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == ["merged"]


def test_a_merge_that_answers_otherwise_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupted(weights: Any, base: Any, folder: Path, dtype: Any) -> None:
        write_standalone(weights, base, folder, dtype)
        stored = load_file(folder / WEIGHTS)
        stored[f"{Q}.weight"][0] += 0.5
        save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})

    monkeypatch.setattr(merge_module, "write_standalone", corrupted)
    with pytest.raises(ModelError, match=r"a logit differs by .*, more than 0\.001\. Nothing"):
        merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == []


def test_a_model_that_lacks_its_experts_is_refused(
    tiny_gpt_oss: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_experts(weights: Any, base: Any, folder: Path, dtype: Any) -> None:
        write_standalone(weights, base, folder, dtype)
        stored = load_file(folder / WEIGHTS)
        kept = {name: weight for name, weight in stored.items() if "gate_up_proj" not in name}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})

    run = run_of(tiny_gpt_oss, tmp_path / "run")
    monkeypatch.setattr(merge_module, "write_standalone", without_experts)
    with pytest.raises(ModelError, match="4 missing keys, such as model.layers.0.mlp.experts"):
        merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == ["run"]


def test_ctrl_c_leaves_nothing(run: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if what == "probes on the merged model":
            raise KeyboardInterrupt

    config = MergeConfig(adapter_path=run, output_dir=tmp_path / "merged", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        merge(config, interrupt)
    assert left(tmp_path) == []


def test_another_base_is_refused(tiny_llama: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_llama, other)
    weights = load_file(other / WEIGHTS)
    weights["model.norm.weight"] += 0.1
    save_file(weights, other / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match="has other weights, or .* Give the base it was trained on"
    ):
        merged_from(run, tmp_path / "merged", base_model=str(other))
    assert left(tmp_path) == ["other"]


@pytest.mark.parametrize(("free_gb", "device"), [(0, "cpu"), (1, "cuda")])
def test_auto_takes_a_gpu_only_when_the_base_fits_on_it(
    free_gb: int, device: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free_gb * 10**9, 10**9))
    assert plan_merge(MergeConfig(adapter_path=run, output_dir=tmp_path)).model.device == device


def test_a_merge_that_asked_for_gpus_and_sees_none_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("HSD_GPUS", "1")
    with pytest.raises(PreflightError, match="asked for 1 GPU on each node, but torch sees no GPU"):
        plan_merge(MergeConfig(adapter_path=run, output_dir=tmp_path))


def test_the_recorded_revision_goes_with_the_recorded_name(
    tiny_llama: Path, run: Path, tmp_path: Path
) -> None:
    fixed = shutil.copytree(run, tmp_path / "run")
    base = read_json(fixed / "manifest.json")["base"] | {"revision": "0123abc"}
    update_manifest(fixed, base=base)
    moved = shutil.copytree(tiny_llama, tmp_path / "moved")
    for name, revision in {None: "0123abc", str(tiny_llama): "0123abc", str(moved): None}.items():
        config = MergeConfig(adapter_path=fixed, output_dir=tmp_path, base_model=name)
        assert plan_merge(config).model.revision == revision


def test_a_base_that_moved_is_given_by_hand(tiny_llama: Path, run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_llama, tmp_path / "moved")
    merged_from(run, tmp_path / "merged", base_model=str(moved))
    assert (merged_logits(tmp_path / "merged") - adapter_logits(tiny_llama, run)).abs().max() < 1e-4


def test_a_finished_merge_is_held_to_the_weights_that_were_verified(
    run: Path, tmp_path: Path
) -> None:
    assert not merged_from(run, tmp_path / "merged").skipped
    assert merged_from(run, tmp_path / "merged").skipped
    weights = bytearray((tmp_path / "merged" / WEIGHTS).read_bytes())
    weights[-9] ^= 0x40
    (tmp_path / "merged" / WEIGHTS).write_bytes(weights)
    with pytest.raises(ModelError, match="its weights are not those that were verified"):
        merged_from(run, tmp_path / "merged")


def test_an_adapter_goes_into_a_base_once(run: Path, tmp_path: Path) -> None:
    merged_from(run, tmp_path / "merged")
    with pytest.raises(ModelError, match="this adapter is already merged into it"):
        merged_from(run, tmp_path / "twice", base_model=str(tmp_path / "merged"))


def test_an_adapter_made_elsewhere_is_merged_into_the_base_it_names(
    tiny_llama: Path, run: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in (ADAPTER, "adapter_config.json"):
        shutil.copyfile(run / name, bare / name)
    merged_from(bare, tmp_path / "merged")
    assert (merged_logits(tmp_path / "merged") - adapter_logits(tiny_llama, run)).abs().max() < 1e-4
    assert not (tmp_path / "merged" / "prompt.json").exists()


def test_a_head_that_is_tied_to_the_embedding_cannot_take_an_adapter(
    tiny_llama: Path, tmp_path: Path
) -> None:
    tied = shutil.copytree(tiny_llama, tmp_path / "tied")
    weights = load_file(tied / WEIGHTS)
    del weights["lm_head.weight"]
    save_file(weights, tied / WEIGHTS, metadata={"format": "pt"})
    config = read_json(tied / "config.json") | {"tie_word_embeddings": True}
    (tied / "config.json").write_text(json.dumps(config))
    settings = run_of(tied, run := tmp_path / "run") / "adapter_config.json"
    own = read_json(settings) | {"target_modules": ["q_proj", "lm_head"]}
    settings.write_text(json.dumps(own))
    with pytest.raises(ModelError, match="'lm_head' shares its weights with another layer"):
        merged_from(run, tmp_path / "merged")


def test_a_tied_base_is_merged_and_stays_tied(tiny_llama: Path, tmp_path: Path) -> None:
    tied = shutil.copytree(tiny_llama, tmp_path / "tied")
    weights = load_file(tied / WEIGHTS)
    del weights["lm_head.weight"]
    save_file(weights, tied / WEIGHTS, metadata={"format": "pt"})
    config = read_json(tied / "config.json") | {"tie_word_embeddings": True}
    (tied / "config.json").write_text(json.dumps(config))
    run = run_of(tied, tmp_path / "run")
    merged_from(run, tmp_path / "merged")
    assert load_file(tmp_path / "merged" / WEIGHTS).keys() == weights.keys()
    assert (merged_logits(tmp_path / "merged") - adapter_logits(tied, run)).abs().max() < 1e-4


def test_the_disk_is_checked_before_anything_is_loaded(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr(merge_module, "load_base", None)
    with pytest.raises(PreflightError, match="but the merged model in float32 needs"):
        merged_from(run, tmp_path / "merged")
    assert left(tmp_path) == []


def test_the_quantisation_constants_are_held_as_in_training(
    tiny_llama: Path, run_in_4bit: Path, tmp_path: Path
) -> None:
    once = shutil.copytree(run_in_4bit, tmp_path / "once")
    recorded = read_json(once / MANIFEST)["base"]
    update_manifest(once, base={**recorded, "double_quantization": False})
    found = {}
    for folder in (run_in_4bit, once):
        merged_from(folder, tmp_path / f"{folder.name}-merged")
        found[folder.name] = load_file(tmp_path / f"{folder.name}-merged" / WEIGHTS)
    original = load_file(tiny_llama / WEIGHTS)[f"{Q.replace('q_proj', 'k_proj')}.weight"]
    packed, state = quantize_4bit(original, quant_type="nf4", compress_statistics=False)
    held = dequantize_4bit(packed, state).to(torch.bfloat16).float()
    k_proj = f"{Q.replace('q_proj', 'k_proj')}.weight"
    assert torch.equal(found["once"][k_proj], held)
    assert not torch.equal(found["run4"][k_proj], held)


def test_the_command_says_what_was_verified(run_in_4bit: Path, tmp_path: Path) -> None:
    arguments = ["--adapter-path", str(run_in_4bit), "--output-dir", str(tmp_path / "merged")]
    result = CliRunner().invoke(command, [*arguments, "--device_map", "cpu"])
    assert result.exit_code == 0, result.output
    assert "Merged into the dequantised 4-bit base, written in float32." in result.stdout
    assert "same label on 100% of 12 probes" in result.stdout
    assert "probes on the merged model: 12 of 12" in result.stderr


def test_a_folder_without_an_adapter_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter here"):
        merged_from(tiny_llama, tmp_path / "merged")
    with pytest.raises(PreflightError, match="no such folder. Did you mean 'llama'"):
        merged_from(tiny_llama.parent / "lama", tmp_path / "merged")


def test_other_settings_beside_the_same_weights_make_another_merge(
    run: Path, tmp_path: Path
) -> None:
    own, output = shutil.copytree(run, tmp_path / "own"), tmp_path / "merged"
    merged_from(own, output)
    settings = read_json(own / CONFIG)
    write_json(own / CONFIG, settings | {"lora_alpha": 80})
    with pytest.raises(PreflightError, match="differs in adapter_config_sha256"):
        merged_from(own, output)


def test_a_merge_of_an_earlier_hsd_is_finished_only_where_the_adapters_settings_are_known(
    run: Path, tmp_path: Path
) -> None:
    own, output = shutil.copytree(run, tmp_path / "own"), tmp_path / "merged"
    merged_from(own, output)
    identity = read_json(output / IDENTITY)
    del identity["adapter_config_sha256"]
    write_json(output / IDENTITY, identity)
    with pytest.raises(ModelError, match="an earlier hsd.*adapter_config.json.*remove the folder"):
        merged_from(own, output)
    write_json(own / "done.json", {"files": digests(own, (CONFIG, ADAPTER))})
    assert merged_from(own, output).skipped
    write_json(output / IDENTITY, identity | {"onto": "original"})
    with pytest.raises(PreflightError, match="differs in onto"):
        merged_from(own, output)


def test_a_finished_merge_is_not_given_back_when_the_files_of_its_base_have_changed(
    run: Path, tmp_path: Path
) -> None:
    output = tmp_path / "merged"
    merged_from(run, output)
    base = read_json(output / MANIFEST)["base"]
    update_manifest(output, base={k: v for k, v in base.items() if "files" not in k})
    assert merged_from(run, output).skipped  # an earlier hsd knew none
    update_manifest(output, base=base | {"files_sha256": "0" * 64})
    with pytest.raises(ModelError, match="weight files of .* changed since .*merges again"):
        merged_from(run, output)
