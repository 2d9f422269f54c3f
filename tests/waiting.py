"""Waiting for conditions, so that no test sleeps and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(
    condition: Callable[[], Value], *, what: str, timeout_seconds: float = 30.0
) -> Value:
    """The first true value of the condition; fails the test where there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout_seconds:g} seconds: {what}")
        time.sleep(0.02)
    return value
