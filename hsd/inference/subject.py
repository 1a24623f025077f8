"""What is evaluated: a base, an adapter on its base, or a merged folder, loaded and described."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.evaluate import EvalConfig
from hsd.config.model import ModelConfig
from hsd.errors import ModelError
from hsd.model.adapter import CONFIG, adapter_digest, base_of, is_adapter, load_adapter
from hsd.model.describe import describe
from hsd.model.load import Source, find, load_base
from hsd.model.quantization import again
from hsd.runs import MANIFEST, read_json, sha256_file, sha256_json


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to evaluate. `carries_prompt` is the folder that may hold its prompt.json."""

    config: ModelConfig
    source: Source
    adapter: Path | None
    carries_prompt: Path | None

    def identity(self) -> dict[str, Any]:
        """Return what tells this model from another, without its weights being loaded."""
        return {
            "base": self.source.name,
            "revision": self.source.revision,
            "files": _files(Path(self.source.location)),
            "quantization": self.config.quantization,
            "double_quantization": self.config.double_quantization,
            "dtype": self.config.dtype,
            "adapter": adapter_digest(self.adapter) if self.adapter else None,
            "adapter_config": sha256_file(self.adapter / CONFIG) if self.adapter else None,
        }

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Return the model, ready to answer, and its facts for the manifest."""
        base = load_base(self.config, self.source)
        facts = describe(base)  # of the base as it is, before an adapter is put into it
        if self.adapter is None:
            return base.model, facts
        return load_adapter(base, self.adapter), {**facts, "adapter": str(self.adapter)}

    def of_base(self) -> "Subject":
        """Return the base of an adapter, held as it is."""
        return replace(self, adapter=None, carries_prompt=None)


def subject(config: EvalConfig) -> Subject:
    """Return what a config asks to evaluate; tokenizer and config are read, weights are not.

    An adapter is named by `adapter`, or by `model.name` being its folder; its base is the one it
    was trained on, held as it was in training, unless the config says otherwise.
    """
    adapter, model = config.adapter, config.model
    named = Path(model.name).expanduser()
    base_given = "name" in model.model_fields_set
    if adapter is None and is_adapter(named):
        adapter, base_given = named, False
    if adapter is None:
        return _without_adapter(model, named)
    if base_given and is_adapter(named):
        raise ModelError(f"model '{model.name}' is an adapter; with --adapter, name its base.")
    model = _with_base(model, adapter, base_given)
    return Subject(model, find(model), adapter, adapter)


def _files(folder: Path) -> str | None:
    """Return a digest of a folder's weight files by name, size and time; None for a hub name.

    A folder may be filled anew under its old name; to read all its weights would take minutes.
    """
    files = [(f.name, f.stat()) for f in sorted(folder.glob("*.safetensors"))]
    known = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    return sha256_json(known) if known else None


def _without_adapter(model: ModelConfig, named: Path) -> Subject:
    if not named.is_dir():
        return Subject(model, find(model), None, None)
    manifest = read_json(named / MANIFEST) if (named / MANIFEST).exists() else {}
    if manifest.get("kind") == "merge" and model.quantization == "auto":
        # A merge was verified as it was saved; 4 bit would make it another model once more.
        model = model.model_copy(update={"quantization": "none"})
    return Subject(model, find(model), None, named)


def _with_base(model: ModelConfig, adapter: Path, base_given: bool) -> ModelConfig:
    trained_on = base_of(adapter)
    changes: dict[str, Any] = {}
    if not base_given:
        if not trained_on.get("name"):
            raise ModelError(f"{adapter}: does not say its base; set model.name to it.")
        changes["name"] = trained_on["name"]
        changes["revision"] = model.revision or trained_on.get("revision")
    held = trained_on.get("quantization")
    if model.quantization == "auto" and held is not None:
        changes["quantization"] = again(held)
    return model.model_copy(update=changes)
