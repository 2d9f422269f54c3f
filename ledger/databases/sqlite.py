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
from contextlib import contextmanager
from pathlib import Path

from ledger.database import Batch, LedgerUnavailable, Row, Statement, UniqueViolation, Value

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

Script = tuple[Statement | Batch, ...]


class SqliteDatabase:
    """A database file in WAL mode. One object belongs to one event loop."""

    skip_locked = ""

    def __init__(self, path: Path) -> None:
        """Open the file; raises LedgerUnavailable where that is not possible."""
        self._path = path
        self._reader = _open(path)
        self._writer = _open(path)
        self._lock = lock_file(path).open("w")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._waiting: list[tuple[Script, asyncio.Future[list[list[Row]]]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """See Database.read."""
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self._path}: {error}") from error

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """See Database.write."""
        done: asyncio.Future[list[list[Row]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((script, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        # A caller that goes away takes nothing back: its script stays where it waits.
        return await done

    async def give_space_back(self) -> bool:
        """See Database.give_space_back."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._shrink)

    async def close(self) -> None:
        """See Database.close."""
        if self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()
        self._lock.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._waiting[:MAX_SCRIPTS_IN_A_TRANSACTION]
            del self._waiting[:MAX_SCRIPTS_IN_A_TRANSACTION]
            scripts = [script for script, _ in batch]
            outcomes = await loop.run_in_executor(self._thread, self._commit, scripts)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if done.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                    done.exception()  # a caller that went away is no reason to log
                else:
                    done.set_result(outcome)
        self._flushing = None

    def _commit(self, scripts: list[Script]) -> list[list[list[Row]] | Exception]:
        """One transaction over all scripts, each in a savepoint of its own."""
        with self._turn():
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                outcomes = [self._run(script) for script in scripts]
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                return [LedgerUnavailable(f"{self._path}: {error}")] * len(scripts)
            return outcomes

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this process's turn to write.

        SQLite's own lock is not waited for but tried again, at growing intervals: with two
        busy writers one of them waits for up to a second. A lock of the system's wakes the
        next in line at once.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _shrink(self) -> bool:
        try:
            (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
            (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
            # So many that what stays free is that share of what stays.
            too_many = int((free - pages * KEPT_FREE_SHARE) / (1 - KEPT_FREE_SHARE))
            if too_many <= 0:
                return False
            count = min(too_many, PAGES_GIVEN_BACK_AT_ONCE)
            # It steps once a page, and only a script is stepped to its end.
            self._writer.executescript(f"PRAGMA incremental_vacuum({count})")
            if count == too_many:
                # The file itself is cut when its log is written back; nobody is waited for.
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self._path}: {error}") from error
        return too_many > count

    def _run(self, script: Script) -> list[list[Row]] | Exception:
        self._writer.execute("SAVEPOINT script")
        try:
            rows = [self._execute(statement) for statement in script]
        except sqlite3.IntegrityError as error:
            outcome: Exception = UniqueViolation(str(error))
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError) as error:
            outcome = error  # a value that cannot be bound
        except sqlite3.Error:
            raise  # the disk or the file: nothing of this transaction can be kept
        except Exception as error:  # noqa: BLE001 - the same
            outcome = error
        else:
            self._writer.execute("RELEASE script")
            return rows
        self._writer.execute("ROLLBACK TO script")
        self._writer.execute("RELEASE script")
        return outcome

    def _execute(self, statement: Statement | Batch) -> list[Row]:
        if isinstance(statement, Batch):
            self._writer.executemany(statement.sql, statement.rows)
            return []
        return self._writer.execute(statement.sql, statement.parameters).fetchall()


def lock_file(path: Path) -> Path:
    """The file beside the database that writers, and whoever migrates it, hold locked."""
    return path.with_name(path.name + ".lock")


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # What is acknowledged must survive a power cut too, not only a crash.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_WAL_BYTES}")
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"{path}: {error}") from error
    return connection
