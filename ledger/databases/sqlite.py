"""SQLite, for one machine: reads in the event loop, writes in one thread.

A point read takes microseconds, a hop to a thread some hundred: reads therefore run
where they are called. Writes wait for the disk, so they go to a writer thread, which
commits everything that queued up meanwhile in one transaction (group commit).
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fanfold.ledger.database import Batch, LedgerUnavailable, Row, Statement, Value
from fanfold.ledger.databases.errors import from_sqlite
from fanfold.ledger.databases.group_commit import Answer, GroupCommit, Script

# Other processes write to the same file; each holds the lock for milliseconds.
BUSY_TIMEOUT_MS = 20_000
# One transaction holds the lock that every other process waits for.
MAX_SCRIPTS_IN_A_TRANSACTION = 500
CACHE_KIB = 16 * 1024
# After a large transaction the write-ahead log is cut back to this.
MAX_IDLE_WAL_BYTES = 16 * 1024 * 1024
# Free pages within this share of the file are kept: the next rows will fill them.
KEPT_FREE_SHARE = 1 / 8
PAGES_GIVEN_BACK_AT_ONCE = 256


class SqliteDatabase:
    """A database file in WAL mode. One object belongs to one event loop."""

    skip_locked = ""
    among = "IN ({})"

    def __init__(self, path: Path) -> None:
        """Open the file; raises LedgerUnavailable where that is not possible."""
        self._path = path
        self._reader: sqlite3.Connection | None = _open(path)
        self._writer = _Writer(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._writes = GroupCommit(
            self._commit, max_writers=1, max_scripts=MAX_SCRIPTS_IN_A_TRANSACTION
        )
        self._closed = False

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """See Database.read."""
        if self._closed:
            raise LedgerUnavailable(f"{self._path}: closed")
        if self._reader is None:
            self._reader = _open(self._path)
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except Exception as error:
            # Whether it is of any more use is not worth finding out: opening takes a millisecond.
            _close(self._reader)
            self._reader = None
            raise from_sqlite(error, self._path) from error

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """See Database.write."""
        return await self._writes.write(script)

    async def give_space_back(self) -> bool:
        """See Database.give_space_back."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.shrink)

    async def close(self) -> None:
        """See Database.close."""
        await self._writes.close()
        self._closed = True
        self._thread.shutdown()
        _close(self._reader)
        self._writer.close()

    async def _commit(self, scripts: list[Script]) -> list[Answer]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._writer.commit, scripts)


class _Writer:
    """What the writer thread has: a connection, and the lock by which processes take turns.

    Both are thrown away after an error that is not one script's own, and opened again by
    the next transaction: no state they may be in then is worth telling apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: IO[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._open()

    def commit(self, scripts: list[Script]) -> list[Answer]:
        """One transaction over all scripts, each in a savepoint of its own."""
        try:
            with self._turn() as connection:
                connection.execute("BEGIN IMMEDIATE")
                answers = [self._run(connection, script) for script in scripts]
                connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to those whose scripts they are
            self.close()
            return [self._broken_off(error) for _ in scripts]
        return answers

    def shrink(self) -> bool:
        """See Database.give_space_back."""
        try:
            return _shrink(self._open()[0])
        except sqlite3.Error as error:
            self.close()
            raise from_sqlite(error, self._path) from error

    def close(self) -> None:
        """Let go of both; what was not committed is rolled back."""
        _close(self._connection)
        _close(self._lock)
        self._connection = self._lock = None

    def _open(self) -> tuple[sqlite3.Connection, IO[str]]:
        if self._connection is None:
            self._connection = _open(self._path)
        if self._lock is None:
            try:
                self._lock = lock_file(self._path).open("w")
            except OSError as error:
                raise LedgerUnavailable(f"{self._path}: {error}") from error
        return self._connection, self._lock

    def _broken_off(self, error: Exception) -> Exception:
        if isinstance(error, LedgerUnavailable):
            return LedgerUnavailable(str(error))
        if hasattr(error, "sqlite_errorcode"):
            return from_sqlite(error, self._path)
        # The lock, or a connection that somebody closed: both are opened again.
        return LedgerUnavailable(f"{self._path}: {error}")

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        """Wait for this process's turn to write.

        SQLite's own lock is not waited for but tried again, at growing intervals: with two
        busy writers one of them waits for up to a second. A lock of the system's wakes the
        next in line at once.
        """
        connection, lock = self._open()
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield connection
        except BaseException:
            # Before the turn ends: nobody else could write before it is rolled back.
            self.close()
            raise
        fcntl.flock(lock, fcntl.LOCK_UN)

    def _run(self, connection: sqlite3.Connection, script: Script) -> Answer:
        connection.execute("SAVEPOINT script")
        try:
            answer: Answer = [_execute(connection, statement) for statement in script]
        except Exception as error:
            answer = from_sqlite(error, self._path)
            if isinstance(answer, LedgerUnavailable) or not connection.in_transaction:
                # The disk or the file: nothing of this transaction can be kept.
                raise LedgerUnavailable(str(answer)) from error
            connection.execute("ROLLBACK TO script")
        connection.execute("RELEASE script")
        return answer


def lock_file(path: Path) -> Path:
    """The file beside the database that writers, and whoever migrates it, hold locked."""
    return path.with_name(path.name + ".lock")


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # What is acknowledged must survive a power cut too, not only a crash.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_WAL_BYTES}")
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"{path}: {error}") from error
    return connection


def _close(opened: sqlite3.Connection | IO[str] | None) -> None:
    if opened is not None:
        # What cannot even be closed is let go of all the same.
        with suppress(sqlite3.Error, OSError):
            opened.close()


def _execute(connection: sqlite3.Connection, statement: Statement | Batch) -> list[Row]:
    if isinstance(statement, Batch):
        connection.executemany(statement.sql, statement.rows)
        return []
    return connection.execute(statement.sql, statement.parameters).fetchall()


def _shrink(connection: sqlite3.Connection) -> bool:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    # So many that what stays free is that share of what stays.
    too_many = int((free - pages * KEPT_FREE_SHARE) / (1 - KEPT_FREE_SHARE))
    if too_many <= 0:
        return False
    count = min(too_many, PAGES_GIVEN_BACK_AT_ONCE)
    # It steps once a page, and only a script is stepped to its end.
    connection.executescript(f"PRAGMA incremental_vacuum({count})")
    if count == too_many:
        # The file itself is cut when its log is written back; nobody is waited for.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return too_many > count
