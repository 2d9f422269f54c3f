"""What is done for each chunk reads some rows by their keys, however many chunks a job has.

On a ledger just made, which has no statistics: a database then guesses, and one that guesses
wrong reads all of a job's chunks, or inputs, for each of them.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

import psycopg
import pytest

from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import ChunkState
from fanfold.ledger import outcomes
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.error_groups import RunningErrorGroups, error_groups
from fanfold.ledger.migrate import migrate
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, IdempotencyKey
from fanfold.ledger.redriving import Redriving, Selection
from fanfold.ledger.run_again import Redrive, Selected
from fanfold.ledger.steering import Steering
from fanfold.ledger.transitions import UNSUCCESSFUL
from fanfold.ledger.work import Work
from tests.ledger.jobs_recorded import BROKEN, a_spec, closed, fail, found, new_token, running

CHUNKS = 3_000
OUTPUT = ChunkOutput(body=b"[1]")
THIS_BLOCK = BlockRun(block=7, number=1)


@pytest.fixture
def ledger_url(empty_url: str) -> str:
    """A ledger of this test's own: what is left of others may have been counted."""
    migrate(empty_url)
    return empty_url


class Listening:
    """A database that keeps the statements it is given."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among
        self.heard: dict[str, Sequence[Value]] = {}

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self.heard[sql] = parameters
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        for one in script:
            if isinstance(one, Statement):
                self.heard[one.sql] = one.parameters
            elif one.rows:
                self.heard[one.sql] = one.rows[0]
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def run_some_chunks(ledger: Ledger) -> dict[str, Sequence[Value]]:
    """Have chunks claimed, begun, advanced, put off and ended; the statements for that."""
    database = Listening(ledger.database)
    work = Work(database, DEFAULT_TENANT)
    job_id = await running(ledger, [1] * CHUNKS, spec=a_spec(stages=2))
    after: Script = ()
    for chunk in range(4):
        claimed = await work.claim(job_id, THIS_BLOCK, job_run=1, token=new_token(), after=after)
        assert claimed is not None
        if chunk == 0:
            after = outcomes.put_off(claimed, BROKEN, OUTPUT, seconds=0)
            continue
        begun = await work.begin(
            job_id,
            claimed.index,
            1,
            job_run=1,
            token=new_token(),
            within=THIS_BLOCK,
            after=outcomes.advanced(claimed, OUTPUT),
        )
        assert isinstance(begun, Attempt)
        after = outcomes.succeeded(begun, OUTPUT)
    await work.record(after)
    await work.outlook(job_id, THIS_BLOCK, limit=4)
    await work.page(job_id, after=-1, limit=4)
    return database.heard


def plans_on_sqlite(url: str, heard: dict[str, Sequence[Value]]) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        for sql, parameters in heard.items():
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters):
                yield sql, step


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
async def test_sqlite_finds_a_chunk_and_its_data_by_their_keys(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await run_some_chunks(ledger)
    assert len(heard) > 8
    steps = list(plans_on_sqlite(ledger_url, heard))
    assert any("chunks_pending" in step for _, step in steps)
    # What a claim has found is some rows, as many as it wanted.
    whole_jobs = re.compile(r"SCAN (?!found|due|fresh|taken|next)|\(job_id=\?\)")
    counting = [step for sql, step in steps if "COUNT(*)" in sql and "SEARCH" in step]
    assert len(counting) == 2
    assert all(re.search("INDEX chunks_(pending|due)", step) for step in counting), counting
    assert [step for step in steps if whole_jobs.search(step[1])] == []


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
async def test_postgresql_finds_a_chunk_and_its_data_by_their_keys(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await run_some_chunks(ledger)
    found = False
    with psycopg.connect(ledger_url, cursor_factory=psycopg.ClientCursor) as connection:
        for sql, parameters in heard.items():
            explain = f"EXPLAIN (COSTS OFF) {sql.replace('?', '%s')}".encode()
            plan = "\n".join(row[0] for row in connection.execute(explain, parameters))
            assert not re.search(r"(Seq|Bitmap Heap) Scan on (chunks|inputs)\b", plan), plan
            for condition in re.findall(r"on inputs\b.*\n\s*Index Cond: (.*)", plan):
                found = True
                assert "idx = " in condition, plan
                assert "stage = " in condition, plan
        connection.rollback()
    assert found


async def look_for_failed_items(ledger: Ledger) -> dict[str, Sequence[Value]]:
    """Have the failed items of a large job listed and grouped; the statements for that."""
    database = Listening(ledger.database)
    job_id = await running(ledger, [1] * CHUNKS)
    for index in range(0, CHUNKS, 300):
        await fail(ledger, job_id, index)
    chunks = Chunks(database, DEFAULT_TENANT)
    found = [chunk async for chunk in chunks.data(job_id, with_failed_items=True, items_wanted=100)]
    assert len(found) == CHUNKS // 300
    await RunningErrorGroups(database).of({job_id: (1, len(found))})
    await error_groups(database, job_id, DEFAULT_TENANT)
    await chunks.page(job_id, states=[ChunkState.CANCELLED], after=5, limit=10)
    return {sql: values for sql, values in database.heard.items() if UNSUCCESSFUL in sql}


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
async def test_sqlite_finds_failed_items_without_looking_at_the_others(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await look_for_failed_items(ledger)
    assert len(heard) == 4 + 2 + 4 + 1
    for sql in heard:
        steps = [step for of, step in plans_on_sqlite(ledger_url, heard) if of == sql]
        looking = [step for step in steps if "SEARCH chunks" in step]
        assert looking
        assert all(re.search(r"job_id=\? AND (idx|state)=\?", step) for step in looking), steps


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
async def test_postgresql_finds_failed_items_without_looking_at_the_others(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await look_for_failed_items(ledger)
    assert len(heard) == 4 + 2 + 4 + 1
    with psycopg.connect(ledger_url, cursor_factory=psycopg.ClientCursor) as connection:
        for sql, parameters in heard.items():
            explain = f"EXPLAIN (COSTS OFF) {sql.replace('?', '%s')}".encode()
            plan = "\n".join(row[0] for row in connection.execute(explain, parameters))
            assert "chunks_unsuccessful" in plan, plan
            assert not re.search(r"(Seq|Bitmap Heap) Scan on chunks\b", plan), plan
        connection.rollback()


async def redrive_a_few(ledger: Ledger) -> dict[str, Sequence[Value]]:
    """Have ten chunks of a large job run again, found by their error; the statements for that."""
    database = Listening(ledger.database)
    job_id = await running(ledger, [1] * CHUNKS)
    few = list(range(0, CHUNKS, 300))
    for index in few:
        await fail(ledger, job_id, index)
    await ledger.database.write(
        Statement(
            "UPDATE chunks SET state = 'succeeded' WHERE job_id = ? AND state = 'pending'",
            (job_id,),
        )
    )
    await closed(ledger, job_id)
    redriving = Redriving(database, DEFAULT_TENANT)
    states = [ChunkState.FAILED, ChunkState.PARTIALLY_SUCCEEDED, ChunkState.CANCELLED]
    chosen = await redriving.select(job_id, Selection(states=states, error_types=["Broken"]))
    assert [one.index for one in chosen] == few
    job = await found(ledger, job_id)
    wanted = Redrive(
        spec=job.spec,
        controls=job.controls,
        selected=[Selected(one.index, one.state, (0,)) for one in chosen],
        corrected={one.index: b"[0]" for one in chosen},
        key=IdempotencyKey(key="k", body_hash=b"h"),
    )
    assert await redriving.redrive(job, wanted)
    await Steering(database, DEFAULT_TENANT).cancel_child(job_id, few[0])
    return database.heard


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
async def test_sqlite_looks_at_none_but_the_chunks_that_run_again(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await redrive_a_few(ledger)
    whole_jobs = re.compile(
        # The index of chunks that run has no others.
        r"SCAN (?!CONSTANT)|SEARCH (chunks|inputs|results) (?!USING INDEX chunks_running).*"
        r"\(job_id=\?\)"
    )
    steps = list(plans_on_sqlite(ledger_url, heard))
    assert [step for step in steps if whole_jobs.search(step[1])] == []


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
async def test_postgresql_looks_at_none_but_the_chunks_that_run_again(
    ledger: Ledger, ledger_url: str
) -> None:
    heard = await redrive_a_few(ledger)
    with psycopg.connect(ledger_url, cursor_factory=psycopg.ClientCursor) as connection:
        for sql, parameters in heard.items():
            explain = f"EXPLAIN (COSTS OFF) {sql.replace('?', '%s')}".encode()
            plan = "\n".join(row[0] for row in connection.execute(explain, parameters))
            assert not re.search(r"Seq Scan on (chunks|inputs|results)\b", plan), plan
            for condition in re.findall(
                # The indexes of chunks that wait or run have no others.
                r"(?<!chunks_due )(?<!chunks_running )on (?:chunks|inputs|results)\b.*\n"
                r"\s*Index Cond: (.*)",
                plan,
            ):
                assert re.search(r"\b(idx|state)\b", condition), plan
        connection.rollback()
