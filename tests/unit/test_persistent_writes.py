"""A write that must not be lost is repeated until the ledger takes it, and says so in the log."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace

import pytest

import fanfold.workers.attempts
from fanfold.ledger.database import LedgerUnavailable, UniqueViolation
from fanfold.workers.attempts import persistently

AN_HOUR = 3600.0


class Clock:
    """Time that passes while somebody sleeps, and at no other time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(fanfold.workers.attempts, "time", stopped)
    monkeypatch.setattr(fanfold.workers.attempts, "asyncio", SimpleNamespace(sleep=stopped.sleep))
    return stopped


def away_until(clock: Clock, moment: float) -> Callable[[str], Awaitable[str]]:
    async def write(text: str) -> str:
        if clock.now < moment:
            raise LedgerUnavailable("no route")
        return text

    return write


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, clock: Clock) -> Iterator[list[tuple[float, str]]]:
    """When something was logged, in seconds since the start, and at which level."""
    lines: list[tuple[float, str]] = []
    started = clock.now

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((clock.now - started, record.levelname))

    caplog.set_level(logging.INFO, "fanfold.worker")
    note = Note()
    logging.getLogger("fanfold.worker").addHandler(note)
    yield lines
    logging.getLogger("fanfold.worker").removeHandler(note)


def test_it_is_repeated_until_it_is_done_at_growing_intervals(clock: Clock) -> None:
    write = away_until(clock, clock.now + AN_HOUR)
    assert asyncio.run(persistently(write, "written")) == "written"
    assert clock.waits[:3] == [0.1, 0.2, 0.4]
    assert all(before <= after for before, after in itertools.pairwise(clock.waits))
    assert max(clock.waits) == 5


def test_the_log_tells_of_it_soon_and_then_less_and_less_often(
    clock: Clock, told: list[tuple[float, str]], caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(persistently(away_until(clock, clock.now + AN_HOUR), "written"))
    warned = [moment for moment, level in told if level == "WARNING"]
    gaps = [after - before for before, after in itertools.pairwise(warned)]
    assert warned[0] < 3
    # Each wait between two tries adds up to five seconds.
    assert all(before <= after + 5 for before, after in itertools.pairwise(gaps))
    assert gaps[-1] > 100
    assert max(gaps) <= 305
    assert "no route" in caplog.text
    assert told[-1][1] == "INFO"


def test_a_moments_outage_is_not_worth_a_line(clock: Clock, told: list[tuple[float, str]]) -> None:
    asyncio.run(persistently(away_until(clock, clock.now + 0.5), "written"))
    assert told == []


@pytest.mark.parametrize("error", [UniqueViolation("jobs_pkey"), ValueError("a defect")])
def test_what_can_never_succeed_is_raised_at_once(clock: Clock, error: Exception) -> None:
    async def write() -> None:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(persistently(write))
    assert clock.waits == []
