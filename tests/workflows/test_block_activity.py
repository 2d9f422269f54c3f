"""The activity that runs a block of chunks, called as a worker calls it, with no server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from contract.failures import FailureType
from contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from contract.names import DEFAULT_TENANT, JobId, new_job_id
from contract.states import ChunkState
from contract.wire import BlockInput, BlockOutcome, JobRef
from ledger.connect import Ledger, connect
from ledger.database import Statement
from ledger.recording import NewJob
from ledger.records import ChunkRecord, NewChunk
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import until
from workers.activities.block import BlockActivities
from workers.attempts import Attempts
from workers.processor import Processor, ProcessorContext
from workers.registry import Registry
from workers.worker_slots import WorkerSlots

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
    return BlockActivities(ledger, attempts, WorkerSlots(slots))


async def running_job(ledger: Ledger, chunks: int, *stages: StageSpec) -> JobId:
    spec = JobSpec(stages=stages, is_staged=len(stages) > 1, execution=Execution.ACTIVITY)
    job_id = new_job_id()
    bodies = [NewChunk(item_count=1, body=b"[%d]" % index) for index in range(chunks)]
    job = NewJob(id=job_id, spec=spec, controls=Controls())
    await ours(ledger).recording.record(job, bodies)
    await ours(ledger).jobs.open(job_id)
    return job_id


def block(ledger: Ledger, job_id: JobId, *, lanes: int, number: int = 1) -> BlockInput:
    ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=ledger.id)
    return BlockInput(job=ref, block=number, lanes=lanes, seconds=20.0)


def begin(
    activities: BlockActivities, given: BlockInput, *, attempt: int = 1
) -> tuple[ActivityEnvironment, "asyncio.Future[BlockOutcome]"]:
    """Start the activity; its environment, which can cancel it, and its outcome."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    return environment, asyncio.ensure_future(environment.run(activities.run_block, given))


async def chunks_of(ledger: Ledger, job_id: JobId) -> list[ChunkRecord]:
    return await ours(ledger).chunks.page(job_id, state=None, after=-1, limit=1000)


async def test_a_block_whose_worker_died_takes_back_what_that_had_begun(ledger: Ledger) -> None:
    gate, after = Gate(), Gate()
    job_id = await running_job(ledger, 6, GATED)
    given = block(ledger, job_id, lanes=2)
    async with gate, after:
        _, dying = begin(worker(ledger, gate.gate), given)
        await gate.until_inside(0, 1)
        gate.let_go(0)
        await gate.until_inside(1, 2)
        # The other worker knows nothing of the first, which may still be running.
        after.open()
        _, outcome = begin(worker(ledger, after.gate), given, attempt=2)
        assert (await outcome).more_in_seconds is None
        assert sorted(after.begun) == [1, 2, 3, 4, 5]
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
    given = block(ledger, job_id, lanes=1)
    async with gate, after:
        _, dying = begin(worker(ledger, gate.gate), given)
        await gate.until_inside(0)
        after.open()
        await begin(worker(ledger, after.gate), given, attempt=2)[1]
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
    given = block(ledger, job_id, lanes=1)
    async with gate, after:
        _, zombie = begin(worker(ledger, gate.gate), given)
        await gate.until_inside(0)
        _, outcome = begin(worker(ledger, after.gate), given, attempt=2)
        await after.until_inside(1)  # chunk 0 was lost with the worker that ran it
        gate.open()
        await zombie
        assert gate.begun == [0]
        after.open()
        await outcome
    states = [chunk.state for chunk in await chunks_of(ledger, job_id)]
    assert states == ["failed", "succeeded", "succeeded", "succeeded"]


async def test_blocks_share_a_job_s_chunks_and_none_runs_in_two(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 9, GATED_ONCE)
    async with gate:
        outcomes = [
            begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=3, number=number))[1]
            for number in (1, 2)
        ]
        await gate.until_full(6)
        gate.open()
        await asyncio.gather(*outcomes)
    assert sorted(gate.begun) == list(range(9))


async def test_a_stage_that_is_done_is_not_repeated_by_another_worker(ledger: Ledger) -> None:
    gate, after, first_stage = Gate(), Gate(), list[int]()

    def note(item: int) -> int:
        first_stage.append(item)
        return item + 10

    job_id = await running_job(ledger, 1, StageSpec(processor="note"), GATED)
    given = block(ledger, job_id, lanes=1)
    async with gate, after:
        _, dying = begin(worker(ledger, note, gate.gate), given)
        await gate.until_inside(0)
        after.open()
        await begin(worker(ledger, note, after.gate), given, attempt=2)[1]
        gate.open()
        await dying
    assert first_stage == [0]
    ((_, output),) = [pair async for pair in ours(ledger).chunks.stream(job_id)]
    assert output.body == b"[10]"


async def test_more_lanes_than_slots_cost_no_attempt(ledger: Ledger) -> None:
    gate = Gate()
    gate.open()
    job_id = await running_job(ledger, 7, GATED_ONCE)
    await begin(worker(ledger, gate.gate, slots=1), block(ledger, job_id, lanes=5))[1]
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
        _, of_one = begin(activities, block(ledger, one, lanes=4))
        await first.until_full(4)
        _, of_other = begin(activities, block(ledger, other, lanes=4))
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
        _, of_one = begin(activities, block(ledger, one, lanes=1))
        await gate.until_begun(1)
        _, of_other = begin(activities, block(ledger, other, lanes=1))
        await asyncio.sleep(0.05)
        gate.let_go(0)
        await gate.until_begun(2)

        async def is_recorded() -> bool:
            return (await chunks_of(ledger, one))[0].state is ChunkState.SUCCEEDED

        await until(is_recorded)
        gate.open()
        await asyncio.gather(of_one, of_other)


async def test_a_block_of_a_job_that_is_cancelled_starts_no_further_chunk(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 5, GATED)
    async with gate:
        environment, outcome = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=2))
        await gate.until_inside(0, 1)
        await ours(ledger).jobs.request_cancel(job_id)
        environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome
        assert sorted(gate.begun) == [0, 1]
        assert not gate.inside
    counts = await ours(ledger).closing.settle(job_id)
    assert (counts.cancelled, counts.running) == (5, 0)


async def test_a_block_that_finds_its_job_cancelled_ends_by_itself(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 5, GATED)
    async with gate:
        _, outcome = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=1))
        await gate.until_inside(0)
        await ours(ledger).jobs.request_cancel(job_id)
        gate.let_go(0)
        assert (await outcome).more_in_seconds is None
    states = [chunk.state for chunk in await chunks_of(ledger, job_id)]
    assert states == [ChunkState.SUCCEEDED, *[ChunkState.PENDING] * 4]


async def test_a_block_of_a_job_that_is_gone_runs_nothing(ledger: Ledger) -> None:
    gate = Gate()
    job_id = await running_job(ledger, 3, GATED)
    given = block(ledger, job_id, lanes=1)
    async with gate:
        _, outcome = begin(worker(ledger, gate.gate), given)
        await gate.until_inside(0)
        await ours(ledger).closing.settle(job_id)
        await ledger.database.write(*[_delete(table, job_id) for table in ("chunks", "jobs")])
        gate.open()
        assert (await outcome).more_in_seconds is None
        assert gate.begun == [0]
        with pytest.raises(ApplicationError) as refused:
            await begin(worker(ledger, gate.gate), given)[1]
    assert (refused.value.type, refused.value.non_retryable) == ("NoSuchJob", True)


async def test_a_stopping_worker_gives_back_what_it_has_not_done(ledger: Ledger) -> None:
    gate = Gate()

    async def fail_at_zero(item: int, *, context: ProcessorContext) -> int:
        if item == 0:
            raise ConnectionError("not now")
        result: int = await gate.gate(item, context=context)
        return result

    retry = RetrySpec(max_attempts=3, initial_interval_seconds=3600, max_interval_seconds=3600)
    job_id = await running_job(ledger, 5, StageSpec(processor="fail_at_zero", retry=retry))
    async with gate:
        environment, outcome = begin(worker(ledger, fail_at_zero), block(ledger, job_id, lanes=2))
        await gate.until_inside(1, 2)
        environment.worker_shutdown()
        gate.let_go(1)  # within the grace
        await gate.until_inside(2)
        environment.cancel()  # past it
        assert (await outcome).more_in_seconds == 0
    chunks = await chunks_of(ledger, job_id)
    assert [(chunk.state, chunk.attempts) for chunk in chunks] == [
        (ChunkState.PENDING, 1),
        (ChunkState.SUCCEEDED, 1),
        *[(ChunkState.PENDING, 0)] * 3,
    ]


async def test_a_block_says_when_there_is_more_to_do(ledger: Ledger) -> None:
    retry = RetrySpec(max_attempts=9, initial_interval_seconds=100, max_interval_seconds=1000)
    stage = StageSpec(processor="double", options={"fail_attempts": 9}, retry=retry)
    job_id = await running_job(ledger, 6, stage)
    outcome = await begin(worker(ledger), block(ledger, job_id, lanes=3))[1]
    assert outcome.more_in_seconds is not None
    assert 60 < outcome.more_in_seconds <= 100


async def test_idle_lanes_take_up_what_comes_back_to_the_ledger(ledger: Ledger) -> None:
    """A block with a free lane waits for a busy one, and meanwhile looks again."""
    gate = Gate()
    job_id = await running_job(ledger, 2, GATED)
    async with gate:
        _, one = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=1))
        await gate.until_inside(0)
        stopping, other = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=2, number=2))
        await gate.until_inside(0, 1)
        stopping.worker_shutdown()
        stopping.cancel()
        assert (await other).more_in_seconds == 0
        _, third = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=2, number=3))
        await gate.until_begun(3)
        gate.open()
        await asyncio.gather(one, third)
    assert [chunk.attempts for chunk in await chunks_of(ledger, job_id)] == [1, 1]


async def test_a_block_makes_way_once_its_time_is_over(ledger: Ledger) -> None:
    async def take_a_while(item: int) -> int:
        await asyncio.sleep(0.002)
        return item

    job_id = await running_job(ledger, 500, StageSpec(processor="take_a_while"))
    given = replace(block(ledger, job_id, lanes=2), seconds=0.1)
    began = time.monotonic()
    outcome = await begin(worker(ledger, take_a_while), given)[1]
    assert outcome.more_in_seconds == 0
    assert time.monotonic() - began >= 0.1
    done = [chunk for chunk in await chunks_of(ledger, job_id) if chunk.state.is_terminal]
    assert 2 <= len(done) < 500
    # Nothing is left half-way: others go on with the very next chunk.
    assert [chunk.index for chunk in done] == list(range(len(done)))


async def test_a_change_of_the_job_holds_for_the_next_attempt_of_a_running_block(
    ledger: Ledger,
) -> None:
    """What a worker remembers of a job goes by its revision."""
    gate = Gate()
    once = StageSpec(processor="gate", options={}, retry=RetrySpec(max_attempts=1))
    job_id = await running_job(ledger, 3, once)
    async with gate:
        _, outcome = begin(worker(ledger, gate.gate), block(ledger, job_id, lanes=1))
        await gate.until_inside(0)
        tolerant = Controls(tolerated_failures=ToleranceSpec(count=0)).to_json()
        await ledger.database.write(
            Statement("UPDATE jobs SET controls = ? WHERE id = ?", (tolerant, job_id)),
            Statement("UPDATE chunks SET state = 'failed' WHERE job_id = ? AND idx = 2", (job_id,)),
        )
        gate.open()
        assert (await outcome).is_tolerance_exceeded
    assert gate.begun == [0, 1]


@pytest.mark.parametrize("lanes", [1, 3])
async def test_what_the_ledger_refuses_fails_its_chunk_and_no_other(
    ledger: Ledger, lanes: int
) -> None:
    await ledger.database.write(
        Statement(
            "CREATE TRIGGER no_thirteen BEFORE INSERT ON results "
            "WHEN NEW.body = CAST('[13]' AS BLOB) "
            "BEGIN SELECT RAISE(ABORT, 'no thirteen'); END"
        )
    )

    def plus_ten(item: int) -> int:
        return item + 10

    job_id = await running_job(ledger, 6, StageSpec(processor="plus_ten"))
    outcome = await begin(worker(ledger, plus_ten), block(ledger, job_id, lanes=lanes))[1]
    assert outcome.more_in_seconds is None
    chunks = await chunks_of(ledger, job_id)
    assert [chunk.index for chunk in chunks if chunk.state is ChunkState.SUCCEEDED] == [
        *(0, 1, 2),
        *(4, 5),
    ]
    refused = chunks[3]
    assert refused.error is not None
    assert refused.error.type == FailureType.INVALID_RESULT


async def test_a_block_that_makes_way_breaks_nothing_off(ledger: Ledger) -> None:
    """Lanes with nothing to do end at once, those that run something with its end."""
    gate = Gate()

    async def wait_at_zero(item: int, *, context: ProcessorContext) -> int:
        if item == 0:
            await gate.gate(item, context=context)
        await asyncio.sleep(0.005)
        return item

    job_id = await running_job(ledger, 41, StageSpec(processor="wait_at_zero"))
    given = replace(block(ledger, job_id, lanes=4), seconds=0.01)
    async with gate:
        _, outcome = begin(worker(ledger, wait_at_zero), given)

        async def are_the_others_done() -> bool:
            chunks = await chunks_of(ledger, job_id)
            return all(chunk.state.is_terminal for chunk in chunks[1:])

        activities = worker(ledger, wait_at_zero)
        await begin(activities, replace(given, block=2, seconds=20.0, lanes=2))[1]
        await until(are_the_others_done)
        gate.open()
        await outcome
    assert {chunk.state for chunk in await chunks_of(ledger, job_id)} == {ChunkState.SUCCEEDED}
    assert gate.begun == [0]


def _delete(table: str, job_id: str) -> Statement:
    column = "id" if table == "jobs" else "job_id"
    return Statement(f"DELETE FROM {table} WHERE {column} = ?", (job_id,))
