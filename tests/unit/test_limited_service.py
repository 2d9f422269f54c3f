"""The benchmarks' service: Fanfold's limit is judged by what it counts."""

import asyncio
from collections import Counter

from benchmarks.limited_service import LimitedService

LIMIT = 20


async def statuses(service: LimitedService, calls: int) -> list[int]:
    return await asyncio.gather(*(service.call(item) for item in range(calls)))


def test_a_call_beyond_the_limit_is_refused_and_counted() -> None:
    service = LimitedService(LIMIT)

    answers = Counter(asyncio.run(statuses(service, LIMIT + 1)))

    assert answers[429] == 1
    seen = service.figures()
    assert (seen["most"], seen["refused"], len(seen["spans"])) == (LIMIT + 1, 1, LIMIT)


def test_calls_within_the_limit_are_not_refused() -> None:
    service = LimitedService(LIMIT)

    answers = Counter(asyncio.run(statuses(service, LIMIT)))

    assert answers[429] == 0
    assert service.figures()["most"] == LIMIT


def test_every_client_meets_the_same_failures() -> None:
    calls = 300
    first, second = LimitedService(calls), LimitedService(calls)

    given = asyncio.run(statuses(first, calls))

    assert given == asyncio.run(statuses(second, calls))
    assert 5 <= given.count(503) <= 30
