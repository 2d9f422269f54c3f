"""The window is exact: never more chunks in flight than it allows, and no fewer while some wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput
from fanfold.processing import ProcessorContext
from fanfold.workers.workflows.window import Running, Window
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    FULL_SHARDS,
    SHARDS,
    Fanfold,
    Shape,
    until,
)

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")
ALL_SHAPES = pytest.mark.parametrize(
    "shape", [CHILDREN, SHARDS, BLOCKS], ids=["children", "shards", "blocks"]
)


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    """The real server: slots are lent on by signals, which it may not reorder or lose."""
    return fanfold_on_dev_server.shaped(shape)


@dataclass(slots=True)
class Watch:
    """The most chunks that the ledger ever showed as running."""

    most_running: int = 0

    @classmethod
    @asynccontextmanager
    async def over(cls, fanfold: Fanfold, job: JobInput) -> AsyncIterator["Watch"]:
        watch = cls()

        async def look() -> None:
            while True:
                running = (await fanfold.row(job.job.id)).counts.running
                watch.most_running = max(watch.most_running, running)
                await asyncio.sleep(0.002)

        looking = asyncio.create_task(look())
        try:
            yield watch
        finally:
            looking.cancel()


@asynccontextmanager
async def two_workers(fanfold: Fanfold, gate: Gate) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for client in (fanfold.client, await fanfold.another_client()):
            await stack.enter_async_context(fanfold.working(gate.gate, client=client))
        await stack.enter_async_context(gate)
        yield


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        (CHILDREN, 5),
        (SHARDS, 7),
        (SHARDS.tuned(shard_chunks=6), 5),
        (SHARDS.tuned(shard_chunks=9), 2),
        (SHARDS.tuned(shard_chunks=6), 50),
        (BLOCKS, 2),
        (BLOCKS, 7),
        (BLOCKS, 50),
        (BLOCKS_IN_SHARDS, 7),
        (FULL_SHARDS, 7),
    ],
)
async def test_a_job_fills_its_window_and_never_exceeds_it(fanfold: Fanfold, width: int) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(24)], GATED, max_concurrency=width)
    async with two_workers(fanfold, gate), Watch.over(fanfold, job) as watch:
        handle = await fanfold.start(job)
        await gate.until_full(min(width, 24))
        assert (await fanfold.row(job.job.id)).counts.running == min(width, 24)
        # One at a time first, then as they come: both may not let one too many in.
        gate.let_go(min(gate.inside))
        gate.let_go(max(gate.inside))
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert sorted(gate.begun) == list(range(24))
    assert gate.most_inside == min(width, 24)
    assert watch.most_running <= width


@ALL_SHAPES
async def test_the_window_is_filled_again_whenever_it_empties(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(24)], GATED, max_concurrency=7)
    async with two_workers(fanfold, gate), Watch.over(fanfold, job) as watch:
        handle = await fanfold.start(job)
        for expected in (7, 7, 7, 3):
            await gate.until_full(expected)
            gate.let_go(*gate.inside)
            await gate.until_full(0)
        await fanfold.finished(handle)
    assert gate.most_inside == 7
    assert watch.most_running <= 7


@ALL_SHAPES
async def test_each_slot_that_comes_free_is_used_at_once(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(30)], GATED, max_concurrency=6)
    async with two_workers(fanfold, gate):
        handle = await fanfold.start(job)
        for finished in range(10):
            await gate.until_full(6)
            assert len(gate.begun) == finished + 6
            gate.let_go(max(gate.inside) if finished % 2 else min(gate.inside))
            await gate.until_begun(finished + 7)
        gate.open()
        await fanfold.finished(handle)
    assert gate.most_inside == 6


@pytest.mark.parametrize(
    "shape",
    [SHARDS.tuned(shard_chunks=4), BLOCKS, FULL_SHARDS],
    ids=["shards", "blocks", "full shards"],
)
async def test_stragglers_hold_their_own_slots_and_no_others(fanfold: Fanfold) -> None:
    """All slots but those of slow chunks are used to the last chunk, over shards and blocks."""
    gate, total, slow = Gate(), 60, {0, 4, 8}
    gate.let_go(*set(range(total)) - slow)
    job = await fanfold.record([[n] for n in range(total)], GATED, max_concurrency=4)
    async with two_workers(fanfold, gate), Watch.over(fanfold, job) as watch:
        handle = await fanfold.start(job)

        async def are_the_others_done() -> bool:
            return (await fanfold.row(job.job.id)).counts.succeeded == total - len(slow)

        await until(are_the_others_done)
        assert gate.inside == slow
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert watch.most_running <= 4


@pytest.mark.parametrize(
    "shape",
    [SHARDS.tuned(shard_chunks=10), FULL_SHARDS.tuned(max_events=8_000)],
    ids=["shards", "blocks that make way"],
)
async def test_the_last_chunks_have_the_whole_window(fanfold: Fanfold) -> None:
    """What shards and blocks that end have no use for, the ones after them get."""
    gate, total = Gate(), 40
    gate.let_go(*range(total - 8))
    job = await fanfold.record([[n] for n in range(total)], GATED, max_concurrency=8)
    async with two_workers(fanfold, gate):
        handle = await fanfold.start(job)
        await gate.until_inside(*range(total - 8, total))
        gate.open()
        await fanfold.finished(handle)
    assert gate.most_inside <= 8


@pytest.mark.parametrize(
    "shape",
    [CHILDREN, SHARDS.tuned(shard_chunks=30), BLOCKS],
    ids=["children", "shards", "blocks"],
)
async def test_chunks_that_fall_due_share_the_window_with_all_others(fanfold: Fanfold) -> None:
    """Neither do those that wait leave slots empty, nor do they come on top of the others."""
    inside = most_inside = attempts = 0
    is_full = asyncio.Event()

    async def fail_once(item: int, *, context: ProcessorContext) -> int:
        nonlocal inside, most_inside, attempts
        attempts += 1
        inside += 1
        most_inside = max(most_inside, inside)
        if inside == 4 and item > 3:
            is_full.set()
        if item > 3:
            # Two wait for their next attempt by now. Others may take long to start.
            await is_full.wait()
        await asyncio.sleep(0.1)
        inside -= 1
        if context.attempt == 1 and item % 3 == 0:
            raise ConnectionError("not now")
        return item

    retry = RetrySpec(max_attempts=2, initial_interval_seconds=0.4)
    job = await fanfold.record(
        [[n] for n in range(60)], StageSpec(processor="fail_once", retry=retry), max_concurrency=4
    )
    async with fanfold.working(fail_once):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert attempts == 80
    assert most_inside == 4


class TestWindow:
    async def test_what_is_lent_is_not_free_until_it_comes_back(self) -> None:
        window = Window(10)
        window.lend(1, 4)
        window.lend(2, 6)
        assert window.free == 0
        window.take_back(1, 3)
        assert (window.free, window.lent) == (3, 7)
        window.take_all_back(2)
        window.take_all_back(1)
        assert (window.free, window.is_all_free) == (10, True)

    async def test_nobody_gives_back_more_than_was_lent(self) -> None:
        window = Window(5)
        window.lend(1, 2)
        window.take_back(1, 9)
        window.take_back(7, 1)  # of one that has ended, or never was
        window.take_all_back(7)
        assert window.free == 5

    async def test_a_window_that_shrinks_waits_for_what_is_lent(self) -> None:
        window = Window(5)
        window.lend(1, 5)
        window.resize(2)
        window.take_back(1, 2)
        assert window.free == 0
        window.take_back(1, 2)
        assert window.free == 1
        window.resize(4)
        assert window.free == 3


async def test_what_runs_is_cancelled_in_the_order_of_its_start() -> None:
    """A replay gives the same commands in the same order, or the workflow is stuck for ever."""
    running, cancelled = Running(), list[int]()

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(number)

    for number in range(100):
        running.start(work(number))
    await asyncio.sleep(0)

    await running.cancel()

    assert cancelled == list(range(100))
