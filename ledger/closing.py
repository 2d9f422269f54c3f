"""The one way out: what ends a job's chunks, and gives the job its terminal state."""

import json
from dataclasses import asdict

from contract.failures import Failure
from contract.states import JobState
from ledger import counting
from ledger.database import Database, Statement
from ledger.records import ChunkCounts, now_ms

UNFINISHED = "('pending', 'running', 'paused', 'cancelling')"
_CHUNK_IS_OPEN = (
    "EXISTS (SELECT 1 FROM chunks WHERE chunks.job_id = jobs.id "
    "AND chunks.state IN ('pending', 'running'))"
)


class Closing:
    """Operations that end a job. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def counts(self, job_id: str) -> ChunkCounts:
        """Chunks by state and items by outcome, counted from the rows."""
        return await counting.counted(self._database, job_id)

    async def settle(self, job_id: str) -> ChunkCounts:
        """Mark every chunk without an outcome as cancelled, so that the counts are final.

        For jobs that are stopped: cancelled, past their tolerance, closed outside Fanfold.
        """
        await self._database.write(
            Statement(
                "UPDATE chunks SET state = 'cancelled', finished_at = ?, due_at = NULL, "
                "fence = fence + 1 WHERE job_id = ? AND state IN ('pending', 'running')",
                (now_ms(), job_id),
            )
        )
        return await self.counts(job_id)

    async def close(
        self, job_id: str, state: JobState, *, error: Failure | None, result: bytes | None = None
    ) -> bool:
        """Give a job its terminal state, once; whether it has one now.

        Not while a chunk of it has no outcome. A second close changes nothing. A job whose
        cancellation was acknowledged ends cancelled, whatever else was reached.
        """
        counts = await self.counts(job_id)
        if counts.pending or counts.running:
            return False
        errors = await counting.error_groups(self._database, job_id)
        summary = {"counts": asdict(counts), "errors": [asdict(group) for group in errors]}
        may_close = f"WHERE id = ? AND state IN {UNFINISHED} AND NOT {_CHUNK_IS_OPEN}"
        finished_at = now_ms()
        script = [
            # Nobody else closes it between here and the end of the transaction.
            Statement(f"UPDATE jobs SET checked_at = checked_at {may_close}", (job_id,))
        ]
        if result is not None:
            script.append(
                Statement(
                    "INSERT INTO job_results (job_id, tenant, body) SELECT id, tenant, ? "
                    f"FROM jobs {may_close} AND state <> 'cancelling' "
                    "ON CONFLICT (job_id) DO NOTHING",
                    (result, job_id),
                )
            )
        script.append(
            Statement(
                "UPDATE jobs SET finished_at = ?, expires_at = ? + keep_ms, "
                "summary = CASE WHEN state = 'cancelling' THEN ? ELSE ? END, "
                "state = CASE WHEN state = 'cancelling' THEN 'cancelled' ELSE ? END "
                f"{may_close}",
                (
                    finished_at,
                    finished_at,
                    json.dumps(summary | {"error": None}, ensure_ascii=False),
                    json.dumps(
                        summary | {"error": error.as_json() if error else None}, ensure_ascii=False
                    ),
                    state,
                    job_id,
                ),
            )
        )
        is_closed = "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.finished_at IS NOT NULL)"
        # What stages gave on to the next, and which blocks were run again: of no use any more.
        for table, which in (("inputs", "AND stage > 0 "), ("block_runs", "")):
            script.append(
                Statement(
                    f"DELETE FROM {table} WHERE job_id = ? {which}AND {is_closed}",
                    (job_id, job_id),
                )
            )
        script.append(Statement(f"SELECT 1 FROM jobs WHERE id = ? AND {is_closed}", (job_id,) * 2))
        *_, closed = await self._database.write(*script)
        return bool(closed)
