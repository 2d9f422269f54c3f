"""Opens a ledger by its URL: picks the database and brings its tables up to date."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.catalog import Catalog
from ledger.chunks import Chunks
from ledger.closing import Closing
from ledger.database import Database
from ledger.jobs import Jobs
from ledger.migrate import migrate
from ledger.receiving import Receiving
from ledger.retention import Retention
from ledger.starting import Starting
from ledger.uploads import Uploads
from ledger.work import Work

SQLITE_SCHEME = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger's operations, over one database."""

    id: str
    """Tells this ledger from every other; it stays with the data, whatever the URL."""
    database: Database
    jobs: Jobs
    chunks: Chunks
    work: Work
    closing: Closing
    catalog: Catalog
    retention: Retention
    receiving: Receiving
    uploads: Uploads
    starting: Starting

    @classmethod
    def over(cls, database: Database, ledger_id: str) -> "Ledger":
        """All operations over this database, of the ledger that has this id."""
        return cls(
            ledger_id,
            database,
            Jobs(database),
            Chunks(database),
            Work(database),
            Closing(database),
            Catalog(database),
            Retention(database),
            Receiving(database),
            Uploads(database),
            Starting(database),
        )


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Ledger]:
    """The ledger at `sqlite:///path` or `postgresql://...`, migrated, closed at the end.

    Raises LedgerUnavailable where it cannot be opened, LedgerFailure where it cannot be used.
    """
    migrate(url)
    database = await _open(url)
    try:
        ((ledger_id,),) = await database.read("SELECT id FROM ledger_identity")
        yield Ledger.over(database, str(ledger_id))
    finally:
        await database.close()


async def _open(url: str) -> Database:
    # Each driver is imported where it is used: a laptop needs no PostgreSQL client.
    if url.startswith(SQLITE_SCHEME):
        from ledger.databases.sqlite import SqliteDatabase

        return SqliteDatabase(Path(url.removeprefix(SQLITE_SCHEME)))
    from ledger.databases.postgresql import PostgresqlDatabase

    database = PostgresqlDatabase(url)
    await database.open()
    return database


async def check(url: str) -> None:
    """Migrate the ledger and read from it once, before anything is started that needs it.

    Raises LedgerUnavailable or LedgerFailure where it is of no use.
    """
    async with connect(url):
        return
