"""PostgreSQL, for a cluster: a pool of connections, one round trip a transaction.

A few writers at a time; what comes while they are busy gathers, and goes into one
transaction (group commit). All of it works behind a pooler that lends a connection for
one transaction: nothing here outlives one but prepared statements, which are then off.
"""

import functools
import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from fanfold.ledger.database import Batch, LedgerFailure, LedgerUnavailable, Row, Statement, Value
from fanfold.ledger.databases.errors import REPEATABLE_SQLSTATES, from_sqlstate
from fanfold.ledger.databases.group_commit import Answer, GroupCommit, Script
from fanfold.ledger.databases.named_rows import named_row
from fanfold.ledger.databases.postgresql_url import parsed

MAX_CONNECTIONS = 8
# How long a caller waits for one of them: longer than a restart, shorter than its patience.
CONNECTION_TIMEOUT_SECONDS = 5.0
# A server that is away is asked so often, and not, as is the pool's habit, at intervals that
# double: after an outage of minutes, the first success came half a minute late.
RECONNECT_INTERVAL_SECONDS = 0.5
# The rest of the pool is for reads.
MAX_WRITERS = 3
# Each locks the rows it writes until the end of the transaction.
MAX_SCRIPTS_IN_A_TRANSACTION = 100
# Any number will do, as long as nothing else in the database locks it.
_TURN = 72_330_002

# It logs every attempt to connect, and what it could not tell a connection that is lost
# anyway; whoever asks the ledger meanwhile logs the error that comes of it.
logging.getLogger("psycopg").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class _Try:
    """How one try of a transaction treats rows that others have locked."""

    lock_timeout_ms: int
    """How long it waits for each; zero is for ever."""

    in_turn: bool = False
    """Whether it first waits for its turn: of all clients, one at a time has it."""


# Transactions that lock the same rows in different orders wait for each other, which the
# server finds out after a second. The first tries give up long before that. What is tried
# in turn waits for no other of its kind, and for others until these give up: so all
# get through. What waits even longer waits for a long transaction, not for one that waits.
_TRIES = (_Try(50), _Try(100), _Try(1000, in_turn=True), _Try(0))


class _RolledBack(Exception):
    """Nothing of the transaction was written, which is certain; `__cause__` says why."""

    @property
    def is_repeatable(self) -> bool:
        """Others were in the way, and may not be the next time."""
        return getattr(self.__cause__, "sqlstate", None) in REPEATABLE_SQLSTATES


class PostgresqlDatabase:
    """A database by its `postgresql://` URL. One object belongs to one event loop."""

    skip_locked = "FOR UPDATE SKIP LOCKED"
    # Of IN it may make a join with all that have the rest of the key.
    among = "= ANY(ARRAY({}))"

    def __init__(self, url: str) -> None:
        """Prepare the pool; connections are made when first needed."""
        address = parsed(url)
        self._pool = AsyncConnectionPool[AsyncConnection[Row]](
            address.conninfo,
            min_size=1,
            max_size=MAX_CONNECTIONS,
            timeout=CONNECTION_TIMEOUT_SECONDS,
            kwargs={"autocommit": True, "row_factory": named_row, **address.options},
            check=self._check,
            reconnect_timeout=RECONNECT_INTERVAL_SECONDS,
            reconnect_failed=self._reconnect_failed,
            open=False,
        )
        self._writes = GroupCommit(
            self._commit, max_writers=MAX_WRITERS, max_scripts=MAX_SCRIPTS_IN_A_TRANSACTION
        )
        self._connect_error = ""

    async def open(self) -> None:
        """Start the pool; it goes on trying where the server is not there yet."""
        await self._pool.open()

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """See Database.read."""
        try:
            try:
                return await self._read(sql, parameters)
            except psycopg.OperationalError as error:
                if isinstance(error, PoolTimeout) or not _is_connection_lost(error):
                    raise
                return await self._read(sql, parameters)
        except Exception as error:
            raise self._answer(error) from error

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """See Database.write."""
        return await self._writes.write(script)

    async def give_space_back(self) -> bool:
        """See Database.give_space_back; PostgreSQL's autovacuum does it by itself."""
        return False

    async def close(self) -> None:
        """See Database.close."""
        await self._writes.close()
        await self._pool.close()

    async def _read(self, sql: str, parameters: Sequence[Value]) -> list[Row]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_translated(sql), parameters)
            return await cursor.fetchall()

    async def _commit(self, scripts: list[Script]) -> list[Answer]:
        try:
            return await self._together_or_alone(scripts)
        except Exception as error:  # noqa: BLE001 - handed to those whose scripts they are
            # Some of it, or all, may have been committed: it is theirs to repeat it.
            return [self._answer(error) for _ in scripts]

    async def _together_or_alone(self, scripts: list[Script]) -> list[Answer]:
        """All in one transaction; where that was rolled back, one by one."""
        first, *others = _TRIES
        try:
            return [*await self._transaction(scripts, first)]
        except _RolledBack as rolled_back:
            if len(scripts) == 1 and not rolled_back.is_repeatable:
                return [self._answer(rolled_back)]
        answers: dict[int, Answer] = {}
        left = [*enumerate(scripts)]
        for nth in others:
            trying, left = left, []
            for i, script in trying:
                try:
                    (answers[i],) = await self._transaction([script], nth)
                except _RolledBack as rolled_back:
                    answers[i] = self._answer(rolled_back)
                    if rolled_back.is_repeatable:
                        left.append((i, script))
        return [answers[i] for i in range(len(scripts))]

    async def _transaction(self, scripts: list[Script], nth: _Try) -> list[list[list[Row]]]:
        """One transaction over all scripts, in one round trip."""
        async with self._pool.connection() as connection:
            try:
                async with connection.pipeline(), connection.transaction():
                    await connection.execute(_lock_timeout(nth.lock_timeout_ms), prepare=False)
                    if nth.in_turn:
                        await connection.execute(f"SELECT pg_advisory_xact_lock({_TURN})")
                    cursors = [
                        [await _send(connection, statement) for statement in script]
                        for script in scripts
                    ]
            except Exception as error:
                if _is_connection_lost(error):
                    raise
                raise _RolledBack from error
            return [
                [
                    await cursor.fetchall()
                    if isinstance(statement, Statement) and cursor.description
                    else []
                    for statement, cursor in zip(script, sent, strict=True)
                ]
                for script, sent in zip(scripts, cursors, strict=True)
            ]

    async def _check(self, connection: AsyncConnection[Row]) -> None:
        """Raise where the connection is dead; the pool then takes another one."""
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            # Whatever ended it ended the others too, as a rule. The pool would find them out
            # one by one, and wait longer after each.
            await self._pool.check()
            raise
        self._connect_error = ""

    async def _reconnect_failed(self, pool: AsyncConnectionPool[AsyncConnection[Row]]) -> None:
        """Try on for those who wait; the pool itself would leave it to the next who asks."""
        self._connect_error = _one_line(sys.exc_info()[1])
        if pool.get_stats().get("requests_waiting"):
            await pool.check()  # which has it grow, where it has no connection

    def _answer(self, error: BaseException) -> Exception:
        """The error of the port for what the driver, or the server, raised."""
        if isinstance(error, _RolledBack) and error.__cause__ is not None:
            error = error.__cause__
        message = f"PostgreSQL: {_one_line(error)}"
        if isinstance(error, PoolTimeout) and self._connect_error:
            message = f"{message}: {self._connect_error}"
        if isinstance(error, psycopg.Error) and error.sqlstate is not None:
            return from_sqlstate(error.sqlstate, message)
        if isinstance(error, psycopg.OperationalError):
            return LedgerUnavailable(message)
        return LedgerFailure(message)  # a value that the driver cannot send


def _is_connection_lost(error: Exception) -> bool:
    """Whether the session ended, so that what it did last is unknown.

    The last words of a server that ends a session have a code like any answer, and may come
    after the answer to the COMMIT.
    """
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is not None:
        return error.diag.severity_nonlocalized != "ERROR"
    return isinstance(error, psycopg.OperationalError)


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


def _lock_timeout(milliseconds: int) -> bytes:
    # Two that wait for each other must not give up at the same moment, again and again.
    varied = round(milliseconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    return f"SET LOCAL lock_timeout = {varied}".encode()


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error or "").split())


@functools.cache
def _translated(sql: str) -> bytes:
    # No statement of the ledger holds a literal question mark or percent sign.
    return sql.replace("?", "%s").encode()
