"""The one way out of a job: closed once, and only when every chunk has an outcome."""

from collections.abc import Sequence

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.closing import Closing
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import ChunkCounts, ChunkOutput, ErrorGroup
from tests.ledger.jobs_recorded import BROKEN, begun, fail, found, ours, running, succeed

OTHER = Failure(type="Other", message="something else")


async def test_settling_cancels_what_has_no_outcome_and_keeps_the_rest(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 2, 3, 4])
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    await begun(ledger, job_id, 2)
    counts = await ours(ledger).closing.settle(job_id, run=1)
    assert counts == ChunkCounts(
        succeeded=1, failed=1, cancelled=2, items_succeeded=1, items_failed=2
    )
    states = [one.state for one in await ours(ledger).chunks.page(job_id, after=-1, limit=9)]
    assert states == [
        ChunkState.SUCCEEDED,
        ChunkState.FAILED,
        ChunkState.CANCELLED,
        ChunkState.CANCELLED,
    ]
    assert await ours(ledger).closing.settle(job_id, run=1) == counts


async def test_a_closed_job_keeps_its_counts_errors_and_result(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    counts = await ours(ledger).closing.settle(job_id, run=1)
    await ours(ledger).closing.close(
        job_id, JobState.PARTIALLY_SUCCEEDED, error=OTHER, result=b'{"a":1}'
    )
    job = await found(ledger, job_id)
    assert (job.state, job.error, job.counts) == (JobState.PARTIALLY_SUCCEEDED, OTHER, counts)
    assert job.errors == (ErrorGroup("Broken", "it broke", 1, 1),)
    assert job.finished_at is not None
    assert await ours(ledger).jobs.result(job_id) == b'{"a":1}'


@pytest.mark.parametrize("second", [JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLED])
async def test_a_second_close_changes_nothing(ledger: Ledger, second: JobState) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    await ours(ledger).closing.settle(job_id, run=1)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")
    first = await found(ledger, job_id)
    await ours(ledger).closing.close(job_id, second, error=BROKEN, result=b"2")
    assert await found(ledger, job_id) == first
    assert await ours(ledger).jobs.result(job_id) == b"1"


async def test_a_second_close_brings_no_result_to_a_job_closed_without_one(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    await ours(ledger).closing.close(job_id, JobState.FAILED, error=BROKEN)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None, result=b"2")
    assert await ours(ledger).jobs.result(job_id) is None
    await ours(ledger).closing.close(job_id, JobState.FAILED, error=None, result=b"3")
    assert await ours(ledger).jobs.result(job_id) is None


async def test_a_job_whose_cancellation_was_acknowledged_ends_cancelled(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    assert await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")
    assert (await found(ledger, job_id)).state is JobState.CANCELLED
    assert await ours(ledger).jobs.result(job_id) is None
    assert (await ours(ledger).chunks.page(job_id, after=-1, limit=1))[0].state == "succeeded"


async def test_a_job_that_ends_cancelled_has_no_error(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await fail(ledger, job_id, 0)
    assert await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.close(job_id, JobState.FAILED, error=BROKEN)
    job = await found(ledger, job_id)
    assert (job.state, job.error) == (JobState.CANCELLED, None)


@pytest.mark.parametrize("state", [ChunkState.PENDING, ChunkState.RUNNING, "waiting"])
async def test_a_job_with_an_open_chunk_is_not_closed(ledger: Ledger, state: str) -> None:
    job_id = await running(ledger, [1, 1])
    await succeed(ledger, job_id, 0)
    if state != ChunkState.PENDING:
        attempt = await begun(ledger, job_id, 1)
        if state == "waiting":
            await ours(ledger).work.record(
                outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=60)
            )
    before = await found(ledger, job_id)

    assert not await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")

    assert await found(ledger, job_id) == before
    assert await ours(ledger).jobs.result(job_id) is None


async def test_a_job_says_whether_it_is_closed_each_time(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    for state in (JobState.SUCCEEDED, JobState.FAILED):
        assert await ours(ledger).closing.close(job_id, state, error=None)
    assert not await ours(ledger).closing.close(JobId("job_none"), JobState.FAILED, error=None)


class LateOutcome:
    """A database in which a chunk gets its outcome between the counting and the close."""

    def __init__(self, database: Database, outcome: Script) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among
        self._outcome = outcome

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        rows = await self._database.read(sql, parameters)
        await self._database.write(*self._outcome)
        return rows

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def test_no_job_keeps_counts_of_before_its_last_outcome(ledger: Ledger) -> None:
    job_id = await running(ledger)
    outcome = outcomes.succeeded(await begun(ledger, job_id), ChunkOutput(body=b"[1]"))
    late = Closing(LateOutcome(ledger.database, outcome), DEFAULT_TENANT)

    while not await late.close(job_id, JobState.SUCCEEDED, error=None):
        pass

    job = await found(ledger, job_id)
    assert (job.state, job.counts) == (
        JobState.SUCCEEDED,
        ChunkCounts(succeeded=1, items_succeeded=1),
    )
