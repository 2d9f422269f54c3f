"""PostgreSQL, for a cluster: a pool of connections, one round trip a transaction."""

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


class PostgresqlDatabase:
    """A database by its `postgresql://` URL. One object belongs to one event loop."""

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
        async with self._connection() as connection:
            cursors: list[psycopg.AsyncCursor[Row]] = []
            async with connection.pipeline(), connection.transaction():
                for statement in script:
                    cursor = connection.cursor()
                    sql = _translated(statement.sql)
                    if isinstance(statement, Batch):
                        await cursor.executemany(sql, statement.rows)
                    else:
                        await cursor.execute(sql, statement.parameters)
                    cursors.append(cursor)
            return [
                await cursor.fetchall()
                if isinstance(statement, Statement) and cursor.description
                else []
                for statement, cursor in zip(script, cursors, strict=True)
            ]

    async def give_space_back(self) -> bool:
        """See Database.give_space_back: the server's autovacuum sees to it."""
        return False

    async def close(self) -> None:
        """See Database.close."""
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Row]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except psycopg.errors.UniqueViolation as error:
            raise UniqueViolation(str(error)) from error
        except (psycopg.Error, PoolTimeout) as error:
            raise LedgerUnavailable(f"PostgreSQL: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """The error's message without its line breaks."""
    return " ".join(str(error).split())


@functools.cache
def _translated(sql: str) -> bytes:
    # No statement of the ledger holds a literal question mark or percent sign.
    return sql.replace("?", "%s").encode()
