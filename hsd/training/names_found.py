"""What can be checked of a training before torch is imported, which takes seconds."""

from hsd.config.train_config import TrainConfig
from hsd.hub.base_models import require_base_named
from hsd.training.training_files import RowSource


def require_names_found(config: TrainConfig) -> None:
    """Raise ModelError or DataError where the base or a file of rows is not there."""
    require_base_named(config.model.name)
    RowSource.of(config, "train").require_found()
    if config.data.validation_file:
        RowSource.of(config, "validation").require_found()
