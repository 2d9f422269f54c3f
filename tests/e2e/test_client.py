"""Both clients against a real gateway: large streams, and what is refused in the middle of one."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fanfold import AsyncFanfold, Fanfold, Job, JobState, Refused, WaitTimeout
from fanfold.devstack.running import RunningStack

COUNT = {"processor": "count_by", "options": {"field": "k"}, "reducer": "merge_counts"}
ITEMS = 20_000


def many(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"k": number % 2, "text": "x" * 200}


def wrong_early() -> Iterator[Any]:
    """The gateway refuses it long before its end."""
    yield from many(10)
    yield float("nan")
    yield from many(100_000)


async def asynchronous(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def test_items_of_a_generator_are_never_all_held(fanfold: Fanfold) -> None:
    tracemalloc.start()
    try:
        job = fanfold.submit(COUNT | {"chunk_size": 1000}, items=many(ITEMS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    job = fanfold.wait(job.id)
    assert job.result == {"0": ITEMS // 2, "1": ITEMS // 2}
    assert job.items.total == ITEMS
    assert peak < 2 * 1024 * 1024


def test_an_async_generator_gives_the_same_job(stack: RunningStack) -> None:
    async def result() -> Any:
        async with AsyncFanfold(stack.url) as client:
            job = await client.submit(COUNT, items=asynchronous(many(1000)))
            job = await client.wait(job.id, timeout=60)
            children = [child async for child in client.results(job.id)]
            assert [child.index for child in children] == list(range(10))
            assert [one.id async for one in client.jobs(limit=1)] == [job.id]
            return job.result

    assert asyncio.run(result()) == {"0": 500, "1": 500}


def test_a_refusal_in_the_middle_of_a_stream_is_heard(fanfold: Fanfold) -> None:
    with pytest.raises(Refused, match="/items/10") as refused:
        fanfold.submit(COUNT, items=wrong_early())
    assert refused.value.status == 422


def test_a_refusal_in_the_middle_of_an_async_stream_is_heard(stack: RunningStack) -> None:
    async def submit() -> None:
        async with AsyncFanfold(stack.url) as client:
            await client.submit(COUNT, items=asynchronous(wrong_early()))

    with pytest.raises(Refused, match="/items/10"):
        asyncio.run(submit())


def test_a_generator_that_fails_leaves_no_job(fanfold: Fanfold) -> None:
    def broken() -> Iterator[int]:
        yield from range(10_000)
        raise LookupError("the rows are gone")

    labels = {"of": "a generator that fails"}
    with pytest.raises(LookupError):
        fanfold.submit({"processor": "double", "labels": labels}, items=broken())
    assert list(fanfold.jobs(labels=labels)) == []


def test_a_job_that_takes_longer_than_one_waits_goes_on(fanfold: Fanfold) -> None:
    seen: list[Job] = []
    job = fanfold.submit(
        {"items": [1], "processor": "double", "options": {"delay_seconds": [1.5, 1.5]}}
    )
    with pytest.raises(WaitTimeout, match=f"{job.id} has not finished yet"):
        fanfold.wait(job.id, timeout=0)
    job = fanfold.wait(job.id, on_progress=seen.append)
    assert job.state is JobState.SUCCEEDED
    assert job.started_at is not None
    assert job.finished_at is not None
    assert (job.finished_at - job.started_at).total_seconds() > 1
    assert seen[-1] == job
    assert len(seen) > 1
