"""What is read of a job with many failed items: each chunk once, and never much at a time."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import error_groups, outcomes
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.error_groups import RunningErrorGroups
from fanfold.ledger.records import ChunkOutput, ItemError
from tests.ledger.jobs_recorded import BROKEN, a_spec, begun, fail, found, ours, running

SIZE = 3_000


class Interrupted:
    """A database that has something done after each of its reads."""

    def __init__(self, database: Database, after_read: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._after_read = after_read
        self.skip_locked = database.skip_locked
        self.among = database.among

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        rows = await self._database.read(sql, parameters)
        await self._after_read()
        return rows

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


def errors(count: int, *, stage: int = 0) -> tuple[ItemError, ...]:
    return tuple(ItemError(item=n, type="T", message="m", stage=stage) for n in range(count))


async def fail_each_item(ledger: Ledger, job_id: JobId, index: int) -> None:
    output = ChunkOutput(item_errors=errors(SIZE), by_item=True)
    attempt = await begun(ledger, job_id, index)
    await ours(ledger).work.record(outcomes.failed(attempt, BROKEN, output))


async def test_the_errors_of_items_are_streamed_some_at_a_time(ledger: Ledger) -> None:
    job_id = await running(ledger, [SIZE] * 4)
    for index in range(4):
        await fail_each_item(ledger, job_id, index)
    batches = [batch async for batch in ours(ledger).chunks.batches(job_id)]
    assert [[chunk.index for chunk, _ in batch] for batch in batches] == [[0], [1], [2], [3]]
    assert all(len(output.item_errors) == SIZE for batch in batches for _, output in batch)


async def test_a_chunk_that_is_put_off_meanwhile_is_listed_once(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])

    async def put_off() -> None:
        attempt = await begun(ledger, job_id, 0)
        await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=0))

    chunks = Chunks(Interrupted(ledger.database, put_off), DEFAULT_TENANT)
    listed = await chunks.page(job_id, states=[ChunkState.PENDING], after=-1, limit=10)
    assert [chunk.index for chunk in listed] == [0, 1]


async def test_items_that_failed_before_a_chunk_processor_are_among_the_first_failures(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_groups, "MAX_FAILURES_GROUPED", 5)
    job_id = await running(ledger, [4] * 4, spec=a_spec(stages=2))
    for index in range(4):
        output = ChunkOutput(body=b"[1]", item_errors=errors(3), by_item=True)
        attempt = await begun(ledger, job_id, index)
        await ours(ledger).work.record(outcomes.advanced(attempt, output))
        attempt = await begun(ledger, job_id, index, 1)
        made = ChunkOutput(body=b"1", item_errors=attempt.earlier_errors, by_item=False)
        await ours(ledger).work.record(outcomes.succeeded_partially(attempt, BROKEN, made))
    of_job = await RunningErrorGroups(ledger.database).of({job_id: (1, 12)})
    assert [(group.message, group.count) for group in of_job[job_id]] == [("m", 6)]


@pytest.mark.parametrize("failures_a_query", [1, 3, 100])
async def test_all_failures_of_a_closed_job_are_grouped(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, failures_a_query: int
) -> None:
    monkeypatch.setattr(error_groups, "_FAILURES_A_QUERY", failures_a_query)
    sizes = [1, 5, 1, 1, 4, 2]
    job_id = await running(ledger, sizes)
    for index in range(len(sizes)):
        await fail(ledger, job_id, index)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=None)
    assert [group.count for group in (await found(ledger, job_id)).errors] == [sum(sizes)]
