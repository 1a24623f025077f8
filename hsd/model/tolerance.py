"""What a self-test of shared prompts found, and how close is close enough.

It has two parts. On a small twin in float32 the model's code has to be right: exact. On the loaded
model, in its own number format and on its own device, the kernels have to be: rows packed behind
their prompt are held against each row alone. In 16 and 4 bit both are rounded, and by how much is
measured in the same run: by what padding the same rows, the way everybody computes them, changes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite, isnan, nan
from statistics import median
from typing import Any

import torch

from hsd.errors import ModelError
from hsd.model.twin import made_up_rows, twin_of
from hsd.prompts.render import Encoded

EXACT = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Largest difference in nats where a number format leaves no doubt."""

FACTOR, LEAST = 4.0, 0.02
"""Elsewhere half of the rows may differ by FACTOR times what padding makes, and LEAST nats. See
EXPERIMENTS.md, 9. Padding may happen to round nothing, and packing then still does."""

ROWS_EXACT, ROWS_COARSE = 2, 8
"""Rows in the piece that is checked. A median of less than 8 would hang on single roundings."""

PADDING = 8
"""Tokens of padding that every row has at least where the noise is measured."""


@dataclass(frozen=True, slots=True)
class TestPart:
    """What one part found, in nats. `problem` says what is wrong; None is a pass.

    `largest_difference` is over rows where numbers are exact; elsewhere it is the median of the
    rows' means, and `floor` that of the same rows padded.
    """

    rows: list[str]
    largest_difference: float = 0.0
    tolerance: float = 0.0
    floor: float | None = None
    ties: list[str] = field(default_factory=list)
    """Rows whose text or label differs only where two of them are as likely."""
    gradient: float | None = None
    """Norm of the difference in gradient over that of the gradient; None where none was made."""
    problem: str | None = None

    @property
    def share(self) -> float:
        """How much of what is tolerated the difference is."""
        return self.largest_difference / self.tolerance if self.tolerance else 0.0

    def figures(self) -> str:
        """Return the numbers in words."""
        said = f"{self.largest_difference:.2g} nats ({self.tolerance:.2g} allowed"
        if self.floor is not None:
            said += f"; padding alone makes {self.floor:.2g}"
        return said + ")" + (f", its gradient by {self.gradient:.1g}" if self.gradient else "")

    def facts(self) -> dict[str, Any]:
        """Return the result for the manifest; JSON knows no infinity."""
        said = {k: v for k, v in asdict(self).items() if v is not None or k == "problem"}
        numbers = {k: v if isfinite(v) else str(v) for k, v in said.items() if isinstance(v, float)}
        return {"passed": self.problem is None, **said, **numbers}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Both parts, as far as it came: nothing is tried behind what failed.

    `obstacle` is why the model was not tried at all.
    """

    twin: TestPart | None = None
    loaded: TestPart | None = None
    obstacle: str | None = None

    @property
    def problem(self) -> str | None:
        """Why rows may not share their prompts; None when they may."""
        found = [part.problem for part in (self.twin, self.loaded) if part]
        return next(filter(None, [self.obstacle, *found]), None)

    def facts(self) -> dict[str, Any]:
        """Return the result for the manifest."""
        loaded = self.loaded.facts() if self.loaded else {}
        twin = self.twin.facts() if self.twin else {}
        about = {name: value for name, value in twin.items() if name not in ("rows", "ties")}
        verdict = {"passed": self.problem is None, "problem": self.problem}
        return {**loaded, **verdict, "twin": about or None}

    def sentence(self) -> str:
        """Return what the parts found, for the log."""
        parts = {"an exact twin": self.twin, "the loaded model": self.loaded}
        said = "; ".join(f"{what} by {part.figures()}" for what, part in parts.items() if part)
        return f"rows behind a shared prompt differ from rows alone: {said}"


def exact_tolerance(model: Any) -> float | None:
    """Return how far a packed row may be from the row alone; None where numbers are coarse."""
    if getattr(model, "is_quantized", False):
        return None  # what is held in 4 bit is computed in 16
    return EXACT.get(model.dtype)


def spread(rows: Sequence[Encoded], count: int) -> list[Encoded]:
    """Return `count` of the rows, given in order of length: both ends and some between."""
    count = min(count, len(rows))
    if count < 2:
        return list(rows)
    return [rows[round(n * (len(rows) - 1) / (count - 1))] for n in range(count)]


def longer_than_all(rows: Sequence[Encoded]) -> Encoded:
    """Return a row beside which every one of these is padded."""
    longest = max(rows, key=lambda row: len(row.prompt) + len(row.answer))
    more = (longest.prompt * PADDING)[:PADDING]
    return replace(longest, id="padding", prompt=[*more, *longest.prompt])


def compared(
    model: Any,
    rows: Sequence[Encoded],
    packed: Sequence[torch.Tensor],
    padded: Sequence[torch.Tensor] = (),
) -> TestPart:
    """Return whether rows agree, from differences in log-probability to each row alone.

    One tensor for each row; those of `padded` rows are for where numbers are coarse.
    """
    ids, exact = [row.id for row in rows], exact_tolerance(model)
    if exact is not None:
        return _exactly(ids, packed, exact)
    difference, floor = _typical(packed), _typical(padded)
    checked = TestPart(ids, difference, FACTOR * floor + LEAST, floor)
    if difference <= checked.tolerance:  # what is no number is not
        return checked
    problem = (
        "rows behind a shared prompt are given other probabilities than alone (by "
        f"{difference:.2g} nats in the median row, {checked.tolerance:.2g} allowed where padding "
        f"alone makes {floor:.2g})"
    )
    return replace(checked, problem=problem)


def worst(parts: Iterable[TestPart]) -> TestPart:
    """Return the part that is nearest to failing, or failed; with none, a pass of no rows."""
    return max(parts, key=lambda part: (part.problem is not None, part.share), default=TestPart([]))


def on_twin(model: Any, check: Callable[[Any, list[Encoded]], TestPart]) -> TestPart:
    """Return what `check` finds on the model's twin and made-up rows."""
    try:
        twin = twin_of(model)
    except ModelError as error:
        return TestPart([], problem=str(error))
    found = check(twin, made_up_rows())
    if found.problem is None:
        return found
    return replace(found, problem=f"on a small exact twin of {type(twin).__name__} {found.problem}")


def _exactly(ids: list[str], packed: Sequence[torch.Tensor], tolerance: float) -> TestPart:
    each = torch.stack([one.abs().max().double().cpu() for one in packed])
    at = int(each.argmax())  # the first that is no number, if any
    most = float(each[at])
    if most <= tolerance:
        return TestPart(ids, most, tolerance)
    problem = (
        f"rows behind a shared prompt are given other probabilities than alone (row {ids[at]} by "
        f"{most:.2g} nats, {tolerance:g} allowed)"
    )
    return TestPart(ids, most, tolerance, problem=problem)


def _typical(differences: Sequence[torch.Tensor]) -> float:
    """Return the median over rows of each row's mean over tokens; NaN where one has none.

    A router that tips sends one token of one row to another expert: that row is off by a hundred
    times what its neighbours are, packed or padded as chance will have it.
    """
    means = [float(one.abs().double().mean()) for one in differences]
    return nan if any(map(isnan, means)) else median(means)
