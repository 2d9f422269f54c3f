"""Blocks that end, or make way, while the job goes on; what they leave, and what they hear."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import (
    Controls,
    JobSpec,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.states import ChunkState
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Statement
from fanfold.processing import ProcessorContext
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
        spec = JobSpec(stages=(once,))
        tolerant = Controls(tolerated_failures=ToleranceSpec(count=0)).to_json(spec)
        await ledger.database.write(
            Statement("UPDATE jobs SET controls = ? WHERE id = ?", (tolerant, job_id)),
            Statement(
                "UPDATE chunks SET state = 'failed', items_failed = 1 WHERE job_id = ? AND idx = 2",
                (job_id,),
            ),
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
            "WHEN NEW.body = CAST('[13]' AS BLOB) BEGIN SELECT RAISE(ABORT, 'no thirteen'); END"
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
