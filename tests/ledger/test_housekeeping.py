"""The gateway's loop that deletes: to the end of what there is, whatever fails meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanfold.app.loops.housekeeping import Housekeeping
from fanfold.contract.names import JobId
from fanfold.contract.settings import GatewaySettings
from fanfold.contract.states import JobState
from fanfold.ledger import retention
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable
from tests.ledger.jobs_recorded import found, ours, running, succeed
from tests.ledger.raw_sql import rows
from tests.waiting import eventually

AN_HOUR_MS = 3_600_000


async def finished(ledger: Ledger, chunks: int = 1) -> JobId:
    job_id = await running(ledger, [1] * chunks)
    for index in range(chunks):
        await succeed(ledger, job_id, index)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)
    return job_id


@asynccontextmanager
async def looking_after(
    ledger: Ledger, *, interval_seconds: float = 0.02
) -> AsyncIterator[Housekeeping]:
    settings = GatewaySettings()
    housekeeping = Housekeeping(
        ledger,
        retention_hours=1,
        seal_timeout_seconds=settings.seal_timeout_seconds,
        body_timeout_seconds=settings.body_timeout_seconds,
        interval_seconds=interval_seconds,
    )
    running_loop = asyncio.create_task(housekeeping.run())
    try:
        yield housekeeping
    finally:
        running_loop.cancel()
        await asyncio.wait([running_loop])


async def until_only(url: str, *job_ids: str) -> None:
    """Wait until of all jobs only these have a row anywhere."""

    def are_alone() -> bool:
        found_ids = rows(url, "SELECT id FROM jobs UNION SELECT job_id FROM chunks")
        return {job_id for (job_id,) in found_ids} == set(job_ids) and not rows(
            url, "SELECT job_id FROM purges"
        )

    await asyncio.to_thread(eventually, are_alone, what="the others are deleted")


async def test_what_is_over_is_deleted_with_all_its_data(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_JOBS_EXPIRED_AT_ONCE", 1)
    monkeypatch.setattr(retention, "MAX_ROWS_A_STEP", 4)
    old = [await finished(ledger, chunks=3) for _ in range(3)]
    kept = await finished(ledger)
    for job_id in old:
        rows(
            ledger_url,
            f"UPDATE jobs SET finished_at = finished_at - {AN_HOUR_MS} WHERE id = '{job_id}'",
        )

    async with looking_after(ledger):
        await until_only(ledger_url, kept)

    assert (await found(ledger, kept)).state is JobState.SUCCEEDED


async def test_a_purge_is_looked_after_at_once(ledger: Ledger, ledger_url: str) -> None:
    job_id = await finished(ledger)

    async with looking_after(ledger, interval_seconds=3600) as housekeeping:
        await asyncio.sleep(0)
        await ours(ledger).jobs.purge(job_id)
        housekeeping.kick()
        await until_only(ledger_url)


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), ValueError("a defect")])
async def test_a_failed_round_is_not_the_last(
    ledger: Ledger, ledger_url: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ours(ledger).jobs.purge(await finished(ledger))
    read, failures = ledger.database.read, [error] * 3

    async def sometimes_away(sql: str, *arguments: object) -> object:
        if failures:
            raise failures.pop()
        return await read(sql, *arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(ledger.database, "read", sometimes_away)
    async with looking_after(ledger):
        await until_only(ledger_url)

    assert not failures
