"""A training that cannot fit is refused before its base is loaded; one that may not is doubted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_runs

from hsd.errors import PreflightError
from hsd.training import fit
from hsd.training.fit import refuse_hopeless
from hsd.training.planned_devices import REFUSED
from hsd.training.training_plan import TrainingPlan, plan_training
from hsd.training.training_run import train

pytestmark = pytest.mark.model

Config = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, tiny_llama: Path) -> Config:
    return lambda **parts: small_runs.config(tiny_llama, tmp_path, **parts)


def with_free(monkeypatch: pytest.MonkeyPatch, share: float, plan: TrainingPlan) -> None:
    """Let so much of what a run needs be free."""
    monkeypatch.setattr(fit, "free_gb", lambda *_: 1000.0)
    planned = fit._planned(plan)
    assert planned is not None
    need = planned.need_gb
    monkeypatch.setattr(fit, "free_gb", lambda *_: need * share)


def test_a_run_that_fits_is_not_spoken_of(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_training(config())
    with_free(monkeypatch, 1.2, plan)
    assert refuse_hopeless(plan) is None


def test_a_run_that_may_not_fit_is_doubted_and_trained(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_training(config())
    said: list[str] = []
    with_free(monkeypatch, 0.9, plan)
    assert train(config(), say=said.append).steps == 9
    (doubt,) = [line for line in said if "the training needs about" in line]
    assert doubt.startswith("Warning: model '")
    assert "GB are free on cpu; " in doubt
    assert doubt.endswith("The plan is an estimate, so it is tried.")


def test_a_run_that_cannot_fit_is_refused_before_its_base_is_loaded(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 0.99 / REFUSED, plan_training(config()))
    with pytest.raises(PreflightError, match=r"needs about .* for the weights\), and .* are free"):
        train(config())
    assert not (config().output_dir / "manifest.json").exists()


def test_a_base_whose_sizes_cannot_be_read_is_trained_as_ever(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> None:
        raise AttributeError("no attention heads")

    monkeypatch.setattr(fit, "base_on", unknown)
    monkeypatch.setattr(fit, "free_gb", lambda *_: 0.001)
    assert refuse_hopeless(plan_training(config())) is None


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_run_is_planned_with_the_attention_that_it_learns_with(
    attention: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "free_gb", lambda *_: 1000.0)
    planned = fit._planned(replace(plan_training(config()), attention=attention))
    assert planned is not None
    assert planned.base.how.shape.eager is (attention == "eager")


def test_where_memory_is_not_asked_nothing_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "free_gb", lambda *_: None)
    assert refuse_hopeless(plan_training(config())) is None
