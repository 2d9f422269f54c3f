"""Controls reach a job that runs, in every shape."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import OnFailure, StageSpec
from fanfold.contract.states import ChunkState, JobState
from fanfold.processing import ProcessorContext, ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    ONE_ATTEMPT,
    SHARDS,
    Fanfold,
    Shape,
    until,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "shape",
        [CHILDREN, SHARDS.tuned(shard_chunks=8), BLOCKS, BLOCKS_IN_SHARDS],
        ids=["children", "shards", "blocks", "blocks in shards"],
    ),
]

GATED = StageSpec(processor="gate")
ONCE = StageSpec(processor="odd", retry=ONE_ATTEMPT)


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    """The real server: controls come by signals, which it may not reorder or lose."""
    return fanfold_on_dev_server.shaped(shape)


@asynccontextmanager
async def gated(fanfold: Fanfold) -> AsyncIterator[Gate]:
    async with AsyncExitStack() as stack:
        gate = Gate()
        await stack.enter_async_context(fanfold.working(gate.gate))
        yield await stack.enter_async_context(gate)


async def odd(item: int) -> int:
    """Only odd numbers."""
    await asyncio.sleep(0)
    if item % 2 == 0:
        raise ValidationError(f"{item} is even")
    return item


async def test_no_attempt_begins_while_a_job_is_paused(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(24)], GATED, max_concurrency=4)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        assert await ours(fanfold.ledger).steering.pause(job.job.id)
        gate.open()
        await gate.until_full(0)
        await asyncio.sleep(2.5)
        row = await fanfold.row(job.job.id)
        assert (row.state, row.counts.succeeded) == (JobState.PAUSED, 4)
        assert (row.counts.pending, row.counts.running, len(gate.begun)) == (20, 0, 4)

        assert await ours(fanfold.ledger).steering.resume(job.job.id)
        await fanfold.tell(job)

        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded) == (JobState.SUCCEEDED, 24)
    assert sorted(gate.begun) == list(range(24))


async def test_a_job_that_is_paused_before_it_begins_waits(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], GATED)
    assert await ours(fanfold.ledger).steering.pause(job.job.id)
    async with gated(fanfold) as gate:
        gate.open()
        handle = await fanfold.start(job)
        await asyncio.sleep(0.5)
        assert not gate.begun
        await ours(fanfold.ledger).steering.resume(job.job.id)
        assert (await fanfold.row(job.job.id)).state is JobState.PENDING
        await fanfold.tell(job)
        assert (await fanfold.finished(handle)).state is JobState.SUCCEEDED


async def test_pauses_without_progress_cost_no_chunk(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], GATED, max_concurrency=4)
    steering = ours(fanfold.ledger).steering
    await steering.pause(job.job.id)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        for _ in range(6):
            await steering.resume(job.job.id)
            await fanfold.tell(job)
            await asyncio.sleep(0.05)
            await steering.pause(job.job.id)
            await asyncio.sleep(0.05)
        await steering.resume(job.job.id)
        await fanfold.tell(job)
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded) == (JobState.SUCCEEDED, 12)


async def test_a_paused_job_can_be_cancelled(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], GATED, max_concurrency=4)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        await ours(fanfold.ledger).steering.pause(job.job.id)
        gate.let_go(*gate.inside)
        await gate.until_full(0)
        await asyncio.sleep(0.3)
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
        await handle.cancel()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded, row.counts.cancelled) == (JobState.CANCELLED, 4, 8)


async def test_the_window_grows_and_shrinks_within_two_seconds(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(200)], GATED, max_concurrency=6)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(6)
        await fanfold.change(job, max_concurrency=20)
        async with asyncio.timeout(2):
            await gate.until_full(20)

        await fanfold.change(job, max_concurrency=3)
        await asyncio.sleep(2)
        # One after the other: none of the first 17 is followed by another.
        for left in range(19, 2, -1):
            gate.let_go(min(gate.inside))
            await gate.until_full(left)
            await asyncio.sleep(0.1)
        begun = len(gate.begun)
        await asyncio.sleep(0.5)
        assert len(gate.begun) == begun
        for _ in range(5):
            begun += 1
            gate.let_go(min(gate.inside))
            await gate.until_begun(begun)
        assert gate.most_inside == 20

        await fanfold.change(job, max_concurrency=10)
        async with asyncio.timeout(2):
            await gate.until_full(10)
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded) == (JobState.SUCCEEDED, 200)


async def test_the_deadline_ends_what_runs_and_folds_what_there_is(fanfold: Fanfold) -> None:
    job = await fanfold.record(
        [[n] for n in range(12)], GATED, max_concurrency=4, deadline_seconds=1.5
    )
    async with gated(fanfold) as gate:
        gate.let_go(0, 1)
        row = await fanfold.run(job)
        assert row.error is not None
        assert (row.state, row.error.type) == (JobState.FAILED, FailureType.DEADLINE_EXCEEDED)
        assert (row.counts.succeeded, row.counts.cancelled) == (2, 10)
        assert await fanfold.result(job) == [
            {"index": 0, "result": [0]},
            {"index": 1, "result": [1]},
        ]
        assert not gate.inside


async def test_a_deadline_may_be_set_moved_and_taken_away(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(4)], GATED, deadline_seconds=60)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        await fanfold.change(job, deadline_seconds=0.5)
        await fanfold.change(job, deadline_seconds=None)
        gate.open()
        assert (await fanfold.finished(handle)).state in (JobState.SUCCEEDED, JobState.FAILED)
        late = await fanfold.record([[n] for n in range(4)], StageSpec(processor="gate"))
        shut = Gate()
    async with fanfold.working(shut.gate), shut:
        handle = await fanfold.start(late)
        await shut.until_full(4)
        await fanfold.change(late, deadline_seconds=0.5)
        row = await fanfold.finished(handle)
    assert row.error is not None
    assert row.error.type == FailureType.DEADLINE_EXCEEDED


async def test_what_failed_is_held_until_it_is_released(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(10)], ONCE, on_failure=OnFailure.HOLD)
    async with fanfold.working(odd):
        handle = await fanfold.start(job)
        await fanfold.until_job(job, JobState.WAITING)
        row = await fanfold.row(job.job.id)
        assert (row.counts.held, row.counts.succeeded, row.counts.items_failed) == (5, 5, 0)

        assert await ours(fanfold.ledger).steering.release(job.job.id)
        await fanfold.tell(job)

        row = await fanfold.finished(handle)
    assert (row.state, row.counts.failed) == (JobState.PARTIALLY_SUCCEEDED, 5)
    assert [one["index"] for one in await fanfold.result(job)] == [1, 3, 5, 7, 9]


async def test_what_is_held_can_be_resolved_and_run_again(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(6)], ONCE, on_failure=OnFailure.HOLD)
    async with fanfold.working(odd):
        handle = await fanfold.start(job)
        await fanfold.until_job(job, JobState.WAITING)
        steering = ours(fanfold.ledger).steering
        assert await steering.resolve(job.job.id, 2, b"[222]", by_item=True)
        assert (await fanfold.row(job.job.id)).state is JobState.WAITING
        await fanfold.redrive(job, corrected={0: b"[11]"})
        await fanfold.tell(job)
        await fanfold.until_state(job, 0, ChunkState.SUCCEEDED)
        await fanfold.until_job(job, JobState.WAITING)
        assert await steering.resolve(job.job.id, 4, b"[444]", by_item=True)
        await fanfold.tell(job)
        row = await fanfold.finished(handle)
    assert (row.state, row.run, row.counts.succeeded) == (JobState.SUCCEEDED, 1, 6)
    given = [one["result"] for one in await fanfold.result(job)]
    assert given == [[11], [1], [222], [3], [444], [5]]


async def test_a_hold_ends_by_itself(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], ONCE, on_failure=OnFailure.HOLD, hold_timeout_seconds=1)
    async with fanfold.working(odd):
        handle = await fanfold.start(job)
        await fanfold.until_job(job, JobState.WAITING)
        since = time.monotonic()
        row = await fanfold.finished(handle)
    assert 0.5 < time.monotonic() - since < 5
    assert (row.state, row.counts.failed) == (JobState.PARTIALLY_SUCCEEDED, 1)


async def test_a_drained_job_lets_finish_what_has_begun(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], GATED, max_concurrency=4)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id, is_draining=True)
        await fanfold.tell(job)
        await asyncio.sleep(2.5)
        assert len(gate.inside) == 4
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded, row.counts.cancelled) == (JobState.CANCELLED, 4, 8)


async def test_one_child_is_cancelled_alone(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], GATED, max_concurrency=4)
    async with gated(fanfold) as gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        running = min(gate.inside)
        steering = ours(fanfold.ledger).steering
        await steering.cancel_child(job.job.id, running)
        await steering.cancel_child(job.job.id, 11)
        states = await fanfold.chunk_states(job)
        assert (states[running], states[11]) == (ChunkState.RUNNING, ChunkState.CANCELLED)
        await fanfold.until_state(job, running, ChunkState.CANCELLED)
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.cancelled) == (JobState.PARTIALLY_SUCCEEDED, 2)
    assert row.counts.succeeded == 10


async def test_a_redrive_runs_what_failed_and_nothing_else(fanfold: Fanfold) -> None:
    begun: list[tuple[int, int, int]] = []
    works = False

    async def sometimes(item: int, *, context: ProcessorContext) -> int:
        begun.append((context.run, context.chunk_index, context.item_index))
        await asyncio.sleep(0)
        if item % 2 == 0 and not works:
            raise ValidationError("not yet")
        return item * 10

    stage = StageSpec(processor="sometimes", retry=ONE_ATTEMPT)
    chunks = [[1, 3], [1, 2], [2, 4], [5, 7]]
    job = await fanfold.record(chunks, stage)
    async with fanfold.working(sometimes):
        row = await fanfold.run(job)
        assert (row.state, row.counts.partially_succeeded, row.counts.failed) == (
            JobState.PARTIALLY_SUCCEEDED,
            1,
            1,
        )
        begun.clear()
        again = await fanfold.redrive(job)
        works = True
        row = await fanfold.run(again)
    assert (row.state, row.run, row.counts.succeeded) == (JobState.SUCCEEDED, 2, 4)
    assert sorted(begun) == [(2, 1, 1), (2, 2, 0), (2, 2, 1)]
    given = [one["result"] for one in await fanfold.result(job)]
    assert given == [[10, 30], [10, 20], [20, 40], [50, 70]]
    earlier = await ours(fanfold.ledger).jobs.earlier_run(job.job.id, 1)
    assert earlier is not None
    assert (earlier.state, earlier.counts.failed) == (JobState.PARTIALLY_SUCCEEDED, 1)


@pytest.mark.alone
async def test_starts_keep_the_rate(fanfold: Fanfold) -> None:
    started: list[float] = []

    async def note(item: int) -> int:
        started.append(time.monotonic())
        await asyncio.sleep(0)
        return item

    # Of shards with few chunks most slots are on their way from one to the other.
    fanfold = fanfold.shaped(fanfold.shape.tuned(shard_chunks=130))
    job = await fanfold.record(
        [[n] for n in range(260)], StageSpec(processor="note"), max_per_second=20
    )
    async with fanfold.working(note):
        row = await fanfold.run(job)
    assert row.counts.succeeded == 260
    started.sort()
    for first in started:
        if first + 10 <= started[-1]:
            in_ten_seconds = bisect_left(started, first + 10) - bisect_left(started, first)
            assert in_ten_seconds == pytest.approx(200, rel=0.1)


async def test_a_rate_may_be_taken_away(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(60)], GATED, max_per_second=0.5)
    async with gated(fanfold) as gate:
        gate.open()
        handle = await fanfold.start(job)
        await gate.until_begun(1)
        await fanfold.change(job, max_per_second=None)
        began = time.monotonic()
        row = await fanfold.finished(handle)
    assert row.counts.succeeded == 60
    assert time.monotonic() - began < 15


async def test_the_wish_to_cancel_the_last_open_chunks_ends_the_job(fanfold: Fanfold) -> None:
    async def later(item: int) -> int:
        await asyncio.sleep(0)
        if item:
            raise ConnectionError("not now")
        return item

    job = await fanfold.record([[0], [1], [2]], StageSpec(processor="later"))
    async with fanfold.working(later):
        handle = await fanfold.start(job)

        async def wait_all() -> bool:
            chunks = await fanfold.chunks(job)
            return [chunk.attempts for chunk in chunks] == [1, 1, 1] and all(
                chunk.state is not ChunkState.RUNNING for chunk in chunks
            )

        await until(wait_all)
        for index in (1, 2):
            await ours(fanfold.ledger).steering.cancel_child(job.job.id, index)
        await fanfold.tell(job)
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.cancelled) == (JobState.PARTIALLY_SUCCEEDED, 2)
