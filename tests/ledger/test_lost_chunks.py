"""A chunk is recorded as lost while its worker records its outcome: one of them holds, whole."""

import asyncio

import psycopg
import pytest

from fanfold.contract.states import ChunkState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkOutput, ItemError
from tests.ledger.jobs_recorded import BROKEN, begun, ours, running
from tests.waiting import eventually

REACHED = ChunkOutput(body=b"[1,null]", item_errors=(ItemError(item=1, type="T", message="m"),))
WAITS_FOR_A_LOCK = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_result_recorded_at_the_same_time_is_kept(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger, [2])
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, REACHED, seconds=0)
    )
    await begun(ledger, job_id)
    with psycopg.connect(ledger_url) as worker, psycopg.connect(ledger_url, autocommit=True) as see:
        # What the script of a success does, not committed yet.
        worker.execute("UPDATE chunks SET state = 'succeeded' WHERE job_id = %s", (job_id,))
        worker.execute("UPDATE results SET body = '[1,2]' WHERE job_id = %s", (job_id,))
        recording = asyncio.create_task(ours(ledger).work.record_lost(job_id, 0, BROKEN, run=1))
        await asyncio.to_thread(
            eventually, lambda: see.execute(WAITS_FOR_A_LOCK).fetchall(), what="it waits"
        )
        worker.commit()
        async with asyncio.timeout(30):
            await recording

    ((chunk, output),) = [pair async for pair in ours(ledger).chunks.stream(job_id)]
    assert (chunk.state, output.body) == (ChunkState.SUCCEEDED, b"[1,2]")
