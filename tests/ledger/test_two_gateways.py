"""Two gateways on one ledger: each job is claimed once, whichever of them is quicker."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import starting as starting_module
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Batch, Database, Row, Statement, Value
from fanfold.ledger.records import now_ms
from fanfold.ledger.starting import Places, Starting
from tests.ledger.jobs_recorded import (
    claimed_starts,
    closed,
    record,
    running,
)
from tests.ledger.test_starting import EVERY_TIME, compared, let_claims_run_out, recorded


class SeesSomeJobs:
    """A database whose reads leave out jobs, by the last digit of their ids."""

    def __init__(self, database: Database, digits: str) -> None:
        self._database = database
        self._digits = digits
        self.skip_locked = database.skip_locked
        self.among = database.among

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        rows = await self._database.read(sql, parameters)
        return [row for row in rows if isinstance(row[0], int) or row[0][-1] in self._digits]

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def test_two_gateways_start_every_job_once(ledger: Ledger, another: Ledger) -> None:
    job_ids = await recorded(ledger, 60)
    given: Counter[str] = Counter()
    async with asyncio.timeout(60):
        while sum(given.values()) < len(job_ids):
            for claimed in await asyncio.gather(
                *(claimed_starts(gateway, limit=7) for gateway in (ledger, another))
            ):
                given.update(claimed)
    assert given == Counter(job_ids)
    assert await claimed_starts(ledger) == []


async def test_two_gateways_compare_every_job_once(ledger: Ledger, another: Ledger) -> None:
    job_ids = [await running(ledger) for _ in range(30)]
    since = now_ms() + 1
    given: Counter[str] = Counter()
    async with asyncio.timeout(60):
        while sum(given.values()) < len(job_ids):
            for jobs in await asyncio.gather(
                *(
                    gateway.starting.to_check(unchecked_since=since, limit=4)
                    for gateway in (ledger, another)
                )
            ):
                given.update(job.id for job in jobs)
    assert given == Counter(job_ids)


async def test_two_gateways_together_keep_the_bound(ledger: Ledger, another: Ledger) -> None:
    places, left = Places(3), {await record(ledger) for _ in range(60)}
    under_way: set[JobId] = set()
    async with asyncio.timeout(60):
        while left:
            turns = await asyncio.gather(
                *(claimed_starts(gateway, places=places) for gateway in (ledger, another))
            )
            assert not set(turns[0]) & set(turns[1])
            under_way.update(*turns)
            assert len(under_way) <= places.total
            left -= under_way
            for job_id in under_way:
                await closed(ledger, job_id)
            under_way.clear()


async def test_the_bound_is_kept_by_gateways_that_choose_different_jobs(
    ledger: Ledger, another: Ledger
) -> None:
    """As where a job with an earlier id is sealed between their looks."""
    places = Places(3)
    gateways = [
        Starting(SeesSomeJobs(one.database, digits))
        for one, digits in ((ledger, "02468"), (another, "13579"))
    ]
    for _ in range(60):
        await recorded(ledger, 6)
        turns = await asyncio.gather(*(one.to_start(places, limit=100) for one in gateways))
        job_ids = [job.id for turn in turns for job in turn.jobs]
        assert 0 < len(job_ids) <= places.total
        for job_id in job_ids:
            await closed(ledger, job_id)


async def test_what_a_dead_gateway_was_to_start_is_found_once_its_claim_has_run_out(
    ledger: Ledger, another: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await record(ledger)
    assert await claimed_starts(ledger) == [job_id]  # and it dies
    assert await claimed_starts(another) == []
    assert await compared(another) == []
    let_claims_run_out(ledger_url)
    # It may have been started: that is looked up first.
    monkeypatch.setattr(starting_module, "CLAIM_MS", 60_000)
    assert await compared(another) == [(job_id, JobState.PENDING)]
    await another.starting.forget_workflow([job_id])
    assert await claimed_starts(another) == [job_id]


async def test_what_a_dead_gateway_was_to_compare_is_found_once_its_claim_has_run_out(
    ledger: Ledger, another: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    assert len(await ledger.starting.to_check(unchecked_since=EVERY_TIME, limit=10)) == 1
    assert await compared(another) == []
    let_claims_run_out(ledger_url)
    assert await compared(another) == [(job_id, JobState.RUNNING)]


async def test_claims_and_marks_beside_each_other_never_deadlock(
    ledger: Ledger, another: Ledger
) -> None:
    """A deadlock would last for the second after which PostgreSQL ends it."""
    job_ids = await recorded(ledger, 10)

    async def work(gateway: Ledger, ids: list[JobId]) -> None:
        await asyncio.gather(*(gateway.starting.release([job_id]) for job_id in ids))
        await asyncio.gather(
            claimed_starts(gateway), compared(gateway), gateway.starting.forget_workflow(ids)
        )

    for _ in range(200):
        async with asyncio.timeout(0.9):
            await asyncio.gather(work(ledger, job_ids), work(another, job_ids[::-1]))
