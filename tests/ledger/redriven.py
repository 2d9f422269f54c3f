"""Jobs that have ended, with chunks of every outcome, and their redrives."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import Attempt, ChunkOutput, ChunkRecord, ItemError
from fanfold.ledger.run_again import Redrive, Selected
from tests.ledger.jobs_recorded import (
    BROKEN,
    begun,
    fail,
    found,
    hold,
    new_token,
    ours,
    running,
    succeed,
)
from tests.ledger.test_migrations import TABLES

T = ItemError(item=1, type="T", message="first")
U = ItemError(item=3, type="U", message="second")
DROPPED = ItemError(item=1, type="ItemDropped", message="not needed", is_dropped=True)
IN_PART = ChunkOutput(body=b"[10,null,12,null]", item_errors=(T, U), by_item=True)
SIZES = (1, 2, 4, 1, 2, 3)

SUCCEEDED, FAILED, PARTIAL, CANCELLED, WITH_DROPPED, MIXED = range(6)
"""The indexes of a chunk of each kind."""


async def ended(ledger: Ledger, state: JobState = JobState.PARTIALLY_SUCCEEDED) -> JobId:
    """A job that has ended, with a chunk of each kind, and a result."""
    job_id = await running(ledger, SIZES)
    record = ours(ledger).work.record
    await succeed(ledger, job_id, SUCCEEDED, b"[1]")
    await fail(ledger, job_id, FAILED)
    attempt = await begun(ledger, job_id, PARTIAL)
    await record(outcomes.succeeded_partially(attempt, BROKEN, IN_PART))
    attempt = await begun(ledger, job_id, WITH_DROPPED)
    left = ChunkOutput(body=b"[5]", item_errors=(DROPPED,), by_item=True)
    await record(outcomes.succeeded(attempt, left))
    attempt = await begun(ledger, job_id, MIXED)
    own = ChunkOutput(item_errors=(ItemError(item=0, type="T", message="own"),), by_item=True)
    await record(outcomes.failed(attempt, BROKEN, own))
    if state is JobState.CANCELLED:
        await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.settle(job_id, run=1)
    assert await ours(ledger).closing.close(job_id, state, error=None, result=b'"all"')
    return job_id


async def waiting(ledger: Ledger, sizes: Sequence[int] = (4, 1)) -> JobId:
    """A waiting job: a chunk held in part, and one that succeeded."""
    job_id = await running(ledger, sizes)
    await hold(ledger, job_id, 0, IN_PART)
    await succeed(ledger, job_id, 1)
    assert await ours(ledger).closing.wait(job_id)
    return job_id


async def redrive(ledger: Ledger, job_id: JobId, *selected: int | Selected, **given: Any) -> bool:
    """Redrive these chunks of the job as it is now."""
    job = await found(ledger, job_id)
    chosen = [await _selected(ledger, job_id, one) for one in selected]
    wanted = Redrive(spec=job.spec, controls=job.controls, selected=chosen)
    return await ours(ledger).redriving.redrive(job, replace(wanted, **given))


async def _selected(ledger: Ledger, job_id: JobId, one: int | Selected) -> Selected:
    if isinstance(one, Selected):
        return one
    return Selected(one, (await chunk(ledger, job_id, one)).state)


async def chunk(ledger: Ledger, job_id: JobId, index: int) -> ChunkRecord:
    record = await ours(ledger).chunks.find(job_id, index)
    assert record is not None
    return record


async def opened(ledger: Ledger, job_id: JobId, run: int = 2) -> None:
    assert await ours(ledger).jobs.open(job_id, run) == (True, JobState.RUNNING)


async def begun_again(ledger: Ledger, job_id: JobId, index: int, run: int = 2) -> Attempt:
    """An attempt in a later run."""
    attempt = await ours(ledger).work.begin(job_id, index, 0, token=new_token(), job_run=run)
    assert isinstance(attempt, Attempt)
    return attempt


async def outputs(ledger: Ledger, job_id: JobId) -> dict[int, tuple[ChunkState, ChunkOutput]]:
    """What every chunk has come to, by index."""
    return {
        record.index: (record.state, output)
        async for record, output in ours(ledger).chunks.stream(job_id)
    }


async def everything(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    return {
        table: sorted(
            (tuple(row) for row in await ledger.database.read(f"SELECT * FROM {table}")), key=repr
        )
        for table in sorted(TABLES)
    }
