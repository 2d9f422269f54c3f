"""The activity that runs a block of chunks: which it claims, and what it records of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import (
    RetrySpec,
    StageSpec,
)
from fanfold.contract.states import ChunkState
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Statement
from fanfold.processing import ProcessorContext
from tests.ledger.jobs_recorded import ours
from tests.workflows.blocks_alone import begin, block, chunks_of, running_job, worker
from tests.workflows.gate import Gate
from tests.workflows.running import until

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")
GATED_ONCE = StageSpec(processor="gate", retry=RetrySpec(max_attempts=1))


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with connect(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


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
    counts = await ours(ledger).closing.settle(job_id, run=1)
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
        await ours(ledger).closing.settle(job_id, run=1)
        await ledger.database.write(*[_delete(table, job_id) for table in ("chunks", "jobs")])
        gate.open()
        assert (await outcome).more_in_seconds is None
        assert gate.begun == [0]
        with pytest.raises(ApplicationError) as refused:
            await begin(worker(ledger, gate.gate), given)[1]
    assert (refused.value.type, refused.value.non_retryable) == ("NoSuchJob", True)


def _delete(table: str, job_id: str) -> Statement:
    column = "id" if table == "jobs" else "job_id"
    return Statement(f"DELETE FROM {table} WHERE {column} = ?", (job_id,))
