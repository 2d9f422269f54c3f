"""Children closed behind the job's back: recorded as such, and the job goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio.client import WorkflowExecutionStatus

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import StageSpec
from fanfold.contract.names import CHUNK_WORKFLOW, chunk_task_queue, chunk_workflow_id
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import ChunkInput, JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS_IN_SHARDS,
    CHILDREN,
    QUICK_CHILDREN,
    SHARDS,
    Fanfold,
    Handle,
    Shape,
)

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


async def test_a_chunk_whose_workflow_id_is_taken_is_offered_again_until_it_is_free(
    fanfold: Fanfold,
) -> None:
    job = await fanfold.record([[0], [1]], StageSpec(processor="double"))
    await fanfold.client.start_workflow(
        CHUNK_WORKFLOW,
        ChunkInput(job=job.job, index=1, stages=[]),
        id=chunk_workflow_id(job.job.id, 1),
        task_queue=chunk_task_queue("of nobody"),
    )
    stranger = fanfold.child(job, 1)
    async with fanfold.working():
        handle = await fanfold.start(job)
        await fanfold.until_state(job, 0, ChunkState.SUCCEEDED)
        await stranger.terminate("in the way")
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1, 1]


async def test_a_chunk_that_can_never_be_started_fails_and_the_job_ends(fanfold: Fanfold) -> None:
    job = await fanfold.record([[0], [1]], StageSpec(processor="double"))
    await fanfold.client.start_workflow(
        CHUNK_WORKFLOW,
        ChunkInput(job=job.job, index=1, stages=[]),
        id=chunk_workflow_id(job.job.id, 1),
        task_queue=chunk_task_queue("of nobody"),
    )
    async with fanfold.working():
        row = await fanfold.run(job)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.succeeded, row.counts.failed) == (1, 1)
    assert row.errors[0].type == FailureType.CHUNK_CLOSED_OUTSIDE
    assert "again and again" in row.errors[0].message


async def test_a_job_whose_every_child_was_terminated_fails(fanfold: Fanfold) -> None:
    gate = Gate()
    async with three_chunks_inside(fanfold, gate) as (job, handle):
        for index in range(3):
            await fanfold.child(job, index).terminate("by hand")
        row = await fanfold.finished(handle)
    assert row.state is JobState.FAILED
    assert row.counts.failed == 3


@pytest.mark.parametrize("by", ["terminate", "cancel"])
@pytest.mark.parametrize(
    "shape", [SHARDS.tuned(shard_chunks=3), BLOCKS_IN_SHARDS], ids=["shards", "blocks"]
)
async def test_what_a_shard_closed_outside_had_to_do_is_offered_again(
    fanfold: Fanfold, shape: Shape, by: str
) -> None:
    fanfold, gate = fanfold.shaped(shape), Gate()
    job = await fanfold.record([[n] for n in range(6)], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1, 2, 3, 4, 5)
        gate.let_go(1)
        await fanfold.until_state(job, 1, ChunkState.SUCCEEDED)
        shard = fanfold.shard(job, 0)
        await (shard.terminate("by hand") if by == "terminate" else shard.cancel())
        # Those that ran in it hear of that and stop; then they run once more.
        gate.let_go(3, 4, 5)
        await gate.until_begun(8)
        gate.open()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.SUCCEEDED
    assert row.counts.succeeded == 6
    assert [entry["index"] for entry in await fanfold.result(job)] == list(range(6))
    # What was broken off is not the chunks' fault.
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {1}


@pytest.mark.parametrize("shape", [SHARDS, BLOCKS_IN_SHARDS], ids=["shards", "blocks"])
async def test_the_slots_of_a_closed_shard_go_to_others(fanfold: Fanfold, shape: Shape) -> None:
    fanfold, gate = fanfold.shaped(shape), Gate()
    job = await fanfold.record(
        [[n] for n in range(6)], StageSpec(processor="gate"), max_concurrency=2
    )
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1)
        await fanfold.shard(job, 0).terminate("by hand")
        gate.let_go(2, 3, 4, 5)
        # With the slots of the one that is gone, which others would they have?
        await gate.until_begun(3)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert row.counts.succeeded == 6
    assert gate.most_inside <= 4  # what was cut off may not have heard of it yet
