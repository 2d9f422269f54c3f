"""The port to an SQL database: reads, and writes of one transaction each.

A write is a list of statements known beforehand, never a conversation: conditions
live in the SQL. So SQLite runs it in one hop to its writer thread and commits it
together with whatever else is waiting, and PostgreSQL sends it in one round trip.

SQL here is what SQLite (3.35 or newer) and PostgreSQL share, with `?` for parameters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Value = str | int | float | bytes | None


class Row(Protocol):
    """A row of an answer: its columns by their names, or in their order."""

    def __getitem__(self, column: str | int, /) -> Any:  # noqa: ANN401 - what a database has in it
        """The value of a column."""

    def __iter__(self) -> Iterator[Any]:
        """The values of all columns."""

    def __len__(self) -> int:
        """How many columns there are."""


class UniqueViolation(Exception):
    """A row with this key exists already; nothing of the transaction was written."""


class LedgerUnavailable(Exception):
    """The database cannot be reached or written right now; the message says why.

    It passes: the connection is lost, the server starts or stops, a lock or the disk is
    taken. A write may have been committed all the same, where the answer was lost on the
    way. So callers repeat it, and every script is one that, written twice, is written once.
    """


class LedgerFailure(Exception):
    """The database answered, and refuses; the message says why.

    A statement that is wrong, a value that does not fit, a table that is not there, a right
    that is missing. Nothing was written, and trying again as it is cannot help.
    """


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
    """What the ledger asks of a database.

    Every method raises LedgerUnavailable for what passes by itself, LedgerFailure for what
    does not, and nothing else but what it names. See
    `fanfold.ledger.databases.errors`.
    """

    skip_locked: str
    """Ends the subquery that picks rows to claim: those that another transaction is about
    to take are passed over, not waited for. Empty where writers take turns anyway."""

    among: str
    """After a column, the last of a key: that it has one of the few values of a query, which
    takes the place of `{}`. In words in which they are looked up by the key, one by one."""

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """The rows of one query; it is repeated once where its connection turns out dead."""

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        """Run the script in one transaction; give back the rows of each statement.

        Raises UniqueViolation, having written nothing, where a key exists already. After
        LedgerFailure nothing was written either. After LedgerUnavailable that is unknown.

        Scripts that wait for each other's rows are repeated at once, one of them after the
        other. It costs some 50 ms; where it can happen often, let all scripts that
        write the same rows write them in the same order.
        """

    async def give_space_back(self) -> bool:
        """Return some of the space of deleted rows to the disk; whether there is more of it."""

    async def close(self) -> None:
        """Finish what is being written, then let go of all connections."""


def placeholders(count: int) -> str:
    """`?, ?, ?` for an IN list."""
    return ", ".join("?" * count)
