"""PostgreSQL, for a cluster: a pool of connections, one round trip a transaction.

A few writers at a time; what comes while they are busy gathers, and goes into one
transaction (group commit). An idle ledger so writes at once, a busy one in batches.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ledger.database import Batch, LedgerUnavailable, Row, Statement, UniqueViolation, Value

MAX_CONNECTIONS = 8
# Longer than a fail-over's first refused connections, shorter than a client's patience.
CONNECT_TIMEOUT_SECONDS = 5.0
# The rest of the pool is for reads.
MAX_WRITERS = 3
# Each locks the rows it writes until the end of the transaction.
MAX_SCRIPTS_IN_A_TRANSACTION = 100

Script = tuple[Statement | Batch, ...]


class PostgresqlDatabase:
    """A database by its `postgresql://` URL. One object belongs to one event loop."""

    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        """Prepare the pool; connections are made when first needed."""
        self._pool = AsyncConnectionPool[AsyncConnection[Row]](
            url,
            min_size=1,
            max_size=MAX_CONNECTIONS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            kwargs={
                "autocommit": True,
                "client_encoding": "UTF8",
                "connect_timeout": int(CONNECT_TIMEOUT_SECONDS),
            },
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        self._waiting: list[tuple[Script, asyncio.Future[list[list[Row]]]]] = []
        self._flushing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the pool; it goes on trying where the server is not there yet."""
        await self._pool.open()

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """See Database.read."""
        async with self._connection() as connection:
            cursor = await connection.execute(_translated(sql), parameters)
            return await cursor.fetchall()

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """See Database.write."""
        done: asyncio.Future[list[list[Row]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((script, done))
        if len(self._flushing) < MAX_WRITERS:
            flushing = asyncio.create_task(self._flush())
            self._flushing.add(flushing)
            flushing.add_done_callback(self._flushing.discard)
        # A caller that goes away takes nothing back: its script stays where it waits.
        return await done

    async def give_space_back(self) -> bool:
        """See Database.give_space_back; PostgreSQL's autovacuum does it by itself."""
        return False

    async def close(self) -> None:
        """See Database.close."""
        await asyncio.gather(*self._flushing)
        await self._pool.close()

    async def _flush(self) -> None:
        """Write what waits, until nothing does; whatever comes meanwhile gathers."""
        while self._waiting:
            batch = self._waiting[:MAX_SCRIPTS_IN_A_TRANSACTION]
            del self._waiting[:MAX_SCRIPTS_IN_A_TRANSACTION]
            try:
                answers: list[list[list[Row]] | Exception] = list(
                    await self._commit([script for script, _ in batch])
                )
            except Exception as error:  # noqa: BLE001 - handed to whose script it is
                # Which of them is at fault, each finds out alone.
                answers = (
                    [error]
                    if len(batch) == 1
                    else [await self._commit_alone(script) for script, _ in batch]
                )
            for (_, done), answer in zip(batch, answers, strict=True):
                if done.cancelled():
                    continue
                if isinstance(answer, Exception):
                    done.set_exception(answer)
                    done.exception()  # a caller that went away is no reason to log
                else:
                    done.set_result(answer)

    async def _commit_alone(self, script: Script) -> list[list[Row]] | Exception:
        try:
            (rows,) = await self._commit([script])
        except Exception as error:  # noqa: BLE001 - handed to whose script it is
            return error
        return rows

    async def _commit(self, scripts: list[Script]) -> list[list[list[Row]]]:
        """One transaction over all scripts, in one round trip."""
        async with self._connection() as connection:
            async with connection.pipeline(), connection.transaction():
                cursors = [
                    [await _send(connection, statement) for statement in script]
                    for script in scripts
                ]
            return [
                [
                    await cursor.fetchall()
                    if isinstance(statement, Statement) and cursor.description
                    else []
                    for statement, cursor in zip(script, sent, strict=True)
                ]
                for script, sent in zip(scripts, cursors, strict=True)
            ]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Row]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except psycopg.errors.UniqueViolation as error:
            raise UniqueViolation(str(error)) from error
        except (psycopg.Error, PoolTimeout) as error:
            raise LedgerUnavailable(f"PostgreSQL: {one_line(error)}") from error


async def _send(
    connection: AsyncConnection[Row], statement: Statement | Batch
) -> psycopg.AsyncCursor[Row]:
    cursor = connection.cursor()
    sql = _translated(statement.sql)
    if isinstance(statement, Batch):
        await cursor.executemany(sql, statement.rows)
    else:
        await cursor.execute(sql, statement.parameters)
    return cursor


def one_line(error: Exception) -> str:
    """The error's message without its line breaks."""
    return " ".join(str(error).split())


@functools.cache
def _translated(sql: str) -> bytes:
    # No statement of the ledger holds a literal question mark or percent sign.
    return sql.replace("?", "%s").encode()
