"""The activity that runs a block of chunks, called as a worker calls it, with no server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from contract.failures import FailureType
from contract.job_spec import Execution, JobSpec, RetrySpec, StageSpec
from contract.names import DEFAULT_TENANT, new_job_id
from contract.states import ChunkState
from contract.wire import BlockInput, BlockOutcome, indexes_of, ranges_of
from ledger.connect import Ledger, connect
from ledger.database import Statement
from ledger.records import ChunkRecord, NewChunk
from tests.workflows.gate import Gate
from workers.activities.block import BlockActivities
from workers.attempts import Attempts
from workers.processor import Processor, ProcessorContext
from workers.registry import Registry
from workers.slots import Slots

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")
GATED_ONCE = StageSpec(processor="gate", retry=RetrySpec(max_attempts=1))


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with connect(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def worker(ledger: Ledger, *processors: Callable[..., Any], slots: int = 50) -> BlockActivities:
    """What a worker process has of its own."""
    registry = Registry()
    for function in processors:
        registry.processors[function.__name__] = Processor(function)
    attempts = Attempts(ledger, registry.processors, max_result_bytes=1024)
    return BlockActivities(ledger.chunks, attempts, Slots(slots))


async def running_job(ledger: Ledger, chunks: int, *stages: StageSpec) -> str:
    spec = JobSpec(
        name=None,
        stages=stages,
        is_staged=len(stages) > 1,
        reducer=None,
        execution=Execution.ACTIVITY,
        max_concurrency=50,
        tolerated_failures=None,
        labels={},
    )
    job_id = new_job_id()
    bodies = [NewChunk(item_count=1, body=b"[%d]" % index) for index in range(chunks)]
    await ledger.jobs.create(job_id=job_id, tenant=DEFAULT_TENANT, spec=spec, chunks=bodies)
    await ledger.jobs.open(job_id)
    return job_id


def block(job_id: str, chunks: int, *, width: int) -> BlockInput:
    return BlockInput(job_id=job_id, ranges=ranges_of(range(chunks)), width=width)


def begin(
    activities: BlockActivities, given: BlockInput, *, attempt: int = 1
) -> tuple[ActivityEnvironment, "asyncio.Future[BlockOutcome]"]:
    """Start the activity; its environment, which can cancel it, and its outcome."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    return environment, asyncio.ensure_future(environment.run(activities.run_block, given))


async def chunks_of(ledger: Ledger, job_id: str) -> list[ChunkRecord]:
    return await ledger.chunks.page(job_id, state=None, after=-1, limit=1000)


def put_off(outcome: BlockOutcome) -> dict[float, list[int]]:
    return {group.seconds: indexes_of(group.ranges) for group in outcome.put_off}


async def test_a_block_whose_worker_died_goes_on_where_it_was(ledger: Ledger) -> None:
    gate, after = Gate(), Gate()
    job_id = await running_job(ledger, 6, GATED)
    async with gate, after:
        _, dying = begin(worker(ledger, gate.gate), block(job_id, 6, width=2))
        await gate.until_inside(0, 1)
        gate.let_go(0)
        await gate.until_inside(1, 2)
        # The other worker knows nothing of the first, which may still be running.
        after.open()
        _, outcome = begin(worker(ledger, after.gate), block(job_id, 6, width=2), attempt=2)
        assert put_off(await outcome) == {}
        assert after.begun == [1, 2, 3, 4, 5]
        chunks = await chunks_of(ledger, job_id)
        gate.open()
        await dying
    assert [chunk.attempts for chunk in chunks] == [1, 2, 2, 1, 1, 1]
    assert {chunk.state for chunk in chunks} == {ChunkState.SUCCEEDED}
    assert await chunks_of(ledger, job_id) == chunks
    assert sorted(gate.begun) == [0, 1, 2]


async def test_a_chunk_whose_worker_dies_in_its_last_attempt_is_lost_alone(
    ledger: Ledger,
) -> None:
    gate, after = Gate(), Gate()
    job_id = await running_job(ledger, 3, GATED_ONCE)
    async with gate, after:
        _, dying = begin(worker(ledger, gate.gate), block(job_id, 3, width=1))
        await gate.until_inside(0)
        after.open()
        _, outcome = begin(worker(ledger, after.gate), block(job_id, 3, width=1), attempt=2)
        await outcome
        gate.open()
        await dying
    first, *others = await chunks_of(ledger, job_id)
    assert (first.state, first.attempts) == (ChunkState.FAILED, 1)
    assert first.error is not None
    assert first.error.type == FailureType.WORKER_LOST
    assert [(chunk.state, chunk.attempts) for chunk in others] == [(ChunkState.SUCCEEDED, 1)] * 2
    assert after.begun == [1, 2]


async def test_a_worker_that_comes_back_begins_no_chunk_of_a_block_that_another_has(
    ledger: Ledger,
) -> None:
    gate, after = Gate(), Gate()
    job_id = await running_job(ledger, 4, GATED_ONCE)
    async with gate, after:
        _, zombie = begin(worker(ledger, gate.gate), block(job_id, 4, width=1))
        await gate.until_inside(0)
        _, outcome = begin(worker(ledger, after.gate), block(job_id, 4, width=1), attempt=2)
        await after.until_inside(1)  # chunk 0 was lost with the worker that ran it
        gate.open()
        await zombie
        assert gate.begun == [0]
        after.open()
        await outcome
    states = [chunk.state for chunk in await chunks_of(ledger, job_id)]
    assert states == ["failed", "succeeded", "succeeded", "succeeded"]


async def test_a_stage_that_is_done_is_not_repeated_by_another_worker(ledger: Ledger) -> None:
    gate, after, first_stage = Gate(), Gate(), list[int]()

    def note(item: int) -> int:
        first_stage.append(item)
        return item + 10

    job_id = await running_job(ledger, 1, StageSpec(processor="note"), GATED)
    async with gate, after:
        _, dying = begin(worker(ledger, note, gate.gate), block(job_id, 1, width=1))
        await gate.until_inside(0)
        after.open()
        await begin(worker(ledger, note, after.gate), block(job_id, 1, width=1), attempt=2)[1]
        gate.open()
        await dying
    assert first_stage == [0]
    ((_, output),) = [pair async for pair in ledger.chunks.stream(job_id)]
    assert output.body == b"[10]"


async def test_more_lanes_than_slots_cost_no_attempt(ledger: Ledger) -> None:
    gate = Gate()
    gate.open()
    job_id = await running_job(ledger, 7, GATED_ONCE)
    _, outcome = begin(worker(ledger, gate.gate, slots=1), block(job_id, 7, width=5))
    assert put_off(await outcome) == {}
    assert gate.most_inside == 1
    assert [(chunk.state, chunk.attempts) for chunk in await chunks_of(ledger, job_id)] == [
        (ChunkState.SUCCEEDED, 1)
    ] * 7


async def test_the_blocks_of_a_worker_share_its_slots_fairly(ledger: Ledger) -> None:
    first, second = Gate(), Gate()

    async def gate_too(item: Any, *, context: ProcessorContext) -> Any:
        assert len(first.inside) + len(second.inside) < 4
        return await second.gate(item, context=context)

    activities = worker(ledger, first.gate, gate_too, slots=4)
    one = await running_job(ledger, 12, GATED)
    other = await running_job(ledger, 12, StageSpec(processor="gate_too"))
    async with first, second:
        _, of_one = begin(activities, block(one, 12, width=4))
        await first.until_full(4)
        _, of_other = begin(activities, block(other, 12, width=4))
        await asyncio.sleep(0.05)
        assert not second.inside
        # Who waits goes first: each slot that comes free changes hands.
        first.let_go(0, 1)
        await second.until_full(2)
        await first.until_full(2)
        first.open()
        second.open()
        await asyncio.gather(of_one, of_other)
    for job_id in (one, other):
        assert [(chunk.state, chunk.attempts) for chunk in await chunks_of(ledger, job_id)] == [
            (ChunkState.SUCCEEDED, 1)
        ] * 12


async def test_what_is_done_does_not_wait_for_a_slot_to_be_recorded(ledger: Ledger) -> None:
    gate = Gate()
    activities = worker(ledger, gate.gate, slots=1)
    one, other = await running_job(ledger, 2, GATED), await running_job(ledger, 5, GATED)
    async with gate:
        _, of_one = begin(activities, block(one, 1, width=1))
        await gate.until_begun(1)
        _, of_other = begin(activities, block(other, 5, width=1))
        await asyncio.sleep(0.05)
        gate.let_go(0)
        await of_one
        assert (await chunks_of(ledger, one))[0].state is ChunkState.SUCCEEDED
        gate.open()
        await of_other


async def test_a_block_of_a_job_that_is_cancelled_starts_no_further_chunk(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 5, GATED)
    async with gate:
        environment, outcome = begin(worker(ledger, gate.gate), block(job_id, 5, width=2))
        await gate.until_inside(0, 1)
        await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
        environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome
        assert gate.begun == [0, 1]
        assert not gate.inside
    counts = await ledger.jobs.settle(job_id)
    assert (counts.cancelled, counts.running) == (5, 0)


async def test_a_block_that_finds_its_job_cancelled_ends_by_itself(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 5, GATED)
    async with gate:
        _, outcome = begin(worker(ledger, gate.gate), block(job_id, 5, width=1))
        await gate.until_inside(0)
        await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
        gate.let_go(0)
        assert put_off(await outcome) == {}
    states = [chunk.state for chunk in await chunks_of(ledger, job_id)]
    assert states == [ChunkState.SUCCEEDED, *[ChunkState.PENDING] * 4]


async def test_a_block_of_a_job_that_is_gone_runs_nothing(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 3, GATED)
    activities = worker(ledger, gate.gate)
    async with gate:
        _, outcome = begin(activities, block(job_id, 3, width=1))
        await gate.until_inside(0)
        await ledger.jobs.settle(job_id)
        await ledger.database.write(*[_delete(table, job_id) for table in ("chunks", "jobs")])
        gate.open()
        assert put_off(await outcome) == {}
        assert gate.begun == [0]
        with pytest.raises(ApplicationError) as refused:
            await begin(worker(ledger, gate.gate), block(job_id, 3, width=1))[1]
    assert (refused.value.type, refused.value.non_retryable) == ("NoSuchJob", True)


async def test_a_stopping_worker_gives_back_what_it_has_not_done_and_what_it_put_off(
    ledger: Ledger,
) -> None:
    gate = Gate()

    async def fail_at_zero(item: int, *, context: ProcessorContext) -> int:
        if item == 0:
            raise ConnectionError("not now")
        result: int = await gate.gate(item, context=context)
        return result

    retry = RetrySpec(max_attempts=3, initial_interval_seconds=3600, max_interval_seconds=3600)
    job_id = await running_job(ledger, 5, StageSpec(processor="fail_at_zero", retry=retry))
    async with gate:
        environment, outcome = begin(worker(ledger, fail_at_zero), block(job_id, 5, width=2))
        await gate.until_inside(1, 2)
        environment.worker_shutdown()
        gate.let_go(1)  # within the grace
        await gate.until_inside(2)
        environment.cancel()  # past it
        assert put_off(await outcome) == {3600.0: [0], 0.0: [2, 3, 4]}
    chunks = await chunks_of(ledger, job_id)
    assert [(chunk.state, chunk.attempts) for chunk in chunks] == [
        (ChunkState.PENDING, 1),
        (ChunkState.SUCCEEDED, 1),
        *[(ChunkState.PENDING, 0)] * 3,
    ]


async def test_chunks_put_off_are_grouped_by_how_long(ledger: Ledger) -> None:
    retry = RetrySpec(max_attempts=9, initial_interval_seconds=10, max_interval_seconds=15)
    stage = StageSpec(processor="double", options={"fail_attempts": 9}, retry=retry)
    job_id = await running_job(ledger, 6, stage)
    activities = worker(ledger)
    given = block(job_id, 3, width=3)
    assert put_off(await begin(activities, given)[1]) == {10.0: [0, 1, 2]}
    given = block(job_id, 6, width=3)
    assert put_off(await begin(activities, given)[1]) == {15.0: [0, 1, 2], 10.0: [3, 4, 5]}


def _delete(table: str, job_id: str) -> Statement:
    column = "id" if table == "jobs" else "job_id"
    return Statement(f"DELETE FROM {table} WHERE {column} = ?", (job_id,))
