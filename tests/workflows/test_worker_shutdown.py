"""A stopping worker finishes its chunks or hands them back: no attempt is spent on it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from fanfold.contract.job_spec import StageSpec
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS,
    CHILDREN,
    ONE_ATTEMPT,
    QUICK_CHILDREN,
    Fanfold,
    Handle,
    Shape,
)
from tests.workflows.unsteady_ledger import UnsteadyLedger

pytestmark = pytest.mark.anyio

# What a stopping worker gets from `fanfold up`, and from most container platforms less.
STOP_SECONDS = 7
GATED_ONCE = StageSpec(processor="gate", retry=ONE_ATTEMPT)


@pytest.fixture(params=[CHILDREN, QUICK_CHILDREN, BLOCKS], ids=["children", "quick", "blocks"])
def shape(request: pytest.FixtureRequest) -> Shape:
    """Whatever runs a chunk in a worker."""
    given: Shape = request.param
    return given


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    """The real server: a task given back to it has to reach the other worker."""
    return fanfold_on_dev_server.shaped(shape)


async def begin(
    fanfold: Fanfold, gate: Gate, *, grace_seconds: float
) -> tuple[JobInput, Handle, AsyncExitStack]:
    """Start a worker and a job, up to where its chunk runs; the job and how to stop the worker."""
    worker = AsyncExitStack()
    await worker.enter_async_context(fanfold.working(gate.gate, grace_seconds=grace_seconds))
    job = await fanfold.record([[1]], GATED_ONCE)
    handle = await fanfold.start(job)
    await gate.until_inside(0)
    return job, handle, worker


async def stops_in_time(stopping: asyncio.Task[None], gate: Gate) -> bool:
    """Whether the worker stops by itself; a worker that does not is freed by the gate."""
    _, hanging = await asyncio.wait([stopping], timeout=STOP_SECONDS)
    if hanging:
        gate.open()
        await stopping
    return not hanging


async def test_a_stopping_worker_hands_its_chunk_to_another(fanfold: Fanfold) -> None:
    gate = Gate()
    job, handle, worker = await begin(fanfold, gate, grace_seconds=0.2)
    assert await stops_in_time(asyncio.create_task(worker.aclose()), gate)
    (chunk,) = await fanfold.chunks(job)
    assert (chunk.state, chunk.attempts) == (ChunkState.PENDING, 0)
    async with fanfold.working(gate.gate), gate:
        await gate.until_begun(2)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1]


async def test_a_stopping_worker_lets_its_chunk_finish_within_the_grace(fanfold: Fanfold) -> None:
    gate = Gate()
    job, handle, worker = await begin(fanfold, gate, grace_seconds=5)
    stopping = asyncio.create_task(worker.aclose())
    gate.let_go(0)
    assert await stops_in_time(stopping, gate)
    (chunk,) = await fanfold.chunks(job)
    assert (chunk.state, chunk.attempts) == (ChunkState.SUCCEEDED, 1)
    async with fanfold.working(gate.gate):
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert gate.begun == [0]


@pytest.mark.parametrize("shape", [CHILDREN], ids=["children"])
async def test_a_worker_that_stops_while_a_job_closes_leaves_that_to_another(
    fanfold: Fanfold,
) -> None:
    unsteady, gate = UnsteadyLedger(fanfold.ledger), Gate()
    closing = unsteady.hold("closing.counts")
    job = await fanfold.record([[1]], StageSpec(processor="double"))
    worker = AsyncExitStack()
    await worker.enter_async_context(fanfold.working(ledger=unsteady.ledger))
    handle = await fanfold.start(job)
    await closing.has_begun.wait()
    assert await stops_in_time(asyncio.create_task(worker.aclose()), gate)
    assert (await fanfold.row(job.job.id)).state is JobState.RUNNING
    async with fanfold.working():
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert await fanfold.result(job) == [{"index": 0, "result": [2]}]


@pytest.mark.parametrize("shape", [BLOCKS], ids=["blocks"])
async def test_a_stopping_worker_hands_over_the_rest_of_its_block(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(9)], GATED_ONCE, max_concurrency=3)
    worker = AsyncExitStack()
    await worker.enter_async_context(fanfold.working(gate.gate, grace_seconds=0.2))
    handle = await fanfold.start(job)
    await gate.until_inside(0, 1, 2)
    gate.let_go(1)
    await gate.until_inside(0, 2, 3)
    assert await stops_in_time(asyncio.create_task(worker.aclose()), gate)
    states = await fanfold.chunk_states(job)
    assert states == ["pending", "succeeded", *["pending"] * 7]
    async with fanfold.working(gate.gate), gate:
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert sorted(gate.begun) == [0, 0, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8]
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {1}
