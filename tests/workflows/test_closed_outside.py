"""Children closed behind the job's back: recorded as such, and the job goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from temporalio.client import WorkflowExecutionStatus

from contract.failures import FailureType
from contract.job_spec import StageSpec
from contract.names import CHUNK_TASK_QUEUE, CHUNK_WORKFLOW, chunk_workflow_id
from contract.states import ChunkState, JobState
from contract.wire import ChunkInput, JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import BLOCKS, CHILDREN, QUICK_CHILDREN, SHARDS, Fanfold, Handle, Shape

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The time-skipping server does not tell a parent that its child was terminated."""
    return fanfold_on_dev_server


@asynccontextmanager
async def three_chunks_inside(
    fanfold: Fanfold, gate: Gate
) -> AsyncIterator[tuple[JobInput, Handle]]:
    job = await fanfold.record([[0], [1], [2]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1, 2)
        yield job, handle


@pytest.mark.parametrize(
    "shape", [CHILDREN, QUICK_CHILDREN, SHARDS], ids=["children", "quick", "shards"]
)
async def test_a_terminated_child_is_recorded_and_the_job_goes_on(
    fanfold: Fanfold, shape: Shape
) -> None:
    fanfold, gate = fanfold.shaped(shape), Gate()
    async with three_chunks_inside(fanfold, gate) as (job, handle):
        await fanfold.child(job, 1).terminate("by hand")
        # Recorded by the parent, at once: nobody waits for what the child left behind.
        await fanfold.until_state(job, 1, ChunkState.FAILED)
        gate.open()
        row = await fanfold.finished(handle)
        assert await fanfold.status(fanfold.child(job, 1)) is WorkflowExecutionStatus.TERMINATED
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert [entry["index"] for entry in await fanfold.result(job)] == [0, 2]
    chunk = (await fanfold.chunks(job))[1]
    assert chunk.error is not None
    assert chunk.error.type == FailureType.CHUNK_CLOSED_OUTSIDE
    assert "terminated outside" in chunk.error.message


async def test_a_child_cancelled_from_outside_is_recorded_and_the_job_goes_on(
    fanfold: Fanfold,
) -> None:
    gate = Gate()
    async with three_chunks_inside(fanfold, gate) as (job, handle):
        await fanfold.child(job, 1).cancel()
        await gate.until_inside(0, 2)
        await fanfold.until_state(job, 1, ChunkState.FAILED)
        gate.open()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    chunk = (await fanfold.chunks(job))[1]
    assert chunk.error is not None
    assert chunk.error.type == FailureType.CHUNK_CLOSED_OUTSIDE
    assert "cancelled outside" in chunk.error.message


async def test_a_chunk_whose_workflow_id_is_taken_is_recorded_as_failed(
    fanfold: Fanfold,
) -> None:
    job = await fanfold.record([[0], [1]], StageSpec(processor="double"))
    stranger = await fanfold.client.start_workflow(
        CHUNK_WORKFLOW,
        ChunkInput(job_id=job.job_id, index=1, stages=[]),
        id=chunk_workflow_id(job.job_id, 1),
        task_queue=CHUNK_TASK_QUEUE,
    )
    async with fanfold.working():
        await stranger.result()
        row = await fanfold.run(job)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.succeeded, row.counts.failed) == (1, 1)
    assert row.errors[0].type == FailureType.CHUNK_CLOSED_OUTSIDE
    assert "had run before" in row.errors[0].message


async def test_a_job_whose_every_child_was_terminated_fails(fanfold: Fanfold) -> None:
    gate = Gate()
    async with three_chunks_inside(fanfold, gate) as (job, handle):
        for index in range(3):
            await fanfold.child(job, index).terminate("by hand")
        row = await fanfold.finished(handle)
    assert row.state is JobState.FAILED
    assert row.counts.failed == 3


@pytest.mark.parametrize("by", ["terminate", "cancel"])
@pytest.mark.parametrize("shape", [SHARDS, BLOCKS], ids=["shards", "blocks"])
async def test_a_shard_closed_outside_fails_its_unfinished_chunks_alone(
    fanfold: Fanfold, shape: Shape, by: str
) -> None:
    fanfold, gate = fanfold.shaped(replace(shape, shard_chunks=3)), Gate()
    job = await fanfold.record([[n] for n in range(6)], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1, 2, 3, 4, 5)
        gate.let_go(1)
        await fanfold.until_state(job, 1, ChunkState.SUCCEEDED)
        shard = fanfold.shard(job, 0)
        await (shard.terminate("by hand") if by == "terminate" else shard.cancel())
        await fanfold.until_state(job, 0, ChunkState.FAILED)
        await fanfold.until_state(job, 2, ChunkState.FAILED)
        # What still ran of it hears of that, and could not change anything any more.
        await gate.until_inside(3, 4, 5)
        gate.open()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.succeeded, row.counts.failed) == (4, 2)
    assert [entry["index"] for entry in await fanfold.result(job)] == [1, 3, 4, 5]
    (errors,) = row.errors
    assert (errors.type, errors.count) == (FailureType.CHUNK_CLOSED_OUTSIDE, 2)
    assert f"{by}" in errors.message
    assert "shard" in errors.message


@pytest.mark.parametrize("shape", [SHARDS, BLOCKS], ids=["shards", "blocks"])
async def test_the_slots_of_a_closed_shard_go_to_the_next(fanfold: Fanfold, shape: Shape) -> None:
    fanfold, gate = fanfold.shaped(replace(shape, shard_chunks=2)), Gate()
    job = await fanfold.record(
        [[n] for n in range(6)], StageSpec(processor="gate"), max_concurrency=2
    )
    gate.let_go(2, 3, 4, 5)
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0)
        await fanfold.shard(job, 0).terminate("by hand")
        row = await fanfold.finished(handle)
    assert (row.counts.succeeded, row.counts.failed) == (4, 2)
