"""Adds up numbers."""

import math
from collections.abc import Iterator
from fractions import Fraction

from fanfold.processing import ValidationError, example


@example({"items": [1, 2, 3, 4], "chunk_size": 2, "processor": "double"})
class Sum:
    """Add up all numbers in the surviving chunks' results, exactly.

    Numbers are found at any depth of arrays and objects; integers of any size stay
    exact, and with fractions among them the sum is rounded once, at the end.
    """

    name = "sum"

    def __init__(self) -> None:
        """Start at zero."""
        self._total: int | Fraction = 0
        self._has_floats = False

    def add(self, index: int, result: object) -> None:  # noqa: ARG002 - the port's signature
        """See Reducer.add; raises ValidationError where a value is no number."""
        for number in _numbers(result):
            if isinstance(number, float):
                self._has_floats = True
                self._total += Fraction(number)
            else:
                self._total += number

    def result(self) -> int | float:
        """See Reducer.result."""
        if not self._has_floats:
            return int(self._total)
        try:
            return float(self._total)
        except OverflowError:
            return math.inf


def _numbers(value: object) -> Iterator[int | float]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _numbers(child)
    elif isinstance(value, list):
        for child in value:
            yield from _numbers(child)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    else:
        raise ValidationError("only numbers can be summed; a result holds something else")
