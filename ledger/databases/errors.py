"""What an error of a database comes to: it passes by itself, or it does not.

What is not in these tables is a LedgerFailure: the database answered, and will give
the same answer again.
"""

import sqlite3

from fanfold.ledger.database import LedgerFailure, LedgerUnavailable, UniqueViolation

# SQLSTATEs of PostgreSQL: a class, which is two characters, or one code of a class.
PASSING_SQLSTATES = (
    "08",  # the connection could not be made, or is lost
    "25006",  # a read-only transaction: a fail-over is under way, this server is the standby
    "25P03",  # the session sat idle in a transaction: this process was held up
    "25P04",  # the transaction took longer than the server allows: it is busy
    "40",  # deadlocks and the like: the others go on, and then it is this one's turn
    "53000",  # short of something
    "53100",  # the disk is full
    "53200",  # out of memory
    "53300",  # too many connections
    "55P03",  # waited too long for a lock
    "57",  # the server starts, stops or recovers, or somebody cancelled the statement
    "58",  # the server's disk failed; another server takes over
)
REPEATABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
"""Others were in the way for a moment, and nothing was written: worth another try at once."""

UNIQUE_SQLSTATE = "23505"

# A prepared statement is not there, or there already: another client's session.
_OF_ANOTHER_SESSION = frozenset({"26000", "42P05"})

PASSING_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,  # another process writes for too long
        sqlite3.SQLITE_LOCKED,  # so does another connection of this process
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,  # the disk is mounted again after an error, or the file moved
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,  # the disk failed, or the file is as large as it may be
        sqlite3.SQLITE_FULL,  # the disk is full
        sqlite3.SQLITE_CANTOPEN,  # too many open files, or the directory is away
        sqlite3.SQLITE_PROTOCOL,  # others kept the write-ahead log locked
        sqlite3.SQLITE_SCHEMA,  # the tables change at the moment
    }
)
_UNIQUE_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    }
)
# An extended code of SQLite's has the plain one in its lowest byte.
_PLAIN_CODE = 0xFF


def from_sqlstate(sqlstate: str, message: str) -> Exception:
    """The error of the port for what PostgreSQL answered."""
    if sqlstate == UNIQUE_SQLSTATE:
        return UniqueViolation(message)
    if sqlstate.startswith(PASSING_SQLSTATES):
        return LedgerUnavailable(message)
    if sqlstate in _OF_ANOTHER_SESSION:
        message += ": a pooler is in between; add pooler=transaction to FANFOLD_LEDGER_URL"
    return LedgerFailure(f"{message} (SQLSTATE {sqlstate})")


def from_sqlite(error: Exception, database: object) -> Exception:
    """The error of the port for what SQLite, or its driver, raised."""
    message = f"{database}: {error}"
    # The driver's own errors have no code: a value that cannot be bound, say.
    code = getattr(error, "sqlite_errorcode", None)
    if code in _UNIQUE_SQLITE_CODES:
        return UniqueViolation(message)
    if code is not None and code & _PLAIN_CODE in PASSING_SQLITE_CODES:
        return LedgerUnavailable(message)
    return LedgerFailure(message)
