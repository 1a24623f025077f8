"""How a run was asked and read: what has to be alike before numbers of two runs are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.errors import EvaluationError
from hsd.io.manifest import manifest_of
from hsd.io.run_identity import identity_of

IMPORTED = "imported"
"""The engine of a run whose predictions another program made."""
SERVED = "openai"
"""The engine of a run whose model another program holds; its scores are read in another way."""
PLACED = "placed"
"""Of an identity: the scores are places among the scores of one file."""
PARTS = ("detector", "engine", "source", "model", "data", "prompt", "scores_from")
"""Of a manifest, what a report says of its run; an imported one has no model and no prompt."""
FORMAT = ("dtype", "quantization", "double_quantization")
"""Of a number format, what makes it another model; not where and by which code it is computed."""
COMPARED = ("mode", "max_length", "temperature")
VLLM = "vllm"
"""The engine of a run that vLLM answered, which writes replies in no form but an answer's."""
_ANSWERED_BY = {SERVED: "a server", VLLM: "vLLM"}
_OWN_NUMBERS = {("score", SERVED), ("generate", VLLM)}
"""Modes in which an engine's numbers are not those that hsd's own engine would have."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """A run's prompt hash and how its replies were had; None where the run does not say."""

    prompt: str | None = None
    mode: str | None = None
    max_length: int | None = None
    temperature: float | None = None
    engine: str | None = None
    """`imported` where another program asked the model, `openai` where hsd asked a server;
    None where hsd computed the answers."""

    def words(self) -> str:
        """Return `0123456789ab; mode score, max_length 1024, temperature 0`."""
        if self.engine == IMPORTED:
            return "imported; how the detector was asked is not known"
        known = {name: getattr(self, name) for name in COMPARED}
        said = [f"{name} {_value(value)}" for name, value in known.items() if value is not None]
        if self.engine in _ANSWERED_BY:
            said.append(f"answered by {_ANSWERED_BY[self.engine]}")
        return f"{(self.prompt or 'unknown')[:12]}; {', '.join(said) or 'mode unknown'}"


def asked_of(folder: Path) -> RunSettings:
    """Return how the run in `folder` was asked and read."""
    manifest, identity = manifest_of(folder), identity_of(folder) or {}
    prompt = (manifest.get("prompt") or {}).get("hash") or identity.get("prompt_hash")
    settings = {name: identity.get(name) for name in COMPARED}
    return RunSettings(prompt, **settings, engine=manifest.get("engine"))


def model_as_read(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells the model of an identity from others.

    The number format is what it became, where that is known, not what was asked for.
    """
    model = dict(identity.get("model") or {})
    became = identity.get("number_format") or {}
    return model | {name: became.get(name) for name in FORMAT if became}


def is_imported(said: Mapping[str, Any]) -> bool:
    """Whether a manifest, or what a report says of it, is of predictions by another program."""
    return said.get("engine") == IMPORTED


def whose(said: Mapping[str, Any]) -> str:
    """Return what a report calls the run that it is of: the detector may be no model."""
    return "this detector" if is_imported(said) else "this model"


def are_ranks(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's scores were imported as ranks, which are no probabilities."""
    return is_imported(manifest) and (manifest.get("source") or {}).get("scores") == "rank"


def provenance_of(folder: Path) -> dict[str, Any]:
    """Return what a report says of a run: model, data, prompt, how it was read, when, by what."""
    manifest, identity = manifest_of(folder), identity_of(folder) or {}
    last = (manifest.get("starts") or [{}])[-1]
    known = {name: manifest.get(name) for name in PARTS}
    known |= {name: identity.get(name) for name in (*COMPARED, "max_new_tokens", "seed")}
    known |= {"date": last.get("at"), "code": last.get("git"), "packages": last.get("packages")}
    known["not_sent"] = ", ".join((manifest.get("answering") or {}).get("not_sent") or ()) or None
    if is_imported(manifest):
        known["packages"] = {"hsd": (last.get("packages") or {}).get("hsd")}
    known["notes"] = " ".join(map(str, manifest.get("notes") or [])) or None
    return {name: value for name, value in known.items() if value is not None}


def shown_settings(folder: Path) -> str:
    """Return a run's name for reports that may be published: without this machine's folders."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def asked_in(provenance: Mapping[str, Any]) -> RunSettings:
    """Return the same from what `provenance_of` gave."""
    prompt = (provenance.get("prompt") or {}).get("hash")
    settings = {name: provenance.get(name) for name in COMPARED}
    return RunSettings(prompt, **settings, engine=provenance.get("engine"))


def mismatches(reference: RunSettings, other: RunSettings) -> list[str]:
    """Return `mode score and generate` for each setting that differs where both are known."""
    pairs = ((name, getattr(reference, name), getattr(other, name)) for name in COMPARED)
    lines = [
        f"{name} {_value(before)} and {_value(after)}"
        for name, before, after in pairs
        if None not in (before, after) and before != after
    ]
    return [*lines, *_other_engines(reference, other)]


def _other_engines(reference: RunSettings, other: RunSettings) -> list[str]:
    """Return `engine hsd and vllm` where one mode of both engines gives other numbers."""
    engines = [one.engine or "hsd" for one in (reference, other)]
    if IMPORTED in engines or reference.mode != other.mode or engines[0] == engines[1]:
        return []
    own = [(reference.mode, engine) in _OWN_NUMBERS for engine in engines]
    return [f"engine {' and '.join(engines)}"] if any(own) else []


def mismatch_lines(runs: Mapping[str, RunSettings]) -> list[str]:
    """Return a sentence for each run that was read in another way than the first one."""
    (reference, first), *others = runs.items()
    return [
        f"{reference} and {name} were read differently: {'; '.join(lines)}."
        for name, asked in others
        if (lines := mismatches(first, asked))
    ]


def require_comparable(runs: Mapping[str, RunSettings]) -> None:
    """Raise EvaluationError when a run was read in another way than the first one."""
    if lines := mismatch_lines(runs):
        options = ", ".join(f"--{name}".replace("_", "-") for name in (*COMPARED, "engine"))
        raise EvaluationError(
            f"{lines[0]} Evaluate both with the same {options}, or add --ignore-mode-mismatch."
        )


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
