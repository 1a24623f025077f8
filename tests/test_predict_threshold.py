"""Labels at the threshold that was frozen for this model, and the share that its rates tell of."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import jsonl

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, EvaluationError
from hsd.io.json_reader import read_object, read_objects
from hsd.metrics.thresholds import Rule
from hsd.metrics.true_share import KnownRates
from hsd.predict.called_shares import CalledCounts, CalledShares
from hsd.predict.label_rule import LabelRule

pytestmark = pytest.mark.model

OTHERS = ("the new bakery", "they should leave", "at once", "my neighbours")


def config_of(base: Path, data: Path, **settings: Any) -> EvalConfig:
    given: dict[str, Any] = {
        "model": {"name": str(base), "device": "cpu"},
        "data_file": str(data),
        "prompt_template": "baseline",
    }
    return EvalConfig.model_validate(given | settings)


@pytest.fixture(scope="module")
def frozen(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with an evaluation in its folder that has a frozen threshold; and that evaluation."""
    from hsd.evaluation.evaluate import evaluate
    from hsd.report.predictions import load_run
    from hsd.report.rewriting import freeze

    folder = tmp_path_factory.mktemp("frozen")
    base = Path(shutil.copytree(tiny_llama, folder / "base"))
    runs = []
    for name, words in (("validation", "bakery town monday"), ("eval", "liars food street")):
        texts = [f"{word} {other} {n}" for word in words.split() for n, other in enumerate(OTHERS)]
        rows = [{"text": text, "label": ("hate", "normal")[n % 2]} for n, text in enumerate(texts)]
        data = jsonl(folder / f"{name}.jsonl", rows)
        runs.append(evaluate(config_of(base, data, output_dir=str(base / name))).folder)
    freeze(load_run(runs[0]), load_run(runs[1]), Rule("max_f1"))
    return base, runs[1]


def rule_of(base: Path, **how: Any) -> LabelRule:
    from hsd.predict.label_rule import label_rule
    from hsd.predict.local_model import local_model

    settings = how.pop("settings", {})
    return label_rule(local_model(config_of(base, Path("-"), **settings)), **how)


def test_the_threshold_in_the_models_own_folder_is_taken(frozen: tuple[Path, Path]) -> None:
    from hsd.metrics.true_share import known_rates
    from hsd.report.predictions import load_run
    from hsd.report.rewriting import at_threshold

    base, run = frozen
    point = read_object(run / "operating_point.json")
    rule = rule_of(base)
    assert (rule.threshold, rule.temperature) == (point["threshold"], point["temperature"])
    assert rule.rates == known_rates(at_threshold(load_run(run))[1])
    assert f"frozen in {run}" in rule.said
    assert rule_of(base, frozen_in=run) == rule
    assert rule_of(base, frozen_in=base / "eval") == rule


def test_without_a_frozen_threshold_labels_are_at_half_and_that_is_said(tiny_llama: Path) -> None:
    rule = rule_of(tiny_llama)
    assert rule.threshold == 0.5
    assert rule.rates is None
    assert rule.said.startswith("No threshold is frozen for this model: labels are at 0.5.")
    assert (rule.label(0.5), rule.label(0.5001)) == ("normal", "hate")


def test_the_threshold_of_another_prompt_or_model_is_not_taken(
    frozen: tuple[Path, Path], tiny_thinker: Path
) -> None:
    base, run = frozen
    rule = rule_of(base, settings={"strategy": "conservative"})
    assert rule.threshold == 0.5
    assert "(1 of another model or prompt in" in rule.said
    with pytest.raises(
        EvaluationError, match=r"another model, prompt or engine; differs in model\.base"
    ):
        rule_of(tiny_thinker, frozen_in=run)


def test_the_threshold_of_another_chat_template_is_not_taken(
    frozen: tuple[Path, Path],
) -> None:
    base, _ = frozen
    template = base / "chat_template.jinja"
    before = template.read_text()
    try:
        template.write_text("Say the opposite. " + before)
        assert "(1 of another model or prompt in" in rule_of(base).said
    finally:
        template.write_text(before)


def test_a_threshold_that_hsd_chose_is_not_taken_for_a_vllm_that_nobody_compared(
    frozen: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsd.evaluation.evaluation_plan.vllm_python", lambda: Path("python"))
    base, run = frozen
    assert rule_of(base, settings={"engine": "vllm"}, frozen_in=run) == rule_of(base)
    unchecked = {"engine": "vllm", "vllm": {"check": "off"}}
    with pytest.raises(EvaluationError, match=r"differs in vllm_check: null -> .off."):
        rule_of(base, settings=unchecked, frozen_in=run)


def test_of_several_frozen_thresholds_none_is_taken_by_chance(
    frozen: tuple[Path, Path], tmp_path: Path
) -> None:
    base, run = frozen
    other = Path(shutil.copytree(run, run.parent.parent / "again" / run.name))
    try:
        assert rule_of(base).threshold == rule_of(base, frozen_in=run).threshold  # the same one
        point = (other / "operating_point.json").read_text()
        moved = point.replace('"threshold": 0', '"threshold": 1', 1)
        (other / "operating_point.json").write_text(moved)
        with pytest.raises(EvaluationError, match="2 different thresholds are frozen"):
            rule_of(base)
        assert rule_of(base, threshold=0.4).threshold == 0.4
    finally:
        shutil.rmtree(other.parent)


def test_of_several_error_rates_none_is_taken_by_chance(
    frozen: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, run = frozen
    other = Path(shutil.copytree(run, run.parent.parent / "again" / run.name))
    rates = iter([KnownRates(0.8, 0.9, 20, 30), KnownRates(0.7, 0.9, 20, 30)])
    try:
        assert rule_of(base).rates == rule_of(base, frozen_in=run).rates  # the same ones
        monkeypatch.setattr("hsd.predict.label_rule.known_rates", lambda _: next(rates))
        rule = rule_of(base)
        assert rule.rates is None
        assert rule.threshold == read_object(run / "operating_point.json")["threshold"]
        assert f"choose one with --threshold-from: {other}, {run}." in rule.said
    finally:
        shutil.rmtree(other.parent)


def test_a_threshold_of_another_number_format_or_length_is_taken_and_that_is_said(
    frozen: tuple[Path, Path],
) -> None:
    base, run = frozen
    here = {"name": str(base), "device": "cpu"}
    rounded = rule_of(base, settings={"model": here | {"dtype": "bfloat16"}})
    assert rounded.threshold == rule_of(base).threshold
    assert (
        "frozen with dtype float32, and posts are scored here with dtype bfloat16" in rounded.said
    )
    shorter = rule_of(base, frozen_in=run, settings={"max_length": 500})
    assert "frozen with max_length 1024, and posts are scored here with max_length 500" in (
        shorter.said
    )
    assert "scored here" not in rule_of(base).said


def test_a_threshold_is_asked_for_in_one_way(frozen: tuple[Path, Path]) -> None:
    base, run = frozen
    with pytest.raises(ConfigError, match="not both"):
        rule_of(base, threshold=0.4, frozen_in=run)


def test_a_run_without_a_frozen_threshold_says_how_to_choose_one(
    frozen: tuple[Path, Path],
) -> None:
    base, _ = frozen
    with pytest.raises(EvaluationError, match="no threshold is frozen here; `hsd threshold"):
        rule_of(base, frozen_in=base / "validation")


def test_labels_and_calibrated_scores_are_at_the_frozen_point(
    frozen: tuple[Path, Path], tmp_path: Path
) -> None:
    from hsd.metrics.calibration import at_temperature
    from hsd.predict.predict_file import predict_file
    from hsd.predict.predict_job import PredictJob
    from hsd.report.predictions import load_run

    base, run = frozen
    evaluated = load_run(run).predictions
    data = jsonl(tmp_path / "posts.jsonl", [{"text": p.text} for p in evaluated])
    output = tmp_path / "scores.jsonl"
    job = PredictJob(config=config_of(base, data), output=str(output))
    predicted = predict_file(job)
    rows, point = read_objects(output), predicted.rule
    scores = [p.score for p in evaluated]
    assert [row["hsd_score"] for row in rows] == pytest.approx(scores, abs=1e-6)
    assert [row["hsd_label"] for row in rows] == [point.label(score or 0.0) for score in scores]
    scaled = at_temperature(evaluated, point.temperature or 1.0)
    assert [row["hsd_calibrated_score"] for row in rows] == pytest.approx(
        [p.score for p in scaled], abs=1e-5
    )


def test_a_model_is_asked_with_its_own_prompt_and_another_is_refused(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.evaluation.evaluation_plan import plan_of_model
    from hsd.predict.predict_job import PredictJob, plan_predict
    from hsd.prompts.contract import make_contract, save_contract
    from hsd.prompts.template import load_template

    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    trained = make_contract(load_template("baseline"), "conservative")
    save_contract(base, trained)
    own = config_of(base, Path("-"), prompt_template=None)
    assert plan_of_model(own).contract.hash == trained.hash
    data = jsonl(tmp_path / "posts.jsonl", [{"text": "a post"}])
    other = config_of(base, data, strategy="standard")
    with pytest.raises(EvaluationError, match="trained with strategy 'conservative'"):
        plan_predict(PredictJob(config=other, output=str(tmp_path / "scores.csv")))
    asked = other.model_copy(update={"ignore_prompt_mismatch": True})
    plan_predict(PredictJob(config=asked, output=str(tmp_path / "scores.csv")))


# What is printed


def shares(by: str | None = None) -> CalledShares:
    found = CalledShares(by)
    for source, hate, normal, none in (("a", 30, 70, 1), ("", 5, 95, 0)):
        for label, count in (("hate", hate), ("normal", normal), (None, none)):
            reason = None if label else "no text in 'text'"
            row = {"source": source, "label": label, "reason": reason}
            found.add_all([row] * count, "label", "reason")
    return found


def printed(found: CalledShares, rates: KnownRates | None) -> str:
    import io

    from jobs.terminal.console import Terminal
    from jobs.terminal.share_tables import share_lines, share_table

    out = io.StringIO()
    Terminal(file=out, width=80).print(share_table(found, rates))
    assert "…" not in out.getvalue()  # a file of a job has 80 columns
    return "\n".join([out.getvalue(), *share_lines(found, rates)])


def test_rows_without_a_label_are_no_part_of_the_share() -> None:
    found = shares().whole
    assert found == CalledCounts(rows=201, labelled=200, hate=35)
    assert found.share == 0.175
    assert CalledCounts(rows=3).share is None


def test_the_shares_are_printed_in_all_and_by_a_column_with_the_true_share() -> None:
    said = printed(shares("source"), KnownRates(0.8, 0.9, 200, 300))
    lines = [line.split() for line in said.splitlines()]
    row = next(line for line in lines if line[:1] == ["a"])
    assert row[1:5] == ["101", "100", "30", "30.0"]
    assert "28.6" in row
    assert any(line[:2] == ["all", "rows"] for line in lines)
    assert any(line[:1] == ["(empty)"] for line in lines)
    assert "sensitivity 0.800 and specificity 0.900" in said
    assert "no text in 'text'" in said


def test_rates_that_tell_nothing_correct_nothing_and_that_is_said() -> None:
    said = printed(shares(), KnownRates(0.4, 0.5, 200, 300))
    assert "The share of hate cannot be corrected: sensitivity 0.400" in said
    assert "true %" not in said


def test_a_share_that_cannot_be_corrected_is_not_passed_off_as_the_share_of_hate() -> None:
    assert "is no share of hate" in printed(shares(), None)


def test_the_manifest_has_the_counts_and_what_the_rates_make_of_them() -> None:
    facts = shares("source").facts(KnownRates(0.8, 0.9, 200, 300))
    assert facts["whole"]["hate"] == 35
    assert facts["parts"]["a"]["true_share"]["value"] == pytest.approx(0.2 / 0.7)
    assert shares().facts(None)["whole"]["true_share"] is None
