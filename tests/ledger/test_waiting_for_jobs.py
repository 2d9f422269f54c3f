"""`Prefer: wait`: the answer comes with the end of the job, and never later than asked."""

import asyncio
import time

import pytest

from fanfold.app.http.prefer import until_finished
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.jobs import Jobs
from tests.ledger.jobs_recorded import closed, ours, record, running
from tests.ledger.steered import in_state


async def wait_for(jobs: Jobs, job_id: JobId, *, seconds: float) -> None:
    never = asyncio.Event()
    await until_finished(jobs, job_id, seconds=seconds, stopping=never)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
async def test_a_finished_job_is_answered_at_once(ledger: Ledger, state: JobState) -> None:
    job_id = await in_state(ledger, state)
    async with asyncio.timeout(20):
        await wait_for(ours(ledger).jobs, job_id, seconds=60)


async def test_the_end_of_a_job_ends_the_wait(ledger: Ledger) -> None:
    job_id = await running(ledger)
    waiting = asyncio.create_task(wait_for(ours(ledger).jobs, job_id, seconds=60))
    await ours(ledger).jobs.request_cancel(job_id)
    assert not waiting.done()
    await closed(ledger, job_id)
    async with asyncio.timeout(20):
        await waiting


async def test_the_wait_ends_after_the_seconds_asked_for(ledger: Ledger) -> None:
    job_id = await record(ledger)
    started = time.monotonic()
    await wait_for(ours(ledger).jobs, job_id, seconds=0.2)
    assert 0.2 <= time.monotonic() - started < 20
    assert await ours(ledger).jobs.state(job_id) is JobState.PENDING


async def test_nobody_waits_for_a_job_that_is_not_there(ledger: Ledger) -> None:
    async with asyncio.timeout(20):
        await wait_for(ours(ledger).jobs, JobId("job_none"), seconds=60)
        another = ledger.of(TenantId("another"))
        await wait_for(another.jobs, await record(ledger), seconds=60)


async def test_nobody_waits_on_once_the_gateway_stops(ledger: Ledger) -> None:
    job_id, stopping = await running(ledger), asyncio.Event()
    waiting = asyncio.create_task(
        until_finished(ours(ledger).jobs, job_id, seconds=60, stopping=stopping)
    )
    await ours(ledger).jobs.state(job_id)
    assert not waiting.done()
    stopping.set()
    async with asyncio.timeout(20):
        await waiting
