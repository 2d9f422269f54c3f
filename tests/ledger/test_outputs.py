"""Results leave as they came, in index order, and never many bytes of them at once."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest

from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import ChunkState
from fanfold.ledger import chunks as chunks_module
from fanfold.ledger import outcomes
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.records import ChunkOutput, ItemError
from tests.ledger.jobs_recorded import BROKEN, begun, fail, ours, running, succeed

KIB = 1024


class Counted:
    """A database that notes how many bytes of results each read brought."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among
        self.result_reads: list[int] = []

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        rows = await self._database.read(sql, parameters)
        if "FROM results" in sql:
            self.result_reads.append(sum(len(row[1]) for row in rows))
        return rows

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def collected(pairs: AsyncIterator[tuple[object, ChunkOutput]]) -> list[ChunkOutput]:
    return [output async for _, output in pairs]


async def test_every_byte_of_a_result_comes_back(ledger: Ledger) -> None:
    job_id = await running(ledger)
    value = ["\u0001\u2028 \U0001f9fe \\u0000 ' \" ?%s", 10**400, -0.0, {"": [{}]}]
    body = json.dumps(value, ensure_ascii=False).encode()
    await succeed(ledger, job_id, 0, body)
    assert await collected(ours(ledger).chunks.stream(job_id)) == [ChunkOutput(body=body)]


async def test_a_stream_has_every_chunk_in_index_order(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "_PAGE_ROWS", 3)
    job_id = await running(ledger, [1] * 8)
    for index in (6, 0, 7, 3):
        await succeed(ledger, job_id, index, b"[%d]" % index)
    await fail(ledger, job_id, 5)
    streamed = [(chunk, output.body) async for chunk, output in ours(ledger).chunks.stream(job_id)]
    assert [chunk.index for chunk, _ in streamed] == list(range(8))
    bodies = [b"[0]", b"", b"", b"[3]", b"", b"", b"[6]", b"[7]"]
    assert [body for _, body in streamed] == bodies
    survivors = ours(ledger).chunks.stream(job_id, states=(ChunkState.SUCCEEDED,))
    assert [chunk.index async for chunk, _ in survivors] == [0, 3, 6, 7]


async def test_of_a_chunk_without_an_outcome_nothing_is_streamed_as_its_output(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [2])
    partial = ChunkOutput(body=b"[1,null]", item_errors=(ItemError(item=1, type="T", message="m"),))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, partial, seconds=0)
    )
    assert await collected(ours(ledger).chunks.stream(job_id)) == [ChunkOutput()]
    await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.settle(job_id, run=1)
    assert await collected(ours(ledger).chunks.stream(job_id)) == [partial]


async def test_a_read_of_results_is_bounded_in_bytes_but_for_a_single_larger_one(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1] * 12)
    sizes = [300 * KIB] * 10 + [3000 * KIB, 10]
    for index, size in enumerate(sizes):
        await succeed(ledger, job_id, index, b"1" * size)
    counted = Counted(ledger.database)
    outputs = await collected(Chunks(counted, DEFAULT_TENANT).stream(job_id))
    assert [len(output.body) for output in outputs] == sizes
    assert sum(counted.result_reads) == sum(sizes)
    # The page is closed by the result that fills it, however large that one is.
    assert max(counted.result_reads) <= 1024 * KIB + 3000 * KIB
    assert len(counted.result_reads) >= 4


async def test_small_results_are_read_many_at_a_time(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 50)
    for index in range(50):
        await succeed(ledger, job_id, index, b"[1]")
    counted = Counted(ledger.database)
    assert len(await collected(Chunks(counted, DEFAULT_TENANT).stream(job_id))) == 50
    assert counted.result_reads == [150]


async def test_what_cancelled_chunks_had_reached_is_bounded_in_bytes_too(ledger: Ledger) -> None:
    job_id = await running(ledger, [2] * 8)
    error = (ItemError(item=1, type="T", message="m"),)
    for index in range(8):
        reached = ChunkOutput(body=b"1" * 600 * KIB, item_errors=error)
        await ours(ledger).work.record(
            outcomes.put_off(await begun(ledger, job_id, index), BROKEN, reached, seconds=0)
        )
    await ours(ledger).closing.settle(job_id, run=1)
    counted = Counted(ledger.database)
    await collected(Chunks(counted, DEFAULT_TENANT).stream(job_id))
    assert max(counted.result_reads) <= 2048 * KIB


async def test_a_chunk_that_fails_whole_after_a_checkpoint_shows_no_items_results(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [2])
    partial = ChunkOutput(body=b"[1,null]", item_errors=(ItemError(item=1, type="T", message="m"),))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, partial, seconds=0)
    )
    await ours(ledger).work.record(
        outcomes.failed(await begun(ledger, job_id), BROKEN, ChunkOutput())
    )
    assert await collected(ours(ledger).chunks.stream(job_id)) == [ChunkOutput()]
