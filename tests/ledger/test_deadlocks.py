"""Transactions that lock the same rows in different orders: all get through, and at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg

from fanfold.ledger.database import Batch, Statement
from fanfold.ledger.databases.postgresql import PostgresqlDatabase
from fanfold.ledger.migrate import migrate
from tests.ledger.conftest import PostgresqlServer
from tests.ledger.test_writes import INSERT

COUNT_UP = "UPDATE catalog SET published_at = published_at + 1 WHERE name = ?"
# The server looks for deadlocks so late that a test which needs it to fails.
LATE = "ALTER DATABASE {} SET deadlock_timeout = '100s'"


@asynccontextmanager
async def clients(
    postgresql: PostgresqlServer, count: int, rows: list[str]
) -> AsyncIterator[list[PostgresqlDatabase]]:
    """So many clients of one ledger that has these rows."""
    with postgresql.new_database() as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(LATE.format(admin.info.dbname).encode())
        async with AsyncExitStack() as stack:
            databases = [PostgresqlDatabase(url) for _ in range(count)]
            for database in databases:
                await database.open()
                stack.push_async_callback(database.close)
            await databases[0].write(Batch(INSERT, [("test", name, "{}", 0) for name in rows]))
            yield databases


async def counted(database: PostgresqlDatabase) -> set[int]:
    found = await database.read("SELECT published_at FROM catalog")
    return {count for (count,) in found}


async def test_two_that_wait_for_each_other_give_up_long_before_the_server_looks(
    postgresql: PostgresqlServer,
) -> None:
    def marking(*names: str) -> list[Statement]:
        # Both have their first row before either asks for its second.
        pause = Statement("SELECT pg_sleep(0.02)")
        return [part for name in names for part in (Statement(COUNT_UP, (name,)), pause)]

    async with clients(postgresql, 2, ["a", "b"]) as (one, other), asyncio.timeout(30):
        for _ in range(10):
            await asyncio.gather(one.write(*marking("a", "b")), other.write(*marking("b", "a")))
        assert await counted(one) == {20}


async def test_many_that_mark_the_same_rows_in_any_order_all_get_through(
    postgresql: PostgresqlServer,
) -> None:
    rows = [f"{number}" for number in range(40)]
    async with clients(postgresql, 4, rows) as databases, asyncio.timeout(60):
        for _ in range(20):
            orders = [random.sample(rows, len(rows)) for _ in range(12)]
            await asyncio.gather(
                *(
                    databases[nth % 4].write(Batch(COUNT_UP, [(name,) for name in order]))
                    for nth, order in enumerate(orders)
                )
            )
        assert await counted(databases[0]) == {240}


async def test_scripts_of_groups_that_meet_all_get_through(postgresql: PostgresqlServer) -> None:
    rows = [f"{number}" for number in range(10)]
    async with clients(postgresql, 4, rows) as databases, asyncio.timeout(60):
        for _ in range(10):
            scripts = [
                (database, name)
                for database in databases
                for name in random.sample(rows * 5, len(rows) * 5)
            ]
            await asyncio.gather(
                *(database.write(Statement(COUNT_UP, (name,))) for database, name in scripts)
            )
        assert await counted(databases[0]) == {200}
