"""hsd: fine-tune language models to detect hate speech, and evaluate them honestly.

The names below are the public API. Each is imported when it is first used, so that `import hsd` is
instant and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hsd.version import __version__

if TYPE_CHECKING:
    from hsd.config.loading import load_eval_config, load_gate_rules
    from hsd.config.loading import load_train_config as load_config
    from hsd.errors import HsdError
    from hsd.evaluation.evaluate import evaluate, evaluate_with_base
    from hsd.metrics.gate import gate
    from hsd.model.merge import merge
    from hsd.predict.detector import Detector
    from hsd.report.comparison_report import compare_runs as compare
    from hsd.report.predictions import load_run
    from hsd.training.training_run import train

_HOMES = {
    "load_config": "hsd.config.loading:load_train_config",
    "load_eval_config": "hsd.config.loading:load_eval_config",
    "load_gate_rules": "hsd.config.loading:load_gate_rules",
    "train": "hsd.training.training_run:train",
    "evaluate": "hsd.evaluation.evaluate:evaluate",
    "evaluate_with_base": "hsd.evaluation.evaluate:evaluate_with_base",
    "load_run": "hsd.report.predictions:load_run",
    "compare": "hsd.report.comparison_report:compare_runs",
    "gate": "hsd.metrics.gate:gate",
    "merge": "hsd.model.merge:merge",
    "Detector": "hsd.predict.detector:Detector",
    "HsdError": "hsd.errors:HsdError",
}

__all__ = [
    "Detector",
    "HsdError",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_with_base",
    "gate",
    "load_config",
    "load_eval_config",
    "load_gate_rules",
    "load_run",
    "merge",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hsd' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
