"""Behind a pooler that lends a connection for one transaction, all works as without."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fanfold.ledger import outcomes
from fanfold.ledger.connect import connect
from fanfold.ledger.database import Batch, LedgerFailure
from fanfold.ledger.migrate import migrate
from fanfold.ledger.records import ChunkOutput
from tests.ledger.conftest import PostgresqlServer
from tests.ledger.jobs_recorded import begun, found, ours, running
from tests.ledger.pgbouncer import pgbouncer
from tests.ledger.test_writes import INSERT, adding, names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def direct_url(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql.new_database() as url:
        yield url


@pytest.fixture
def pooled_url(postgresql: PostgresqlServer, direct_url: str) -> Iterator[str]:
    with pgbouncer(postgresql, direct_url) as url:
        yield url


def advisory_locks(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'")
        ((count,),) = found.fetchall()
        return int(count)


def test_processes_that_start_together_migrate_once_and_leave_no_lock(
    pooled_url: str, direct_url: str
) -> None:
    code = "import sys; from ledger.migrate import migrate; migrate(sys.argv[1])"
    url = f"{pooled_url}?pooler=transaction"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert advisory_locks(direct_url) == 0
    migrate(url)


async def test_jobs_run_and_clients_share_connections(pooled_url: str) -> None:
    url = f"{pooled_url}?pooler=transaction"
    async with connect(url) as ledger, connect(url) as other:
        job_id = await running(ledger, [1] * 60)
        for first in range(0, 60, 20):
            attempts = await asyncio.gather(
                *(
                    begun(ledger if index % 2 else other, job_id, index)
                    for index in range(first, first + 20)
                )
            )
            await asyncio.gather(
                *(
                    ours(ledger).work.record(outcomes.succeeded(attempt, ChunkOutput(body=b"[1]")))
                    for attempt in attempts
                )
            )
        assert (await found(other, job_id)).counts.succeeded == 60


async def test_statements_are_run_often_by_many_clients_without_a_collision(
    pooled_url: str,
) -> None:
    url = f"{pooled_url}?pooler=transaction"
    async with connect(url) as ledger, connect(url) as other:
        for number in range(30):
            batch = Batch(INSERT, [("test", f"{number}-{row}", "{}", 0) for row in range(3)])
            await asyncio.gather(
                ledger.database.write(adding(f"{number}-a")),
                other.database.write(adding(f"{number}-b")),
                ledger.database.write(batch),
                *(names(client) for client in (ledger, other) for _ in range(10)),
            )
        assert len(await names(other)) == 30 * 5


async def test_a_url_that_does_not_name_the_pooler_is_told_how(pooled_url: str) -> None:
    migrate(f"{pooled_url}?pooler=transaction")
    async with connect(pooled_url) as ledger, connect(pooled_url) as other:

        async def collide() -> None:
            for _ in range(20):
                reads = (names(client) for client in (ledger, other) for _ in range(20))
                await asyncio.gather(*reads)

        with pytest.raises(LedgerFailure, match="add pooler=transaction to FANFOLD_LEDGER_URL"):
            await collide()
