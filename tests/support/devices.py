"""Tests whose bodies run on a CPU in every test run, and on a GPU where there is one."""

import pytest
import torch

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
"""The same body on both: what is only ever run on a GPU rots unseen."""
