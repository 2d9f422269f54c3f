"""Brings a ledger's tables up to date, whichever process comes first.

Alembic, with SQLAlchemy under it, takes half a second to import, so it is imported
only where the ledger is behind the newest revision.
"""

import fcntl
import functools
import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.contract import settings
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable
from fanfold.ledger.databases.sqlite import lock_file

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection

HEAD = "0006"
"""The newest revision in `migrations/versions`; a test holds the two together."""

_log = logging.getLogger("fanfold.ledger")

_SQLITE = "sqlite:///"
_INCREMENTAL = 2
_SELECT_REVISION = "SELECT version_num FROM alembic_version"
# Any number will do, as long as nothing else in the database locks it.
_ADVISORY_LOCK = 72_330_001
# Somebody who watches a start that does not come on is to know why.
_SILENT_WAIT_SECONDS = 1.0


def migrate(url: str) -> None:
    """Create or upgrade the tables; safe to call from many processes at once.

    A ledger that is newer than this code is left alone: during a rolling upgrade the
    old release goes on beside the new one.

    Raises LedgerUnavailable where the database cannot be opened.
    """
    if url.startswith(_SQLITE):
        _migrate_sqlite(Path(url.removeprefix(_SQLITE)))
    else:
        _migrate_postgresql(url)


def _migrate_sqlite(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Its owner's alone, as is then what SQLite puts beside it. One that is there stays
        # as open as it is: somebody may have wanted that.
        for file in (path, lock_file(path)):
            file.touch(mode=0o600)
        with _file_lock(lock_file(path)):
            revision = _sqlite_revision(path)
            if revision >= HEAD:
                return
            if revision:
                _make_shrinkable(path)
            from sqlalchemy import create_engine, event

            engine = create_engine(f"{_SQLITE}{path}")
            # The driver would commit before each CREATE TABLE; a migration that is killed
            # half-way must leave nothing behind.
            event.listen(engine, "connect", _leave_transactions_to_us)
            event.listen(engine, "connect", _let_it_shrink)
            event.listen(engine, "begin", _begin)
            with engine.connect() as connection:
                _upgrade(connection)
            engine.dispose()
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"{path}: {error}") from error


def _migrate_postgresql(url: str) -> None:
    import psycopg

    from fanfold.ledger.databases.postgresql_url import parsed

    address = parsed(url)
    connect = functools.partial(psycopg.connect, address.conninfo, **address.options)
    try:
        with connect() as connection:
            if _postgresql_revision(connection.execute) >= HEAD:
                return
        _upgrade_postgresql(connect)
    except psycopg.Error as error:
        raise LedgerUnavailable(f"PostgreSQL: {' '.join(str(error).split())}") from error


def _upgrade_postgresql(connect: "Callable[[], psycopg.Connection[tuple[object, ...]]]") -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError

    engine = create_engine("postgresql+psycopg://", creator=connect)
    try:
        with engine.connect() as connection:
            # The lock ends with the transaction that migrates. One of a session would stay
            # behind in a pooler, whose next transaction runs in another session.
            with _waiting_is_said("the ledger"):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            if _postgresql_revision(connection.exec_driver_sql) < HEAD:
                _upgrade(connection)
    except DBAPIError as error:
        raise (error.orig or error) from error
    finally:
        engine.dispose()


def _upgrade(connection: "Connection") -> None:
    # It logs its plugins as soon as it is imported; a start says one line, its own.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
    connection.commit()


def _sqlite_revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
        if tables.fetchone() is None:
            return ""
        row = connection.execute(_SELECT_REVISION).fetchone()
        return str(row[0]) if row else ""


def _postgresql_revision(execute: Callable[[str], Any]) -> str:
    if execute("SELECT to_regclass('alembic_version')").fetchone()[0] is None:
        return ""
    row = execute(_SELECT_REVISION).fetchone()
    return str(row[0]) if row else ""


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        with _waiting_is_said(str(path)):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _waiting_is_said(lock: str) -> Iterator[None]:
    """Log that somebody else holds the lock, if what is done here takes longer than a moment."""
    message = "waiting for another process to let go of %s, which it migrates or writes to"
    said = threading.Timer(_SILENT_WAIT_SECONDS, _log.warning, (message, lock))
    said.daemon = True
    said.start()
    try:
        yield
    finally:
        said.cancel()


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _let_it_shrink(connection: sqlite3.Connection, _record: object) -> None:
    # It counts only before the first table, and then stays with the file.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


def _make_shrinkable(path: Path) -> None:
    """Rewrite a file of an older release so that it can give space back.

    It takes the size of its data once more, for the moment. Where that is not possible
    the ledger works as it did, only that its file never shrinks.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if connection.execute("PRAGMA auto_vacuum").fetchone() == (_INCREMENTAL,):
            return
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            _log.warning("%s cannot be rewritten to give space back: %s", path, error)


def _begin(connection: "Connection") -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def main() -> int:
    """Bring the configured ledger up to date; the exit code."""
    try:
        migrate(settings.load(settings.LedgerSettings).ledger)
    except settings.InvalidSettings as error:
        sys.stderr.write(f"fanfold migrate: {error}\n")
        return settings.EXIT_BAD_SETTINGS
    except (LedgerUnavailable, LedgerFailure) as error:
        sys.stderr.write(f"fanfold migrate: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
