"""What clients began to send and did not finish, of all tenants: found, and given up."""

from fanfold.contract.failures import Failure
from fanfold.contract.names import JobId
from fanfold.ledger.closing import RECEIVES_NOTHING, Closing
from fanfold.ledger.database import Database, Statement
from fanfold.ledger.uploads import DROP, DROPPED, JOB_IS_RECEIVING, WHOLE, Upload, Uploads


class Abandoned:
    """Operations for the gateways' loops, which raise LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def close_unsealed(self, failure: Failure, *, silent_since: int) -> list[JobId]:
        """Close the jobs that got no data since then and were not sealed; their ids."""
        found = await self._database.read(
            f"SELECT id, tenant FROM jobs WHERE {RECEIVES_NOTHING}", (silent_since, silent_since)
        )
        return [
            job_id
            for job_id, tenant in found
            if await Closing(self._database, tenant).give_up(
                job_id, failure, silent_since=silent_since
            )
        ]

    async def drop_uploads(self, *, silent_since: int) -> bool:
        """Give up the uploads that have stored nothing since then, or whose job is closed.

        Whether there were any. One that is complete may be as old as its job.
        """
        which = (
            f"(is_complete = 0 AND part <> {DROPPED} AND touched_at < ?) "
            f"OR (part > {WHOLE} AND NOT {JOB_IS_RECEIVING})"
        )
        found = await self._database.read(
            f"SELECT 1 FROM uploads WHERE {which} LIMIT 1", (silent_since,)
        )
        if found:
            await self._database.write(Statement(f"{DROP} WHERE {which}", (silent_since,)))
        return bool(found)

    async def delete_some(self) -> bool:
        """Delete some of what uploads that were given up have stored; whether there is more."""
        rows = await self._database.read(
            "SELECT job_id, number, tenant FROM uploads "
            f"WHERE touched_at = 0 AND part = {DROPPED} LIMIT 1"
        )
        for job_id, number, tenant in rows:
            await Uploads(self._database, tenant).delete_some(Upload(job_id, number))
        return bool(rows)
