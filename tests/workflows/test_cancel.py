"""Cancelling: no chunk starts after it, what is running stops, what is finished stays."""

import asyncio
import threading
import time

import pytest
from temporalio.client import WorkflowExecutionStatus

from fanfold.contract.job_spec import Execution, RetrySpec, StageSpec
from fanfold.contract.names import chunk_workflow_id
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import JobInput
from fanfold.processing import ProcessorContext
from fanfold.workers.workflows import children
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    QUICK_CHILDREN,
    SHARDS,
    Fanfold,
    Handle,
    Shape,
    event_names,
    until,
)
from tests.workflows.unsteady_ledger import UnsteadyLedger

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")
CANCELED = WorkflowExecutionStatus.CANCELED
ONE_SHAPE = pytest.mark.parametrize("shape", [CHILDREN], ids=["children"])


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    """The real server: how its cancellations travel is what this is about."""
    return fanfold_on_dev_server.shaped(shape)


async def cancel(fanfold: Fanfold, job: JobInput, handle: Handle) -> None:
    """Cancel as the gateway does: the ledger first, then the workflow."""
    assert await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
    await handle.cancel()


async def has_succeeded(fanfold: Fanfold, job: JobInput, count: int) -> bool:
    return (await fanfold.row(job.job.id)).counts.succeeded == count


async def has_child(handle: Handle) -> bool:
    """A child workflow for a chunk, or for a shard."""
    return "StartChildWorkflowExecutionInitiated" in await event_names(handle)


@ONE_SHAPE
async def test_a_job_cancelled_before_a_worker_sees_it_starts_no_child(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], StageSpec(processor="double"))
    handle = await fanfold.start(job)
    await cancel(fanfold, job, handle)
    async with fanfold.working():
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is CANCELED
        assert not await has_child(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.cancelled == 2


@ONE_SHAPE
async def test_a_job_cancelled_in_temporal_alone_is_closed_as_cancelled(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], StageSpec(processor="double"))
    handle = await fanfold.start(job)
    await handle.cancel()
    async with fanfold.working():
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.cancelled == 2


@ONE_SHAPE
async def test_a_job_cancelled_in_the_ledger_alone_starts_no_child(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], StageSpec(processor="double"))
    await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        assert not await has_child(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.cancelled == 2


@pytest.mark.parametrize(
    "shape",
    [CHILDREN, QUICK_CHILDREN, SHARDS.tuned(shard_chunks=4), BLOCKS, BLOCKS_IN_SHARDS],
    ids=["children", "quick", "shards", "blocks", "blocks in shards"],
)
async def test_cancel_stops_what_runs_and_keeps_what_is_finished(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(10)], GATED, max_concurrency=3)
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_begun(3)
        begun = gate.begun[:]
        gate.let_go(begun[0], begun[2])
        await gate.until_begun(5)
        await until(lambda: has_succeeded(fanfold, job, 2))
        running = sorted(gate.inside)
        await cancel(fanfold, job, handle)
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is CANCELED
        assert len(running) == 3
        if fanfold.shape.execution is Execution.WORKFLOW:
            ends = [await fanfold.status(fanfold.child(job, index)) for index in running]
            assert ends == [CANCELED] * 3
        assert len(gate.begun) == 5
        assert not gate.inside
    assert row.state is JobState.CANCELLED
    assert (row.counts.succeeded, row.counts.cancelled) == (2, 8)
    kept = [
        (chunk.index, output.body)
        async for chunk, output in ours(fanfold.ledger).chunks.stream(
            job.job.id, states=(ChunkState.SUCCEEDED,)
        )
    ]
    assert kept == [(index, b"[%d]" % index) for index in sorted([begun[0], begun[2]])]


async def test_a_chunk_between_two_attempts_is_cancelled_with_its_job(fanfold: Fanfold) -> None:
    retry = RetrySpec(initial_interval_seconds=60)
    stage = StageSpec(processor="double", options={"fail_attempts": 1}, retry=retry)
    job = await fanfold.record([[1]], stage)
    async with fanfold.working():
        handle = await fanfold.start(job)

        async def has_failed_once() -> bool:
            (chunk,) = await fanfold.chunks(job)
            return (chunk.state, chunk.attempts) == (ChunkState.PENDING, 1)

        await until(has_failed_once)
        await cancel(fanfold, job, handle)
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.cancelled == 1


async def test_a_chunk_that_breaks_while_it_is_cancelled_is_cancelled(fanfold: Fanfold) -> None:
    gate = Gate()

    async def break_after_gate(item: int, *, context: ProcessorContext) -> None:
        await gate.gate(item, context=context)
        raise ValueError("broken")

    job = await fanfold.record([[0]], StageSpec(processor="break_after_gate"))
    async with fanfold.working(break_after_gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0)
        await cancel(fanfold, job, handle)

        in_blocks = fanfold.shape.execution is Execution.ACTIVITY
        whose = handle if in_blocks else fanfold.child(job, 0)

        async def is_told() -> bool:
            return "ActivityTaskCancelRequested" in await event_names(whose)

        await until(is_told)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert (row.counts.failed, row.counts.cancelled) == (0, 1)


@ONE_SHAPE
async def test_a_cancel_while_a_child_is_started_waits_for_all_children(
    fanfold: Fanfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, is_starting_last = Gate(), threading.Event()

    def slow_at_last(job_id: str, index: int) -> str:
        if index == 3 and not is_starting_last.is_set():
            is_starting_last.set()
            time.sleep(0.5)  # the workflow task lasts until the cancellation has arrived
        return chunk_workflow_id(job_id, index)

    monkeypatch.setattr(children, "chunk_workflow_id", slow_at_last)
    job = await fanfold.record([[n] for n in range(5)], GATED, max_concurrency=3)
    async with fanfold.working(gate.gate, sandbox=False), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1, 2)
        gate.let_go(2)
        await asyncio.to_thread(is_starting_last.wait)
        await cancel(fanfold, job, handle)
        row = await fanfold.finished(handle)
        names = await event_names(handle)
        assert names.count("StartChildWorkflowExecutionInitiated") == 4
        statuses = [await fanfold.status(fanfold.child(job, n)) for n in (0, 1, 3)]
    # The last one may find its job cancelling before it hears of that itself.
    assert statuses[:2] == [CANCELED] * 2
    assert statuses[2] in {CANCELED, WorkflowExecutionStatus.COMPLETED}
    assert (row.counts.succeeded, row.counts.cancelled) == (1, 4)


@ONE_SHAPE
async def test_a_cancel_while_the_job_closes_does_not_stop_the_closing(fanfold: Fanfold) -> None:
    unsteady = UnsteadyLedger(fanfold.ledger)
    closing = unsteady.hold("closing.counts")
    job = await fanfold.record([[1]], StageSpec(processor="double"))
    async with fanfold.working(ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await closing.has_begun.wait()
        await handle.cancel()
        await handle.cancel()
        closing.may_go_on.set()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.SUCCEEDED
    assert await fanfold.result(job) == [{"index": 0, "result": [2]}]


@ONE_SHAPE
async def test_an_acknowledged_cancel_wins_over_a_job_about_to_close(fanfold: Fanfold) -> None:
    unsteady = UnsteadyLedger(fanfold.ledger)
    closing = unsteady.hold("closing.counts")
    job = await fanfold.record([[1]], StageSpec(processor="double"))
    async with fanfold.working(ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await closing.has_begun.wait()
        await cancel(fanfold, job, handle)
        closing.may_go_on.set()
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.succeeded == 1


async def test_cancelling_twice_is_cancelling_once(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[0], [1]], GATED)
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1)
        await cancel(fanfold, job, handle)
        await handle.cancel()
        row = await fanfold.finished(handle)
        names = await event_names(handle)
    assert row.state is JobState.CANCELLED
    assert row.counts.cancelled == 2
    # Besides those of a job that runs its blocks itself: it was closed once.
    blocks = 0 if fanfold.shape.execution is Execution.WORKFLOW else 1
    assert names.count("ActivityTaskScheduled") == 1 + 2 * blocks


@pytest.mark.parametrize("shape", [SHARDS, BLOCKS_IN_SHARDS], ids=["shards", "blocks"])
async def test_no_shard_starts_after_a_cancel(fanfold: Fanfold, shape: Shape) -> None:
    fanfold, gate = fanfold.shaped(shape.tuned(shard_chunks=1)), Gate()
    job = await fanfold.record([[n] for n in range(6)], GATED, max_concurrency=2)
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1)
        await cancel(fanfold, job, handle)
        row = await fanfold.finished(handle)
        names = await event_names(handle)
        shards = names.count("StartChildWorkflowExecutionInitiated")
        assert shards == (1 if fanfold.shape.execution is Execution.ACTIVITY else 2)
        ends = [await fanfold.status(fanfold.shard(job, number)) for number in range(shards)]
    assert ends == [CANCELED] * shards
    assert row.counts.cancelled == 6
