"""Opens a ledger by its URL: picks the database and brings its tables up to date."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fanfold.contract.names import TenantId
from fanfold.ledger.abandoned import Abandoned
from fanfold.ledger.attempts import Attempts
from fanfold.ledger.catalog import Catalog
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.closing import Closing
from fanfold.ledger.compensating import Compensating
from fanfold.ledger.database import Database
from fanfold.ledger.error_groups import RunningErrorGroups
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.migrate import migrate
from fanfold.ledger.pacing import Pacing
from fanfold.ledger.recording import Recording
from fanfold.ledger.redriving import Redriving
from fanfold.ledger.retention import Retention
from fanfold.ledger.starting import Starting
from fanfold.ledger.steering import Steering
from fanfold.ledger.sub_jobs import SubJobs
from fanfold.ledger.uploads import Uploads
from fanfold.ledger.watch import Watch
from fanfold.ledger.work import Work

SQLITE_SCHEME = "sqlite:///"


@dataclass(frozen=True, slots=True)
class TenantLedger:
    """The ledger as one tenant has it: nothing here reaches what is another's."""

    tenant: TenantId
    jobs: Jobs
    chunks: Chunks
    attempts: Attempts
    work: Work
    recording: Recording
    closing: Closing
    uploads: Uploads
    steering: Steering
    redriving: Redriving
    pacing: Pacing
    watch: Watch
    sub_jobs: SubJobs
    compensating: Compensating


class Ledger:
    """The ledger's operations, over one database.

    What a tenant has is reached through `of`. What stands here itself is for all tenants,
    or about none: the loops of gateways, and the catalog that workers publish.
    """

    def __init__(self, database: Database, ledger_id: str) -> None:
        """All operations over this database, of the ledger that has this id."""
        self.id = ledger_id
        """Tells this ledger from every other; it stays with the data, whatever the URL."""
        self.database = database
        self.catalog = Catalog(database)
        self.starting = Starting(database)
        self.retention = Retention(database)
        self.abandoned = Abandoned(database)
        self._error_groups = RunningErrorGroups(database)
        self._tenants: dict[TenantId, TenantLedger] = {}

    def of(self, tenant: TenantId) -> TenantLedger:
        """The ledger as this tenant has it."""
        if tenant not in self._tenants:
            self._tenants[tenant] = TenantLedger(
                tenant,
                Jobs(self.database, tenant, self._error_groups),
                Chunks(self.database, tenant),
                Attempts(self.database, tenant),
                Work(self.database, tenant),
                Recording(self.database, tenant),
                Closing(self.database, tenant),
                Uploads(self.database, tenant),
                Steering(self.database, tenant),
                Redriving(self.database, tenant),
                Pacing(self.database, tenant),
                Watch(self.database, tenant),
                SubJobs(self.database, tenant),
                Compensating(self.database, tenant),
            )
        return self._tenants[tenant]


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Ledger]:
    """The ledger at `sqlite:///path` or `postgresql://...`, migrated, closed at the end.

    Raises LedgerUnavailable where it cannot be opened, LedgerFailure where it cannot be used.
    """
    migrate(url)
    database = await _open(url)
    try:
        ((ledger_id,),) = await database.read("SELECT id FROM ledger_identity")
        yield Ledger(database, str(ledger_id))
    finally:
        await database.close()


async def _open(url: str) -> Database:
    # Each driver is imported where it is used: a laptop needs no PostgreSQL client.
    if url.startswith(SQLITE_SCHEME):
        from fanfold.ledger.databases.sqlite import SqliteDatabase

        return SqliteDatabase(Path(url.removeprefix(SQLITE_SCHEME)))
    from fanfold.ledger.databases.postgresql import PostgresqlDatabase

    database = PostgresqlDatabase(url)
    await database.open()
    return database


async def check(url: str) -> None:
    """Migrate the ledger and read from it once, before anything is started that needs it.

    Raises LedgerUnavailable or LedgerFailure where it is of no use.
    """
    async with connect(url):
        return
