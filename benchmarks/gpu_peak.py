"""What a GPU can do at most, of its data sheet: what MFU is a share of."""

import re

FORMULA = (
    "MFU = 2 passes x (2 x active parameters x computed tokens + 4 x layers x heads x head width x "
    "token pairs) / seconds / the data sheet's dense bfloat16 peak"
)
PEAKS = {
    "T4": 65.0, "V100": 125.0, "A10": 125.0, "A30": 165.0, "A40": 150.0, "A100": 312.0,
    "A6000": 155.0, "L4": 121.0, "L40": 181.0, "L40S": 362.0, "3090": 71.0, "4090": 165.0,
    "5090": 210.0, "H100": 989.0, "H200": 989.0, "GH200": 989.0, "B200": 2250.0,
}  # fmt: skip
"""Dense 16-bit TFLOPS by data sheet; the SXM form where there are several."""


def peak_of(name: str) -> float | None:
    """Return the peak of a GPU by its name."""
    if "H100" in name and "PCIe" in name:
        return 756.0
    words = re.split(r"[^A-Za-z0-9]+", name)
    return next((PEAKS[word] for word in words if word in PEAKS), None)
