"""Many entries in one round: each on its own, its errors logged now and then."""

import asyncio
import itertools
import logging

import pytest

from fanfold.app.loops.each_apart import Attempted, EachApart
from fanfold.app.loops.silences import Silences
from fanfold.app.temporal.calls import CallRefused, TemporalUnavailable


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def treat(entry: str) -> None:
    """What an entry asks for."""
    if entry.startswith("refused"):
        raise CallRefused("no; do this")
    if entry.startswith("broken"):
        raise KeyError(entry)
    if entry.startswith("away"):
        raise TemporalUnavailable("Temporal: away")


def attempt(each: EachApart, *entries: str) -> Attempted[str]:
    return asyncio.run(each.attempt(entries, treat, str))


def of(clock: Clock) -> EachApart:
    return EachApart("treating", unavailable=(TemporalUnavailable,), silences=Silences(clock=clock))


def test_an_error_at_one_entry_keeps_no_other_from_its_turn() -> None:
    attempted = attempt(of(Clock()), "refused 1", "good 1", "away", "broken", "good 2")
    assert attempted.done == ["good 1", "good 2"]
    assert attempted.failed == ["refused 1", "broken"]
    assert attempted.unreached == ["away"]
    assert isinstance(attempted.unavailable, TemporalUnavailable)


def test_what_repeats_is_logged_at_growing_intervals(caplog: pytest.LogCaptureFixture) -> None:
    clock, logged_at = Clock(), []
    each = of(clock)
    for second in range(0, 13_000, 10):
        clock.seconds = second
        attempt(each, "refused 1", "refused 2", "good")
        if caplog.records:
            logged_at.append(second)
            assert len(caplog.records) == 1
            caplog.clear()
    waits = [later - earlier for earlier, later in itertools.pairwise(logged_at)]
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_the_log_says_what_to_do_and_of_a_defect_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempt(of(Clock()), "refused 1", "broken", "away")
    refused, broken = caplog.records
    assert refused.levelno == broken.levelno == logging.ERROR
    assert "treating refused 1 failed: no; do this" in refused.getMessage()
    assert refused.exc_info is None
    assert broken.exc_info is not None
