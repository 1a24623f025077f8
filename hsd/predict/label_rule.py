"""How a score becomes a label: at the threshold that was frozen for this model, or at .5."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.errors import ConfigError, EvaluationError
from hsd.evaluation.evaluation_folder import resolved
from hsd.example import Label
from hsd.io.run_identity import MODEL_FILES, as_known, differences, identity_of
from hsd.metrics.true_share import KnownRates, known_rates
from hsd.predict.post_model import PostModel
from hsd.report.predictions import find_evaluation, load_run
from hsd.report.rewriting import POINT, at_threshold, read_point

_PLACES = (POINT, f"run_*/{POINT}", f"*/run_*/{POINT}", f"*/*/run_*/{POINT}")
"""Where the evaluations of an adapter lie in its folder: of one set, or of several."""
_READ = ("device", "dtype", "quantization", "double_quantization", "compute_dtype", "max_length")
"""What moves scores and leaves a threshold the model's own: it is taken, and that is said."""
_DECIDING = ("model", MODEL_FILES, "prompt_hash", "mode", "vllm_check")
"""The parts of an identity without which a threshold is another model's."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """A post is called hate when its score is above `threshold`.

    `temperature` scales the score to a calibrated one, None where none was fitted. `rates` are the
    error rates at the threshold on posts it was not chosen on, where they are known.
    """

    threshold: float = 0.5
    temperature: float | None = None
    said: str = ""
    """Where the threshold comes from, in a sentence."""
    rates: KnownRates | None = None

    def label(self, score: float) -> Label:
        """Return what a post with this score is called."""
        return "hate" if score > self.threshold else "normal"


def label_rule(
    model: PostModel, threshold: float | None = None, frozen_in: Path | None = None
) -> LabelRule:
    """Return the rule that is asked for, else the one that is frozen for this very model.

    `frozen_in` is the evaluation that `hsd threshold` froze one in. Without it, the evaluations in
    the model's own folder are looked at. Raises ConfigError for both or a needless one, and
    EvaluationError where the threshold is another model's, and where several are frozen.
    """
    if model.config.mode == "generate":
        if threshold is not None or frozen_in is not None:
            raise ConfigError(f"threshold: replies have no score to cut; {_how_to_score(model)}.")
        return LabelRule(said="Labels are those of the replies.")
    if threshold is not None:
        if frozen_in is not None:
            raise ConfigError("threshold: give --threshold or --threshold-from, not both.")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold: {threshold:g} is not between 0 and 1.")
        return LabelRule(threshold, said=f"Labels are at the threshold {threshold:g}, as asked.")
    if frozen_in is not None:
        folder = find_evaluation(frozen_in)
        if lines := _unlike(folder, model):
            raise EvaluationError(
                f"{folder}: its threshold is of another model, prompt or engine; differs in "
                f"{'; '.join(lines)}."
            )
        return _frozen(folder, model)
    return _found(model)


def _how_to_score(model: PostModel) -> str:
    is_served = (
        model.config.engine == "openai"
    )  # whose replies are read unless scores are asked for
    return "add --mode score" if is_served else "leave --mode generate out"


def _found(model: PostModel) -> LabelRule:
    """Return the rule frozen in the model's own folder, or .5."""
    home = model.home
    folders = sorted(
        {file.parent for place in _PLACES for file in home.glob(place)} if home else ()
    )
    own = [folder for folder in folders if not _unlike(folder, model)]
    if not own:
        others = f" ({len(folders)} of another model or prompt in {home})" if folders else ""
        return LabelRule(
            said=f"No threshold is frozen for this model{others}: labels are at 0.5. Choose one "
            "with `hsd threshold`, or name its evaluation with --threshold-from."
        )
    points = {read_point(folder) for folder in own}
    if len(points) > 1:
        raise EvaluationError(
            f"{home}: {len(points)} different thresholds are frozen for this model; name one with "
            f"--threshold-from: {_listed(own)}."
        )
    rule, *more = [_frozen(folder, model) for folder in own]
    if all(other.rates == rule.rates for other in more):
        return rule
    return replace(
        rule,
        said=f"{rule.said} {len(own)} evaluations hold this threshold with different error rates, "
        "so the true share is not estimated; choose one with --threshold-from: "
        f"{_listed(own)}.",
        rates=None,
    )


def _frozen(folder: Path, model: PostModel) -> LabelRule:
    run = load_run(folder)
    _, rows = at_threshold(run)
    point = read_point(folder)
    assert point is not None  # or at_threshold had refused
    return LabelRule(
        point.threshold,
        point.temperature,
        f"Labels are at the threshold {point.threshold:.4f} ({point.rule}), frozen in {folder}."
        f"{_read_otherwise(folder, model)}",
        known_rates(rows),
    )


def _read_otherwise(folder: Path, model: PostModel) -> str:
    """Return a sentence where an evaluation's scores were computed or cut otherwise than here."""
    known, own = identity_of(folder) or {}, model.identity()
    chosen, here = _how_read(known), _how_read(own)
    unlike = [name for name in chosen if name in here and chosen[name] != here[name]]
    if not unlike:
        return ""
    then, now = (", ".join(f"{n} {one[n]}" for n in unlike) for one in (chosen, here))
    return (
        f" The threshold was frozen with {then}, and posts are scored here with {now}: scores may "
        "differ, so the threshold and its error rates may not hold."
    )


def _how_read(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of an identity's number format and length; what is not is left out."""
    said = {**(identity.get("number_format") or {}), "max_length": identity.get("max_length")}
    return {name: said[name] for name in _READ if said.get(name) is not None}


def _unlike(folder: Path, model: PostModel) -> list[str]:
    """Return in what an evaluation's model, prompt and unchecked vLLM differ from these."""
    known, own = identity_of(folder) or {}, model.identity()
    wanted = as_known(known, {name: own.get(name) for name in _DECIDING})
    return differences(resolved({name: known.get(name) for name in wanted}), resolved(wanted))


def _listed(folders: Iterable[Path]) -> str:
    return ", ".join(map(str, folders))
