"""The pages' colours can be read in light, dark and on paper by people with low vision."""

import re
from importlib.resources import files
from itertools import product

import pytest

STYLE = files("hsd.report").joinpath("look", "style.css").read_text(encoding="utf-8")
INKS = ("ink", "soft", "accent", "good", "bad", "warn", "own", "base")
PAPERS = ("paper", "wash")
LIGHT, DARK, PRINT = (
    dict(re.findall(r"--(\w+):(#\w+)", block)) for block in re.findall(r":root\{(.*?)\}", STYLE)
)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_the_highest_contrast() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("colours", [LIGHT, DARK, PRINT], ids=["light", "dark", "print"])
def test_every_ink_has_the_contrast_of_wcag_aa_on_every_paper(colours: dict[str, str]) -> None:
    low = {
        (ink, paper): contrast(colours[ink], colours[paper])
        for ink, paper in product(INKS, PAPERS)
        if contrast(colours[ink], colours[paper]) < 4.5
    }
    assert low == {}
