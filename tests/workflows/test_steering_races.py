"""Controls that arrive at an awkward moment: none is lost, and none undoes another."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import OnFailure, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.starting import Places
from fanfold.processing import ValidationError
from tests.ledger.jobs_recorded import ours
from tests.ledger.raw_sql import rows
from tests.workflows.gate import Gate
from tests.workflows.gateways import gateway
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    ONE_ATTEMPT,
    Fanfold,
    Shape,
)
from tests.workflows.unsteady_ledger import Held, UnsteadyLedger

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The real server: controls come by signals and cancellations, as it orders them."""
    return fanfold_on_dev_server


async def fails(item: int) -> int:
    """Never succeeds."""
    await asyncio.sleep(0)
    raise ValidationError(f"{item} is no good")


HELD = StageSpec(processor="fails", retry=ONE_ATTEMPT)
GATED = StageSpec(processor="gate")


def answer_held(unsteady: UnsteadyLedger) -> Held:
    """The workflow hears only later that its job waits."""
    held, closing = Held(), ours(unsteady.ledger).closing
    wait = closing.wait

    async def wait_long(job_id: JobId) -> Any:
        answer = await wait(job_id)
        held.has_begun.set()
        await held.may_go_on.wait()
        return answer

    closing.wait = wait_long  # type: ignore[method-assign]
    return held


@pytest.mark.parametrize("reducer", ["collect", None])
async def test_a_cancel_is_heard_that_comes_while_the_job_is_found_to_wait(
    fanfold: Fanfold, reducer: str | None
) -> None:
    job = await fanfold.record([[1]], HELD, on_failure=OnFailure.HOLD, reducer=reducer)
    unsteady = UnsteadyLedger(fanfold.ledger)
    held = answer_held(unsteady)
    async with fanfold.working(fails, ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await held.has_begun.wait()
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
        await handle.cancel()
        await asyncio.sleep(0.5)
        held.may_go_on.set()
        row = await fanfold.finished(handle, patience_seconds=5)
    assert row.state is JobState.CANCELLED


async def test_a_deadline_holds_that_passes_while_the_job_is_found_to_wait(
    fanfold: Fanfold,
) -> None:
    job = await fanfold.record([[1]], HELD, on_failure=OnFailure.HOLD, deadline_seconds=1)
    unsteady = UnsteadyLedger(fanfold.ledger)
    held = answer_held(unsteady)
    async with fanfold.working(fails, ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await held.has_begun.wait()
        await asyncio.sleep(2)
        held.may_go_on.set()
        row = await fanfold.finished(handle, patience_seconds=5)
    assert row.error is not None
    assert (row.state, row.error.type) == (JobState.FAILED, FailureType.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("shape", [BLOCKS, BLOCKS_IN_SHARDS, CHILDREN])
async def test_a_job_that_is_resumed_goes_on_beside_chunks_that_take_long(
    fanfold: Fanfold, shape: Shape
) -> None:
    fanfold = fanfold.shaped(shape)
    job = await fanfold.record([[n] for n in range(24)], GATED, max_concurrency=6)
    gate = Gate()
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_full(6)
        assert await ours(fanfold.ledger).steering.pause(job.job.id)
        long, *others = sorted(gate.inside)
        gate.let_go(*others)
        await gate.until_inside(long)
        await asyncio.sleep(2)

        assert await ours(fanfold.ledger).steering.resume(job.job.id)
        await fanfold.tell(job)
        async with asyncio.timeout(5):
            await gate.until_full(6)
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded) == (JobState.SUCCEEDED, 24)
    assert len(gate.begun) == 24


async def test_an_outage_while_a_job_is_paused_breaks_nothing_off(fanfold: Fanfold) -> None:
    fanfold = fanfold.shaped(BLOCKS)
    unsteady = UnsteadyLedger(fanfold.ledger)
    job = await fanfold.record([[n] for n in range(8)], GATED, max_concurrency=4)
    gate = Gate()
    async with fanfold.working(gate.gate, ledger=unsteady.ledger), gate:
        handle = await fanfold.start(job)
        await gate.until_full(4)
        assert await ours(fanfold.ledger).steering.pause(job.job.id)
        unsteady.fail("watch.standing", times=3)
        gate.let_go(0)
        await gate.until_inside(1, 2, 3)
        await asyncio.sleep(2)
        assert gate.inside == {1, 2, 3}, "they are in flight, and finish"
        assert await ours(fanfold.ledger).steering.resume(job.job.id)
        await fanfold.tell(job)
        gate.open()
        row = await fanfold.finished(handle)
    assert (row.state, row.counts.succeeded) == (JobState.SUCCEEDED, 8)
    assert sorted(gate.begun) == list(range(8))


async def test_a_job_that_is_paused_while_temporal_is_away_is_not_lost(
    fanfold: Fanfold, tmp_path: Path
) -> None:
    job = await fanfold.record([[1]], StageSpec(processor="double"))
    starting = fanfold.ledger.starting
    await starting.to_start(Places(10), limit=10)  # by a gateway that dies, or finds it away
    assert await ours(fanfold.ledger).steering.pause(job.job.id)
    await starting.release([job.job.id])
    rows(f"sqlite:///{tmp_path / 'ledger.db'}", "UPDATE jobs SET checked_at = 1")
    async with fanfold.working(), gateway(fanfold):
        await asyncio.sleep(1)
        assert (await fanfold.row(job.job.id)).state is JobState.PAUSED
        assert await ours(fanfold.ledger).steering.resume(job.job.id)
        await fanfold.until_job(job, JobState.SUCCEEDED)


async def test_blocks_that_make_way_waste_no_turns(fanfold: Fanfold) -> None:
    fanfold = fanfold.shaped(BLOCKS.tuned(block_seconds=1.0))
    job = await fanfold.record(
        [[n] for n in range(40)], StageSpec(processor="double"), max_per_second=5
    )
    async with fanfold.working():
        started = time.monotonic()
        row = await fanfold.run(job)
        seconds = time.monotonic() - started
    assert row.counts.succeeded == 40
    assert 7 < seconds < 9.5


async def test_a_job_that_drains_waits_for_no_turns(fanfold: Fanfold) -> None:
    fanfold = fanfold.shaped(BLOCKS)
    job = await fanfold.record(
        [[n] for n in range(40)], StageSpec(processor="double"), max_per_second=0.1
    )
    async with fanfold.working():
        handle = await fanfold.start(job)
        await fanfold.until_state(job, 0, ChunkState.SUCCEEDED)
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id, is_draining=True)
        await fanfold.tell(job)
        row = await fanfold.finished(handle, patience_seconds=5)
    assert (row.state, row.counts.succeeded) == (JobState.CANCELLED, 1)
