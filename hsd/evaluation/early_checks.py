"""What can be checked of an evaluation before torch is imported, which takes seconds.

A mistyped name is told at once. The full checks follow once the libraries are there.
"""

from collections.abc import Sequence
from pathlib import Path

from hsd.config.evaluate_config import EvalConfig
from hsd.config.server_config import require_server_engine
from hsd.evaluation.read_sets import found_sets
from hsd.hub.base_models import require_base_named
from hsd.io.files import require_folder
from hsd.prompts.template import load_template


def require_names(config: EvalConfig) -> None:
    """Raise where the model, the adapter or the prompt template is not where its name says.

    Also where a setting of a server is given to another engine.
    """
    require_server_engine(config.server, config.engine)
    if config.engine != "openai":  # whose server knows its models
        if config.adapter is None or "name" in config.model.model_fields_set:
            require_base_named(config.model.name)
        if config.adapter is not None:
            require_folder(config.adapter, "adapter folder")
    if config.prompt_template is not None:
        load_template(config.prompt_template)


def require_sets(configs: Sequence[EvalConfig], data_dir: Path | None = None) -> None:
    """Raise where a name of these evaluations is of nothing; they differ in `data_file` alone."""
    require_names(configs[0])
    found_sets(configs, data_dir)
