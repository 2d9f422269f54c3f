"""`Prefer: wait`: the answer comes with the end of the job, and never later than asked."""

import asyncio
import time

import pytest

from app.http.prefer import until_finished
from contract.names import DEFAULT_TENANT
from contract.states import JobState
from ledger.connect import Ledger
from ledger.jobs import Jobs
from tests.ledger.jobs_recorded import closed, record, running


async def wait_for(jobs: Jobs, job_id: str, tenant: str, *, seconds: float) -> None:
    never = asyncio.Event()
    await until_finished(jobs, job_id, tenant, seconds=seconds, stopping=never)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
async def test_a_finished_job_is_answered_at_once(ledger: Ledger, state: JobState) -> None:
    job_id = await running(ledger)
    await closed(ledger, job_id, state)
    async with asyncio.timeout(20):
        await wait_for(ledger.jobs, job_id, DEFAULT_TENANT, seconds=60)


async def test_the_end_of_a_job_ends_the_wait(ledger: Ledger) -> None:
    job_id = await running(ledger)
    waiting = asyncio.create_task(wait_for(ledger.jobs, job_id, DEFAULT_TENANT, seconds=60))
    await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    assert not waiting.done()
    await closed(ledger, job_id)
    async with asyncio.timeout(20):
        await waiting


async def test_the_wait_ends_after_the_seconds_asked_for(ledger: Ledger) -> None:
    job_id = await record(ledger)
    started = time.monotonic()
    await wait_for(ledger.jobs, job_id, DEFAULT_TENANT, seconds=0.2)
    assert 0.2 <= time.monotonic() - started < 20
    assert await ledger.jobs.state(job_id, DEFAULT_TENANT) is JobState.PENDING


async def test_nobody_waits_for_a_job_that_is_not_there(ledger: Ledger) -> None:
    async with asyncio.timeout(20):
        await wait_for(ledger.jobs, "job_none", DEFAULT_TENANT, seconds=60)
        await wait_for(ledger.jobs, await record(ledger), "another-tenant", seconds=60)


async def test_nobody_waits_on_once_the_gateway_stops(ledger: Ledger) -> None:
    job_id, stopping = await running(ledger), asyncio.Event()
    waiting = asyncio.create_task(
        until_finished(ledger.jobs, job_id, DEFAULT_TENANT, seconds=60, stopping=stopping)
    )
    await ledger.jobs.state(job_id, DEFAULT_TENANT)
    assert not waiting.done()
    stopping.set()
    async with asyncio.timeout(20):
        await waiting
