"""Chunks that failed for now: when they are tried again, how often, and beside what."""

import asyncio
import time
from collections import defaultdict

import pytest

from contract.job_spec import RetrySpec, StageSpec
from contract.states import ChunkState, JobState
from tests.workflows.gate import Gate
from tests.workflows.running import BLOCKS, CHILDREN, SHARDS, Fanfold, Shape, event_names
from workers.processor import ProcessorContext

pytestmark = pytest.mark.anyio

IN_REAL_TIME = pytest.mark.parametrize(
    "shape", [CHILDREN, SHARDS, BLOCKS], ids=["children", "shards", "blocks"]
)


class Flaky:
    """A processor whose attempts fail up to a number; when each began is noted."""

    def __init__(self, failures: int) -> None:
        self.begun: defaultdict[int, list[float]] = defaultdict(list)
        self.inside = self.most_inside = 0
        self._failures = failures

    async def flaky(self, item: int, *, context: ProcessorContext) -> int:
        self.begun[context.chunk_index].append(time.monotonic())
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await asyncio.sleep(0.005)
        self.inside -= 1
        if context.attempt <= self._failures:
            raise ConnectionError("not now")
        return item


@IN_REAL_TIME
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
    for first, second, third in flaky.begun.values():
        assert second - first >= 0.5
        assert third - second >= 1.0
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {3}
    assert flaky.most_inside <= 6


async def test_the_attempts_are_exactly_as_many_as_allowed(fanfold: Fanfold, shape: Shape) -> None:
    fanfold, flaky = fanfold.shaped(shape), Flaky(failures=99)
    retry = RetrySpec(max_attempts=5, initial_interval_seconds=60)
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


@pytest.mark.parametrize("shape", [BLOCKS], ids=["blocks"])
async def test_other_chunks_run_while_one_waits_for_its_time(
    fanfold: Fanfold, shape: Shape
) -> None:
    """As a child a chunk that waits keeps its place in the window; here it does not."""
    fanfold, gate, begun = fanfold.shaped(shape), Gate(), list[int]()

    def fail_at_zero(item: int, *, context: ProcessorContext) -> int:
        begun.append(item)
        if item == 0 and context.attempt == 1:
            raise ConnectionError("not now")
        return item

    retry = RetrySpec(max_attempts=2, initial_interval_seconds=3600)
    stage = StageSpec(processor="fail_at_zero", retry=retry)
    job = await fanfold.record([[n] for n in range(60)], stage, max_concurrency=1)
    async with fanfold.working(fail_at_zero), gate:
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert begun == [*range(60), 0]


@pytest.mark.parametrize("shape", [BLOCKS], ids=["blocks"])
async def test_all_chunks_failing_once_cost_the_shard_a_bounded_history(
    fanfold: Fanfold, shape: Shape
) -> None:
    fanfold, flaky = fanfold.shaped(shape), Flaky(failures=1)
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=60)
    job = await fanfold.record([[n] for n in range(500)], StageSpec(processor="flaky", retry=retry))
    async with fanfold.working(flaky.flaky):
        row = await fanfold.run(job)
        names = await event_names(fanfold.shard(job, 0))
    assert row.state is JobState.SUCCEEDED
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {2}
    assert flaky.most_inside <= 50
    # Fewer than one event a chunk, where a child workflow costs its parent three or more.
    assert len(names) < 500
