"""Chunks that failed for now: when they are tried again, how often, and beside what."""

import asyncio
import time
from collections import defaultdict
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.states import ChunkState, JobState
from fanfold.processing import ProcessorContext
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    QUICK_CHILDREN,
    SHARDS,
    Fanfold,
    Shape,
    event_names,
)

pytestmark = pytest.mark.anyio

ALL_SHAPES = pytest.mark.parametrize(
    "shape",
    [CHILDREN, QUICK_CHILDREN, SHARDS, BLOCKS],
    ids=["children", "quick", "shards", "blocks"],
)
# Of a machine that does many other things; on an idle one it is a hundredth of this.
LATENESS_SECONDS = 5.0


class Flaky:
    """A processor whose attempts fail up to a number; when each began and ended is noted."""

    def __init__(self, failures: int, *, asks_for: timedelta | None = None) -> None:
        self.begun: defaultdict[int, list[float]] = defaultdict(list)
        self.ended: defaultdict[int, list[float]] = defaultdict(list)
        self.inside = self.most_inside = 0
        self._failures = failures
        self._asks_for = asks_for

    async def flaky(self, item: int, *, context: ProcessorContext) -> int:
        self.begun[context.chunk_index].append(time.monotonic())
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await asyncio.sleep(0.005)
        self.inside -= 1
        self.ended[context.chunk_index].append(time.monotonic())
        if context.attempt <= self._failures:
            raise ApplicationError("not now", next_retry_delay=self._asks_for)
        return item

    def waits(self) -> list[list[float]]:
        """For each chunk, from the end of an attempt to the beginning of the next."""
        return [
            [after - before for before, after in zip(ended, begun[1:], strict=False)]
            for begun, ended in zip(self.begun.values(), self.ended.values(), strict=True)
        ]


@ALL_SHAPES
async def test_no_attempt_comes_before_its_time_or_past_the_window(
    fanfold_on_dev_server: Fanfold, shape: Shape
) -> None:
    fanfold, flaky = fanfold_on_dev_server.shaped(shape), Flaky(failures=2)
    retry = RetrySpec(max_attempts=3, initial_interval_seconds=0.5)
    stage = StageSpec(processor="flaky", retry=retry)
    job = await fanfold.record([[n] for n in range(12)], stage, max_concurrency=6)
    async with fanfold.working(flaky.flaky):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert len(flaky.begun) == 12
    for first, second in flaky.waits():
        assert first >= 0.499
        assert second >= 0.999
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {3}
    assert flaky.most_inside <= 6


@ALL_SHAPES
@pytest.mark.parametrize("wait", [0.1, 0.6])
async def test_a_wait_is_kept_to_the_fraction_of_a_second(
    fanfold_on_dev_server: Fanfold, shape: Shape, wait: float
) -> None:
    fanfold, flaky = fanfold_on_dev_server.shaped(shape), Flaky(failures=3)
    retry = RetrySpec(max_attempts=4, initial_interval_seconds=wait, backoff_coefficient=1)
    job = await fanfold.record([[1]], StageSpec(processor="flaky", retry=retry))
    async with fanfold.working(flaky.flaky):
        await fanfold.run(job)
    (waits,) = flaky.waits()
    assert len(waits) == 3
    for kept in waits:
        assert wait - 0.001 <= kept <= wait + LATENESS_SECONDS
    # The best of three tells what was meant, whatever else the machine does.
    assert min(waits) <= wait + 0.5


@ALL_SHAPES
async def test_the_wait_that_a_service_asks_for_is_kept(
    fanfold_on_dev_server: Fanfold, shape: Shape
) -> None:
    asked = timedelta(seconds=0.4)
    fanfold = fanfold_on_dev_server.shaped(shape)
    flaky = Flaky(failures=1, asks_for=asked)
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=3600, max_interval_seconds=3600)
    job = await fanfold.record([[1], [2]], StageSpec(processor="flaky", retry=retry))
    async with fanfold.working(flaky.flaky):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    for (kept,) in flaky.waits():
        assert 0.399 <= kept <= 0.4 + LATENESS_SECONDS


@ALL_SHAPES
async def test_the_attempts_are_exactly_as_many_as_allowed(
    fanfold_on_dev_server: Fanfold, shape: Shape
) -> None:
    fanfold, flaky = fanfold_on_dev_server.shaped(shape), Flaky(failures=99)
    retry = RetrySpec(max_attempts=5, initial_interval_seconds=0.3, backoff_coefficient=1)
    job = await fanfold.record(
        [[n] for n in range(6)], StageSpec(processor="flaky", retry=retry), max_concurrency=3
    )
    async with fanfold.working(flaky.flaky):
        row = await fanfold.run(job)
    assert row.state is JobState.FAILED
    assert [len(begun) for begun in flaky.begun.values()] == [5] * 6
    assert [(chunk.state, chunk.attempts) for chunk in await fanfold.chunks(job)] == [
        (ChunkState.FAILED, 5)
    ] * 6


@ALL_SHAPES
async def test_other_chunks_run_while_one_waits_for_its_time(
    fanfold_on_dev_server: Fanfold, shape: Shape
) -> None:
    """What waits holds no slot, in either execution; when it is due it goes first."""
    fanfold, begun = fanfold_on_dev_server.shaped(shape), list[int]()

    async def fail_at_zero(item: int, *, context: ProcessorContext) -> int:
        begun.append(item)
        await asyncio.sleep(0.05)
        if item == 0 and context.attempt == 1:
            raise ConnectionError("not now")
        return item

    retry = RetrySpec(max_attempts=2, initial_interval_seconds=1)
    stage = StageSpec(processor="fail_at_zero", retry=retry)
    job = await fanfold.record([[n] for n in range(40)], stage, max_concurrency=1)
    async with fanfold.working(fail_at_zero):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert begun[:5] == [0, 1, 2, 3, 4]
    assert sorted(begun) == [0, 0, *range(1, 40)]
    # In between, not last: 39 others take two seconds and more.
    assert 4 < begun.index(0, 1) < 39


@pytest.mark.parametrize("shape", [BLOCKS_IN_SHARDS.tuned(patience_seconds=0.2)], ids=["blocks"])
async def test_a_long_wait_keeps_no_block_running(
    fanfold_on_dev_server: Fanfold, shape: Shape
) -> None:
    fanfold, flaky = fanfold_on_dev_server.shaped(shape), Flaky(failures=1)
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=1.5)
    job = await fanfold.record(
        [[n] for n in range(6)], StageSpec(processor="flaky", retry=retry), max_concurrency=6
    )
    async with fanfold.working(flaky.flaky):
        row = await fanfold.run(job)
        names = await event_names(fanfold.shard(job, 0))
    assert row.state is JobState.SUCCEEDED
    # Each of its two blocks says when the next chunk is due, to the millisecond.
    assert 1 <= names.count("TimerFired") <= 2
    for (kept,) in flaky.waits():
        assert 1.499 <= kept <= 1.5 + LATENESS_SECONDS
