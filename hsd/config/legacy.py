"""Read a file of the older flat keys (`lora_r`, `num_train_epochs`, ...) as settings of today.

Nothing is dropped in silence: a key is converted, refused with the reason, or ignored with a note.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import create_model

from hsd.config.fields import field_at
from hsd.config.legacy_keys import FIXED, IGNORED, IGNORED_PREFIXES, READ, RENAMED
from hsd.config.problems import faults, refusal, shown
from hsd.config.settings import Setting, Settings, flatten
from hsd.config.strict import Strict
from hsd.config.substitute import substituted
from hsd.config.train_config import TrainConfig
from hsd.errors import ConfigError

Move = tuple[str, str, Any]
"""A field of today, the older key that it came from, and its value."""

_SHARED = {"description", "seed", "output_dir", "extends"}
_TRAINER_STEPS = 500
"""transformers evaluates and saves every 500 steps when it is told "steps" and no number."""


def is_legacy(tree: Mapping[str, Any], place: str) -> bool:
    """Return whether the file's keys are the older flat ones. Raises ConfigError on a mixture."""
    older = [key for key in tree if _is_older(key)]
    sections = [key for key in tree if key in TrainConfig.model_fields and key not in _SHARED]
    if older and sections:
        raise ConfigError(
            f"{place}: older flat keys ({', '.join(older)}) and sections ({', '.join(sections)}) "
            "in one file; keep to one form (lora_r is lora.rank now)."
        )
    return bool(older)


def modernised(
    tree: Mapping[str, Any], place: str, environ: Mapping[str, str]
) -> tuple[Settings, tuple[str, ...]]:
    """Return today's settings and a note for each key that was changed or ignored.

    A key that is null was not given. Raises ConfigError listing all that cannot be honoured.
    """
    given = flatten({key: value for key, value in tree.items() if value is not None}, place)
    flat = substituted(given, FLAT, environ)
    kept = {path: s for path, s in flat.items() if path[0] in FLAT.model_fields}
    unknown = {path: s for path, s in flat.items() if not _is_known(path[0])}
    problems = [*_refused(flat), *faults(FLAT, kept | unknown)]
    if problems:
        raise refusal(problems)
    extends = {path: s for path, s in flat.items() if path == ("extends",)}
    settings, notes = _converted({path[0]: s for path, s in kept.items()}, place)
    return extends | settings, (*_ignored(flat), *notes)


def _flat_model() -> type[Strict]:
    """Return a config of the older keys; a renamed one has the type of the field it is now."""
    fields: dict[str, Any] = dict(READ)
    for key, name in RENAMED.items():
        field = field_at(TrainConfig, tuple(name.split(".")))
        assert field is not None, name
        fields[key] = field.rebuild_annotation()
    absent = {key: (kind, None) for key, kind in fields.items()}
    return create_model("FlatConfig", __base__=Strict, **absent)  # type: ignore[call-overload, no-any-return]


FLAT = _flat_model()


def _reason_to_ignore(key: str) -> str | None:
    prefixed = (why for prefix, why in IGNORED_PREFIXES.items() if key.startswith(prefix))
    return IGNORED.get(key) or next(prefixed, None)


def _is_known(key: str) -> bool:
    ours = key in _SHARED or key in RENAMED or key in READ or key in FIXED
    return ours or _reason_to_ignore(key) is not None


def _is_older(key: str) -> bool:
    return key not in _SHARED and _is_known(key)


def _refused(flat: Settings) -> Iterator[str]:
    for (key, *_), setting in flat.items():
        if key in FIXED and setting.value not in FIXED[key][0]:
            accepted, why = FIXED[key]
            instead = f"; expected {' or '.join(map(repr, accepted))}" if accepted else ""
            yield f"{setting.place}: {key}: {shown(setting)} is not possible: {why}{instead}"


def _ignored(flat: Settings) -> Iterator[str]:
    for (key, *_), setting in flat.items():
        why = _reason_to_ignore(key)
        if why:
            yield f"{setting.place}: {key} is ignored: {why}."


def _converted(old: Mapping[str, Setting], place: str) -> tuple[Settings, list[str]]:
    settings: Settings = {}
    notes: list[str] = []
    try:
        for found in _moves({key: setting.value for key, setting in old.items()}):
            if isinstance(found, str):
                notes.append(f"{place}: {found}")
            else:
                name, key, value = found
                settings[tuple(name.split("."))] = replace(old[key], value=value)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return settings, notes


def _moves(old: Mapping[str, Any]) -> Iterator[Move | str]:
    """Give each field of today with its value, and notes."""
    yield from ((name, key, old[key]) for key, name in RENAMED.items() if key in old)
    for convert in (_base, _optimiser, _warmup, _validation, _checkpoints, _early_stopping):
        yield from convert(old)


def _base(old: Mapping[str, Any]) -> Iterator[Move | str]:
    if "name" in old and "description" in old:
        yield "name is ignored: the description says what this is."
    elif "name" in old:
        yield "description", "name", old["name"]
    if "load_in_4bit" in old:
        yield "model.quantization", "load_in_4bit", "nf4" if old["load_in_4bit"] else "none"
    modules = old.get("lora_target_modules")
    if isinstance(modules, str) and modules != "all-linear":
        modules = modules.replace(",", " ").split()
    if modules is not None:
        yield "lora.target_modules", "lora_target_modules", modules


def _optimiser(old: Mapping[str, Any]) -> Iterator[Move | str]:
    optimiser = old.get("optim", "adamw_torch")
    if "adamw" not in optimiser:
        raise ConfigError(f"optim: {optimiser!r} is not possible: hsd trains with AdamW.")
    if optimiser not in ("adamw", "adamw_hf", "adamw_torch", "adamw_torch_fused"):
        yield f"optim {optimiser!r} is read as AdamW with 32-bit states, which LoRA keeps small."
    if "max_steps" in old:  # -1 was "not set"
        yield "training.max_steps", "max_steps", old["max_steps"] if old["max_steps"] > 0 else None


def _warmup(old: Mapping[str, Any]) -> Iterator[Move | str]:
    scheduler = old.get("lr_scheduler_type")
    if scheduler:
        name = scheduler.removesuffix("_with_warmup")
        yield "training.scheduler", "lr_scheduler_type", name
    if scheduler == "constant":  # the older "constant" had no warm-up, whatever else was said
        yield "training.warmup_steps", "lr_scheduler_type", 0
        if old.get("warmup_steps") or old.get("warmup_ratio"):
            yield "lr_scheduler_type 'constant' has no warm-up; 'constant_with_warmup' has."
        return
    if "warmup_ratio" in old:
        yield "training.warmup_ratio", "warmup_ratio", old["warmup_ratio"]
    if old.get("warmup_steps") or ("warmup_steps" in old and not old.get("warmup_ratio")):
        yield "training.warmup_steps", "warmup_steps", old["warmup_steps"]


def _validation(old: Mapping[str, Any]) -> Iterator[Move | str]:
    key, strategy, every = _evaluation(old)
    if strategy == "no":
        yield "data.validation_file", key, None
        if "validation_file" in old:
            yield f"{key} 'no': the validation file is not read."
    if every:
        yield "training.evaluate_every_steps", key, every
    elif "eval_steps" in old:
        yield f"eval_steps is ignored: {key} is {strategy!r}."
    elif strategy == "epoch":
        yield "training.evaluate_every_steps", key, None


def _evaluation(old: Mapping[str, Any]) -> tuple[str, str | None, int | None]:
    """Return the key that says when to validate, what it says, and the steps if by steps."""
    key = next((k for k in ("eval_strategy", "evaluation_strategy") if k in old), "eval_steps")
    other = old.get("evaluation_strategy", old.get(key))
    if key == "eval_strategy" and other != old[key]:
        raise ConfigError(f"eval_strategy is {old[key]!r}, but evaluation_strategy is {other!r}.")
    if key == "eval_steps":
        return key, "steps" if key in old else None, old.get(key)
    every = old.get("eval_steps", old.get("logging_steps", _TRAINER_STEPS))
    return key, old[key], every if old[key] == "steps" else None


def _checkpoints(old: Mapping[str, Any]) -> Iterator[Move | str]:
    strategy = old.get("save_strategy", "steps" if "save_steps" in old else None)
    if strategy == "steps":
        key = "save_steps" if "save_steps" in old else "save_strategy"
        yield "training.save_every_steps", key, old.get("save_steps", _TRAINER_STEPS)
    elif strategy:
        yield "training.save_every_steps", "save_strategy", None
        if "save_steps" in old:
            yield f"save_steps is ignored: save_strategy is {strategy!r}."
        if strategy != "epoch" or _evaluation(old)[2]:
            yield (
                f"save_strategy {strategy!r}: checkpoints are written at every validation, "
                "or once an epoch without one."
            )


def _early_stopping(old: Mapping[str, Any]) -> Iterator[Move | str]:
    """Convert the patience, which used to count evaluations, into steps or epochs."""
    patience = old.get("early_stopping_patience")
    if patience is None:
        if "early_stopping_threshold" in old:
            yield "early_stopping_threshold is ignored: there is no early_stopping_patience."
        return
    key, strategy, every = _evaluation(old)
    if strategy == "no":
        raise ConfigError(f"early_stopping_patience: {key} is 'no', so nothing can stop the run.")
    count, unit = (patience * every, "steps") if every else (patience, "epochs")
    yield "early_stopping.patience", "early_stopping_patience", count
    yield "early_stopping.unit", "early_stopping_patience", unit
    if "early_stopping_threshold" in old:
        threshold = old["early_stopping_threshold"]
        yield "early_stopping.min_delta", "early_stopping_threshold", threshold
    if every:
        yield f"early_stopping_patience {patience} evaluations are {count} steps."
