"""Controls at the same time as each other, and as what gateways and workers do of themselves."""

import asyncio

import psycopg
import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkOutput, ItemError, now_ms
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.starting import Places
from tests.ledger.jobs_recorded import (
    BROKEN,
    a_spec,
    begun,
    closed,
    fail,
    found,
    hold,
    new_token,
    ours,
    record,
    running,
)
from tests.ledger.raw_sql import rows


async def redriven(ledger: Ledger, job_id: JobId, **selection: object) -> bool:
    """Redrive what is selected of the job, as it is now."""
    job, redriving = await found(ledger, job_id), ours(ledger).redriving
    selected = await redriving.select(job_id, Selection(**selection))  # type: ignore[arg-type]
    return await redriving.redrive(
        job, Redrive(spec=job.spec, controls=job.controls, selected=selected)
    )


async def failed(ledger: Ledger) -> JobId:
    """A job that has failed."""
    job_id = await running(ledger, (1, 1))
    await fail(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    await closed(ledger, job_id, JobState.FAILED)
    return job_id


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_job_that_is_redriven_while_it_expires_keeps_its_data(
    ledger: Ledger, ledger_url: str
) -> None:
    """On SQLite writers take turns."""
    job_id = await failed(ledger)
    with psycopg.connect(ledger_url) as redriving:
        # As a redrive does, and takes a moment.
        redriving.execute(
            "UPDATE jobs SET finished_at = NULL, summary = NULL, state = 'pending' WHERE id = %s",
            (job_id,),
        )
        purging = asyncio.create_task(ours(ledger).jobs.purge(job_id))
        await asyncio.sleep(0.02)
        redriving.commit()
    assert not await purging

    while await ledger.retention.delete_some():
        pass

    assert (await found(ledger, job_id)).state is JobState.PENDING
    assert len(await ours(ledger).chunks.page(job_id, after=-1, limit=10)) == 2
    assert rows(ledger_url, "SELECT job_id FROM purges") == []


async def test_held_chunks_that_are_resolved_at_once_leave_no_job_waiting(
    ledger: Ledger, another: Ledger
) -> None:
    for _ in range(15):
        job_id = await running(ledger, (1, 1))
        for index in range(2):
            await hold(ledger, job_id, index)
        assert await ours(ledger).closing.wait(job_id)
        await asyncio.gather(
            ours(ledger).steering.resolve(job_id, 0, b"[1]", by_item=True),
            ours(another).steering.resolve(job_id, 1, b"[1]", by_item=True),
        )
        job = await found(ledger, job_id)
        assert (job.state, job.counts.succeeded) == (JobState.RUNNING, 2)


async def test_a_job_whose_last_held_chunk_is_just_resolved_does_not_wait(
    ledger: Ledger, another: Ledger
) -> None:
    for _ in range(15):
        job_id = await running(ledger, (1,))
        await hold(ledger, job_id, 0)
        await asyncio.gather(
            ours(ledger).closing.wait(job_id),
            ours(another).steering.resolve(job_id, 0, b"[1]", by_item=True),
        )
        assert (await found(ledger, job_id)).state is JobState.RUNNING


async def test_a_result_that_a_client_gives_while_a_redrive_is_prepared_stays(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, (1, 1))
    for index in range(2):
        await hold(ledger, job_id, index)
    assert await ours(ledger).closing.wait(job_id)
    job, redriving = await found(ledger, job_id), ours(ledger).redriving
    selected = await redriving.select(job_id, Selection(states=[ChunkState.HELD]))

    assert await ours(ledger).steering.resolve(job_id, 0, b"[1]", by_item=True)
    given = Redrive(spec=job.spec, controls=job.controls, selected=selected)
    assert not await redriving.redrive(job, given), "it is to be selected anew"

    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert (chunk.state, chunk.resolved_by) == (ChunkState.SUCCEEDED, "client")


async def test_what_settles_a_run_does_not_touch_the_next(ledger: Ledger) -> None:
    job_id = await failed(ledger)
    before = await found(ledger, job_id)
    assert await redriven(ledger, job_id, states=[ChunkState.FAILED])

    # A gateway that saw the run before, whose workflow was over, comes late.
    await ours(ledger).closing.settle(job_id, before.run)
    await ours(ledger).work.offer_again(job_id, before.run)

    assert (await found(ledger, job_id)).counts.pending == 2


async def test_a_job_that_was_paused_before_it_had_a_workflow_is_started_when_resumed(
    ledger: Ledger,
) -> None:
    job_id = await record(ledger)
    (start,) = (await ledger.starting.to_start(Places(10), limit=10)).jobs
    assert await ours(ledger).steering.pause(job_id)
    await ledger.starting.forget_workflow([start.id])  # Temporal is away

    assert await ledger.starting.to_check(unchecked_since=now_ms() + 1, limit=10) == []
    assert await ours(ledger).steering.resume(job_id)
    (again,) = (await ledger.starting.to_start(Places(10), limit=10)).jobs
    assert again.id == job_id


async def test_what_a_cancelled_chunk_had_given_at_a_stage_is_no_result_of_its_items(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, (2,), spec=a_spec(stages=3))
    attempt = await begun(ledger, job_id)
    done = ChunkOutput(body=b"[1,2]", by_item=True)
    await ours(ledger).work.record(outcomes.advanced(attempt, done))
    attempt = await begun(ledger, job_id, 0, 1)
    error = ItemError(item=1, type="Broken", message="it broke", stage=1)
    part = ChunkOutput(body=b"[10,null]", item_errors=(error,), by_item=True)
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, part, seconds=60))
    await ours(ledger).jobs.request_cancel(job_id)
    await closed(ledger, job_id, JobState.CANCELLED)

    for selection in ({"states": [ChunkState.CANCELLED]}, {"error_types": ["Broken"]}):
        job, redriving = await found(ledger, job_id), ours(ledger).redriving
        selected = await redriving.select(job_id, Selection(**selection))
        if not selected:
            continue
        assert await redriving.redrive(
            job, Redrive(spec=job.spec, controls=job.controls, selected=selected)
        )
        assert await ours(ledger).jobs.open(job_id, 2 if job.run == 1 else 3) == (
            True,
            JobState.RUNNING,
        )
        again = await ours(ledger).work.begin(job_id, 0, 0, token=new_token(), job_run=job.run + 1)
        assert again is not None
        assert getattr(again, "kept", None) is None, "all of it runs again"
        await ours(ledger).jobs.request_cancel(job_id)
        await ours(ledger).closing.settle(job_id, job.run + 1)
        assert await ours(ledger).closing.close(job_id, JobState.CANCELLED, error=None)


async def test_a_block_that_was_narrowed_stays_so_whichever_write_comes_last(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, (1, 1))
    for lanes in ({1: 3, 2: 1}, {1: 1, 2: 2}, {1: 2}):
        await ours(ledger).watch.narrow_blocks(job_id, lanes)
    narrowed = rows(ledger_url, "SELECT block, lanes FROM block_lanes ORDER BY block")
    assert [(int(block), lanes) for block, lanes in narrowed] == [(1, 1), (2, 1)]
