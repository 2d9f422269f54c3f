"""The window of a job in shards is exact: never more chunks in flight, and no fewer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from contract.job_spec import StageSpec
from contract.states import JobState
from contract.wire import JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import BLOCKS, SHARDS, Fanfold, Shape, until

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")
IN_SHARDS = pytest.mark.parametrize("shape", [SHARDS, BLOCKS], ids=["children", "blocks"])


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
                running = (await fanfold.row(job.job_id)).counts.running
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


@IN_SHARDS
@pytest.mark.parametrize(("shard_chunks", "width"), [(2, 7), (6, 5), (9, 2), (6, 50)])
async def test_the_shards_of_a_job_fill_its_window_and_never_exceed_it(
    fanfold: Fanfold, shape: Shape, shard_chunks: int, width: int
) -> None:
    fanfold, gate = fanfold.shaped(replace(shape, shard_chunks=shard_chunks)), Gate()
    job = await fanfold.record([[n] for n in range(24)], GATED, max_concurrency=width)
    async with two_workers(fanfold, gate), Watch.over(fanfold, job) as watch:
        handle = await fanfold.start(job)
        await gate.until_full(min(width, 24))
        assert (await fanfold.row(job.job_id)).counts.running == min(width, 24)
        # One at a time first, then as they come: both may not let one too many in.
        gate.let_go(min(gate.inside))
        gate.let_go(max(gate.inside))
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert sorted(gate.begun) == list(range(24))
    assert gate.most_inside == min(width, 24)
    assert watch.most_running <= width


@IN_SHARDS
async def test_the_window_is_filled_again_whenever_it_empties(
    fanfold: Fanfold, shape: Shape
) -> None:
    fanfold, gate = fanfold.shaped(replace(shape, shard_chunks=2)), Gate()
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


@pytest.mark.parametrize("shape", [SHARDS], ids=["children"])
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
    ("shape", "shard_chunks", "width"),
    # A slow chunk holds its own slot as a child; in a block that of its whole block.
    [(SHARDS, 4, 8), (BLOCKS, 40, 32)],
    ids=["children", "blocks"],
)
async def test_slots_that_stragglers_do_not_need_are_lent_to_the_shards_after_them(
    fanfold: Fanfold, shape: Shape, shard_chunks: int, width: int
) -> None:
    fanfold, gate = fanfold.shaped(replace(shape, shard_chunks=shard_chunks)), Gate()
    total = 10 * shard_chunks
    slow = {number * shard_chunks for number in range(4)}
    gate.let_go(*set(range(total)) - slow)
    job = await fanfold.record([[n] for n in range(total)], GATED, max_concurrency=width)
    async with two_workers(fanfold, gate), Watch.over(fanfold, job) as watch:
        handle = await fanfold.start(job)

        async def are_the_others_done() -> bool:
            return (await fanfold.row(job.job_id)).counts.succeeded == total - len(slow)

        await until(are_the_others_done)
        assert gate.inside == slow
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert watch.most_running <= width
