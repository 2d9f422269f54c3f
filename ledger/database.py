"""The port to an SQL database: reads, and writes of one transaction each.

A write is a list of statements known beforehand, never a conversation: conditions
live in the SQL. So SQLite runs it in one hop to its writer thread and commits it
together with whatever else is waiting, and PostgreSQL sends it in one round trip.

SQL here is what SQLite (3.35 or newer) and PostgreSQL share, with `?` for parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Value = str | int | float | bytes | None
Row = tuple[Any, ...]


class UniqueViolation(Exception):
    """A row with this key exists already; nothing of the transaction was written."""


class LedgerUnavailable(Exception):
    """The database cannot be reached or written right now; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its parameters."""

    sql: str
    parameters: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One SQL statement without a result, run once for each row of parameters."""

    sql: str
    rows: Sequence[Sequence[Value]]


class Database(Protocol):
    """What the ledger asks of a database. Every method raises LedgerUnavailable."""

    skip_locked: str
    """Ends the subquery that picks rows to claim: those that another transaction is about
    to take are passed over, not waited for. Empty where writers take turns anyway."""

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """The rows of one query."""

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """Run the script in one transaction; give back the rows of each statement.

        Raises UniqueViolation, having written nothing, where a key exists already.
        """

    async def give_space_back(self) -> bool:
        """Return some of the space of deleted rows to the disk; whether there is more of it."""

    async def close(self) -> None:
        """Finish what is being written, then let go of all connections."""


def placeholders(count: int) -> str:
    """`?, ?, ?` for an IN list."""
    return ", ".join("?" * count)
