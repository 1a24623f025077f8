"""Launchers that hsd cannot train under are refused."""

import pytest
from accelerate.utils import DistributedType

from hsd.errors import PreflightError
from hsd.training.processes import require_whole_copies

pytestmark = pytest.mark.model


@pytest.mark.parametrize("how", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_a_launcher_that_splits_the_base_is_refused(how: DistributedType) -> None:
    with pytest.raises(PreflightError, match=f"splits the model over processes .{how.value}."):
        require_whole_copies(how)
