"""The counts that the database keeps are what counting gives, whoever writes beside whom."""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import alembic.command
import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.ledger import counting, error_groups, outcomes
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.migrate import migrate
from fanfold.ledger.records import Attempt, ChunkCounts, ChunkOutput, ErrorGroup
from tests.ledger.jobs_recorded import BROKEN, fail, found, new_token, ours, running, succeed
from tests.ledger.raw_sql import revisions, rows

ROOT = Path(__file__).parents[2]
CHUNKS = 60

WRITES = """
import asyncio, sys
from tests.ledger.test_counting import live

asyncio.run(live(*sys.argv[1:]))
"""


async def kept(ledger: Ledger, job_id: JobId, total: int) -> ChunkCounts:
    return (await counting.running_counts(ledger.database, {job_id: total}))[job_id]


async def live(url: str, seed: str, *job_ids: JobId) -> None:
    """What a worker does: attempts at the chunks of the jobs, in an order of its own."""
    order = random.Random(seed)  # noqa: S311 - only has to differ from the others'
    async with connect(url) as ledger:
        work = [(job_id, index) for job_id in job_ids for index in range(CHUNKS)]
        if int(seed) % 2:
            work.reverse()  # two jobs in opposite orders
        lanes = 6

        async def lane(number: int) -> None:
            for job_id, index in work[number::lanes]:
                attempt = await ours(ledger).work.begin(
                    job_id, index, 0, job_run=1, token=new_token()
                )
                if isinstance(attempt, Attempt):
                    output = ChunkOutput(body=b"[1]")
                    ending = order.choice(
                        [
                            outcomes.succeeded(attempt, output),
                            outcomes.failed(attempt, BROKEN, ChunkOutput()),
                            outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=0),
                            outcomes.handed_back(attempt),
                        ]
                    )
                    await ours(ledger).work.record(ending)

        await asyncio.gather(*(lane(number) for number in range(lanes)))


async def test_a_job_is_counted_without_looking_at_its_chunks(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 2, 3, 4])
    await succeed(ledger, job_id, 1)
    await fail(ledger, job_id, 2)
    await ours(ledger).work.begin(job_id, 3, 0, job_run=1, token=new_token())
    expected = ChunkCounts(
        pending=1, running=1, succeeded=1, failed=1, items_succeeded=2, items_failed=3
    )
    assert await kept(ledger, job_id, 4) == expected == (await found(ledger, job_id)).counts


async def test_the_jobs_are_counted_apart(ledger: Ledger) -> None:
    one, other = await running(ledger, [1, 1]), await running(ledger, [1, 1])
    await succeed(ledger, one, 0)
    await fail(ledger, other, 1)
    counts = await counting.running_counts(ledger.database, {one: 2, other: 2})
    assert (counts[one].succeeded, counts[one].failed) == (1, 0)
    assert (counts[other].succeeded, counts[other].failed) == (0, 1)


async def test_many_chunks_changed_by_one_statement_are_all_counted(ledger: Ledger) -> None:
    job_id = await running(ledger, [2] * 50)
    await succeed(ledger, job_id, 7)
    await ours(ledger).work.record_lost(job_id, None, Failure(type="Lost", message=""), run=1)
    counts = await kept(ledger, job_id, 50)
    assert (counts.succeeded, counts.failed, counts.pending) == (1, 49, 0)
    assert (counts.items_succeeded, counts.items_failed) == (2, 98)
    other = await running(ledger, [2] * 30)
    await ours(ledger).closing.settle(other, run=1)
    assert (await kept(ledger, other, 30)).cancelled == 30


async def test_what_is_written_twice_is_counted_once(ledger: Ledger) -> None:
    job_id = await running(ledger, [1])
    attempt = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    assert isinstance(attempt, Attempt)
    script = outcomes.succeeded(attempt, ChunkOutput(body=b"[1]"))
    for _ in range(3):
        await ours(ledger).work.record(script)
    assert (await kept(ledger, job_id, 1)).succeeded == 1


async def test_writers_beside_each_other_in_one_process_neither_deadlock_nor_drift(
    ledger: Ledger, ledger_url: str
) -> None:
    jobs = [await running(ledger, [1] * CHUNKS) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(live(ledger_url, str(seed), *jobs) for seed in range(3)))
    for job_id in jobs:
        assert await kept(ledger, job_id, CHUNKS) == await counting.counted(
            ledger.database, job_id, DEFAULT_TENANT
        )


async def test_processes_beside_each_other_neither_deadlock_nor_drift(
    ledger: Ledger, ledger_url: str
) -> None:
    jobs = [await running(ledger, [1] * CHUNKS) for _ in range(2)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITES, ledger_url, str(seed), *jobs),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        for seed in range(3)
    ]
    async with asyncio.timeout(60):
        errors = [(await process.communicate())[1] for process in processes]
    assert [
        (process.returncode, error) for process, error in zip(processes, errors, strict=True)
    ] == [(0, b"")] * 3
    for job_id in jobs:
        counts = await kept(ledger, job_id, CHUNKS)
        assert counts == await ours(ledger).closing.counts(job_id)
        assert counts.succeeded + counts.failed > 0


async def test_jobs_that_run_during_the_upgrade_are_counted_from_their_chunks(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = alembic.command.upgrade
    with monkeypatch.context() as older:
        older.setattr(alembic.command, "upgrade", lambda config, _: upgrade(config, "0001"))
        migrate(empty_url)
    assert revisions(empty_url) == ["0001"]
    for job_id, state, finished_at in (("job_a", "running", "NULL"), ("job_b", "succeeded", "9")):
        rows(
            empty_url,
            "INSERT INTO jobs (id, tenant, state, run, spec, total_chunks, total_items, "
            "created_at, checked_at, finished_at) VALUES "
            f"('{job_id}', 'default', '{state}', 1, '{{}}', 6, 12, 1, 1, {finished_at})",
        )
        states = ["pending", "running", "succeeded", "succeeded", "failed", "cancelled"]
        for index, chunk_state in enumerate(states):
            rows(
                empty_url,
                "INSERT INTO chunks (job_id, idx, tenant, state, item_count, items_failed) "
                f"VALUES ('{job_id}', {index}, 'default', '{chunk_state}', 2, {index // 3})",
            )
    migrate(empty_url)
    async with connect(empty_url) as ledger:
        job_id = JobId("job_a")
        counts = await kept(ledger, job_id, 6)
        assert counts == await ours(ledger).closing.counts(job_id)
        assert counts == ChunkCounts(
            pending=1,
            running=1,
            succeeded=2,
            failed=1,
            cancelled=1,
            items_succeeded=4,
            items_failed=2,
        )
        # And they go on being kept.
        await ours(ledger).work.record_lost(job_id, None, BROKEN, run=1)
        assert await kept(ledger, job_id, 6) == await ours(ledger).closing.counts(job_id)
    # Of a finished job the counts are with the job.
    assert rows(empty_url, "SELECT DISTINCT job_id FROM job_counts") == [("job_a",)]


class Counted:
    """A database that counts the reads of chunks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among
        self.chunk_reads = 0

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self.chunk_reads += "FROM chunks" in sql
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def test_the_errors_of_all_jobs_of_a_page_are_grouped_by_two_queries(ledger: Ledger) -> None:
    broken = [await running(ledger, [1] * 4) for _ in range(5)]
    for number, job_id in enumerate(broken):
        await fail(ledger, job_id, 0, Failure(type="Once", message=f"in job {number}"))
        for index in (2, 3):
            await fail(ledger, job_id, index, Failure(type="Twice", message="in each"))
    whole = await running(ledger, [1])
    database = Counted(ledger.database)
    jobs = Jobs(database, DEFAULT_TENANT, error_groups.RunningErrorGroups(database))

    page = await jobs.page(state=None, labels={}, before=None, limit=10)

    assert database.chunk_reads == 2
    errors = {job.id: job.errors for job in page}
    assert errors[whole] == ()
    for number, job_id in enumerate(broken):
        assert errors[job_id] == (
            ErrorGroup("Twice", "in each", 2, 2),
            ErrorGroup("Once", f"in job {number}", 1, 0),
        )
    await jobs.page(state=None, labels={}, before=None, limit=10)
    assert database.chunk_reads == 2, "nothing has failed since"


async def test_of_each_job_the_first_failures_and_the_largest_groups_are_given(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_groups, "_JOBS_A_QUERY", 2)
    total = error_groups.MAX_FAILURES_GROUPED + 1
    jobs = [await running(ledger, [1] * total) for _ in range(3)]
    for job_id in jobs:
        await ours(ledger).work.record_lost(job_id, None, Failure(type="Lost", message="m"), run=1)
    # So many groups of one as there are places for, and one more, which is the last.
    for group in range(error_groups.MAX_ERROR_GROUPS):
        rows(ledger_url, f"UPDATE chunks SET error_message = '{group}' WHERE idx = {group}")
    groups = await error_groups.RunningErrorGroups(ledger.database).of(
        dict.fromkeys(jobs, (1, total))
    )
    for job_id in jobs:
        most, *others = groups[job_id]
        of_one = error_groups.MAX_ERROR_GROUPS
        assert most == ErrorGroup("Lost", "m", error_groups.MAX_FAILURES_GROUPED - of_one, of_one)
        assert [group.message for group in others] == [str(number) for number in range(of_one - 1)]


async def test_grouping_takes_a_small_share_of_the_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_groups, "GROUPING_SHARE", 1e-9)  # as if it had taken for ever
    job_id, other = await running(ledger, [1] * 3), await running(ledger, [1])
    await fail(ledger, job_id, 0)
    await fail(ledger, other, 0)
    database = Counted(ledger.database)
    remembered = error_groups.RunningErrorGroups(database)
    first = await remembered.of({job_id: (1, 1)})
    # Until it is worth the time again, what is known has to do; the other is new.
    both = await remembered.of({job_id: (1, 2), other: (1, 1)})
    assert both[job_id] == first[job_id]
    assert both[other] == first[job_id]
    await remembered.of({job_id: (1, 3), other: (1, 1)})
    assert database.chunk_reads == 4
