"""One measured thing, its target, and whether that was reached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


class Unexpected(Exception):
    """What was measured did not do its work, so its speed means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A line of the table."""

    part: str
    name: str
    value: float
    unit: str
    target: float
    is_more_better: bool
    details: tuple[str, ...]

    @property
    def is_reached(self) -> bool:
        """Whether the value is on the right side of its target."""
        if self.is_more_better:
            return self.value >= self.target
        return self.value < self.target

    @property
    def value_text(self) -> str:
        """The value with its unit."""
        return _with_unit(self.value, self.unit)

    @property
    def target_text(self) -> str:
        """The target as a reader would say it."""
        border = "at least" if self.is_more_better else "under"
        return f"{border} {_with_unit(self.target, self.unit)}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def listed(values: Sequence[float], digits: int = 0) -> str:
    """The values in the order they were measured, for the detail of a line."""
    return " ".join(f"{value:,.{digits}f}" for value in values)


def _with_unit(number: float, unit: str) -> str:
    digits = {"ms": 0, "s": 2}.get(unit, 2)
    return f"{number:,.{digits}f} {unit}".strip()
