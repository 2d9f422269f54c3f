"""What a part of the benchmarks says: a measured line, one that could not be measured, a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).parents[1])


class Unexpected(Exception):
    """What was measured did not do its work, so its speed means nothing."""


class NotAvailable(Exception):
    """Something cannot be measured here; the message says why, in words for the table."""


Figures = dict[str, Any]
"""Raw figures of a part, as they are written to the JSON file: numbers, text, lists, objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A line of the table."""

    part: str
    name: str
    value: float
    unit: str
    target: float | None
    """None where nothing is promised and the figure is only shown."""
    is_more_better: bool
    details: tuple[str, ...]

    @property
    def is_reached(self) -> bool:
        """Whether the value is on the right side of its target."""
        if self.target is None:
            return True
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
        if self.target is None:
            return ""
        border = "at least" if self.is_more_better else "under"
        return f"{border} {_with_unit(self.target, self.unit)}"

    @property
    def reached_text(self) -> str:
        """Yes, no, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "yes" if self.is_reached else "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """A line of the table that has no figure, and why."""

    part: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of its own below the lines."""

    part: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


Finding = Measurement | NotRun | Grid
Findings = Iterator[Finding]


def reason_of(error: Exception) -> str:
    """Why something was not measured, in a line for the table; without this machine's paths."""
    if isinstance(error, NotAvailable):
        text = str(error)
    elif isinstance(error, Unexpected):
        text = f"it did not do its work: {error}"
    else:
        text = f"{type(error).__name__}: {error}"
    return (text.splitlines() or [""])[0].replace(_ROOT, ".")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def listed(values: Sequence[float], digits: int = 0) -> str:
    """The values in the order they were measured, for the detail of a line."""
    return " ".join(f"{value:,.{digits}f}" for value in values)


def _with_unit(number: float, unit: str) -> str:
    digits = {"ms": 0, "MiB": 0, "at once": 0, "events": 0, "s": 2}.get(unit, 2)
    return f"{number:,.{digits}f} {unit}".strip()
