"""Jobs in the ledger: recorded, listed, started, cancelled, closed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from contract.failures import Failure
from contract.job_spec import JobSpec
from contract.states import JobState
from ledger import counting
from ledger.database import Batch, Database, Row, Statement, UniqueViolation
from ledger.records import (
    ChunkCounts,
    ErrorGroup,
    IdempotencyKey,
    JobRecord,
    NewChunk,
    now_ms,
)

_COLUMNS = (
    "jobs.id, jobs.state, run, spec, total_chunks, total_items, "
    "created_at, started_at, finished_at, summary"
)
_UNFINISHED = "('pending', 'running', 'paused', 'cancelling')"


class KeyTaken(Exception):
    """The idempotency key belongs to another job already, which is named."""

    def __init__(self, job_id: str, body_hash: bytes) -> None:
        """Keep the job that has the key, and the hash of the body it came with."""
        super().__init__(job_id)
        self.job_id = job_id
        self.body_hash = body_hash


class Jobs:
    """Operations on jobs. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database
        self._error_groups = counting.RunningErrorGroups(database)

    # --- for the gateway -------------------------------------------------------------

    async def create(
        self,
        *,
        job_id: str,
        tenant: str,
        spec: JobSpec,
        chunks: Sequence[NewChunk],
        key: IdempotencyKey | None = None,
        keep_ms: int | None = None,
    ) -> None:
        """Record a job with all its chunks, or nothing of it.

        `keep_ms` is how long to keep it once it has finished, where it asks for that.

        Raises KeyTaken where the idempotency key has a job already.
        """
        created_at = now_ms()
        script: list[Statement | Batch] = [
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, total_chunks, total_items, "
                "created_at, checked_at, keep_ms) VALUES (?, ?, 'pending', 1, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    tenant,
                    spec.to_json(),
                    len(chunks),
                    sum(chunk.item_count for chunk in chunks),
                    created_at,
                    created_at,
                    keep_ms,
                ),
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) VALUES (?, ?, ?, ?)",
                [(tenant, name, value, job_id) for name, value in spec.labels.items()],
            ),
            Batch(
                "INSERT INTO chunks (job_id, idx, tenant, state, item_count) "
                "VALUES (?, ?, ?, 'pending', ?)",
                [(job_id, index, tenant, chunk.item_count) for index, chunk in enumerate(chunks)],
            ),
            Batch(
                "INSERT INTO inputs (job_id, idx, stage, tenant, body) VALUES (?, ?, 0, ?, ?)",
                [(job_id, index, tenant, chunk.body) for index, chunk in enumerate(chunks)],
            ),
        ]
        if key is not None:
            # First, so that of two racing requests the second waits and then fails here.
            script.insert(
                0,
                Statement(
                    "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (tenant, key.key, key.body_hash, job_id, created_at),
                ),
            )
        try:
            await self._database.write(*script)
        except UniqueViolation:
            if key is None:
                raise
            await self._raise_key_taken(tenant, key.key)

    async def find(self, job_id: str, tenant: str) -> JobRecord | None:
        """The job, or None where this tenant has none of that id."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND tenant = ?", (job_id, tenant)
        )
        return (await self._records(rows))[0] if rows else None

    async def state(self, job_id: str, tenant: str) -> JobState | None:
        """The job's state alone: what a waiting client's poll costs."""
        rows = await self._database.read(
            "SELECT state FROM jobs WHERE id = ? AND tenant = ?", (job_id, tenant)
        )
        return JobState(rows[0][0]) if rows else None

    async def result(self, job_id: str) -> bytes | None:
        """The folded result as JSON text, or None where the job has none."""
        rows = await self._database.read("SELECT body FROM job_results WHERE job_id = ?", (job_id,))
        return bytes(rows[0][0]) if rows else None

    async def page(
        self,
        *,
        tenant: str,
        state: JobState | None,
        labels: Mapping[str, str],
        before: str | None,
        limit: int,
    ) -> list[JobRecord]:
        """At most `limit` jobs, newest first, that come after the job `before`."""
        where, parameters = ["jobs.tenant = ?"], [tenant]
        if state is not None:
            where.append("jobs.state = ?")
            parameters.append(state)
        if before is not None:
            where.append("jobs.id < ?")
            parameters.append(before)
        for name, value in labels.items():
            where.append(
                "EXISTS (SELECT 1 FROM job_labels WHERE job_labels.tenant = jobs.tenant "
                "AND job_labels.name = ? AND job_labels.value = ? AND job_labels.job_id = jobs.id)"
            )
            parameters += [name, value]
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE {' AND '.join(where)} "
            "ORDER BY jobs.id DESC LIMIT ?",
            (*parameters, limit),
        )
        return await self._records(rows)

    async def request_cancel(self, job_id: str, tenant: str) -> bool:
        """Mark an unfinished job as cancelling, which no chunk starts after.

        Returns whether it was this call that did so.
        """
        (rows,) = await self._database.write(
            Statement(
                # Never compared in this state: that its workflow hears of it comes first.
                "UPDATE jobs SET state = 'cancelling', checked_at = 0 WHERE id = ? AND tenant = ? "
                "AND state IN ('pending', 'running', 'paused') RETURNING id",
                (job_id, tenant),
            )
        )
        return bool(rows)

    # --- for the workers -------------------------------------------------------------

    async def spec(self, job_id: str) -> JobSpec | None:
        """What the job was asked to do; it never changes."""
        rows = await self._database.read("SELECT spec FROM jobs WHERE id = ?", (job_id,))
        return JobSpec.from_json(rows[0][0]) if rows else None

    async def open(self, job_id: str) -> JobState | None:
        """Mark a pending job as running; the state it has then, None where there is no such job."""
        _, rows = await self._database.write(
            Statement(
                "UPDATE jobs SET state = 'running', started_at = ?, "
                "workflow_started_at = COALESCE(workflow_started_at, ?) "
                "WHERE id = ? AND state = 'pending'",
                (now := now_ms(), now, job_id),
            ),
            Statement("SELECT state FROM jobs WHERE id = ?", (job_id,)),
        )
        return JobState(rows[0][0]) if rows else None

    async def outcome_counts(self, job_id: str) -> tuple[int, int]:
        """How many chunks of a running job have succeeded, and how many have failed, so far."""
        counts = (await counting.running_counts(self._database, {job_id: 0}))[job_id]
        return counts.succeeded, counts.failed

    async def settle(self, job_id: str) -> ChunkCounts:
        """Mark every chunk without an outcome as cancelled, so that the counts are final."""
        await self._database.write(
            Statement(
                "UPDATE chunks SET state = 'cancelled', finished_at = ? "
                "WHERE job_id = ? AND state IN ('pending', 'running')",
                (now_ms(), job_id),
            )
        )
        return await counting.counted(self._database, job_id)

    async def close(
        self, job_id: str, state: JobState, *, error: Failure | None, result: bytes | None = None
    ) -> None:
        """Give a settled job its terminal state, once; a second close changes nothing.

        A job whose cancellation was acknowledged ends cancelled, whatever else was reached.
        """
        counts = await counting.counted(self._database, job_id)
        errors = await counting.error_groups(self._database, job_id)
        summary = {"counts": asdict(counts), "errors": [asdict(group) for group in errors]}
        finished_at = now_ms()
        script = [
            # Nobody else closes it between here and the end of the transaction.
            Statement(
                f"UPDATE jobs SET state = state WHERE id = ? AND state IN {_UNFINISHED}", (job_id,)
            )
        ]
        if result is not None:
            script.append(
                Statement(
                    "INSERT INTO job_results (job_id, tenant, body) "
                    "SELECT id, tenant, ? FROM jobs "
                    f"WHERE id = ? AND state IN {_UNFINISHED} AND state <> 'cancelling' "
                    "ON CONFLICT (job_id) DO NOTHING",
                    (result, job_id),
                )
            )
        script.append(
            Statement(
                "UPDATE jobs SET finished_at = ?, expires_at = ? + keep_ms, "
                "summary = CASE WHEN state = 'cancelling' THEN ? ELSE ? END, "
                "state = CASE WHEN state = 'cancelling' THEN 'cancelled' ELSE ? END "
                f"WHERE id = ? AND state IN {_UNFINISHED}",
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
        # What stages gave on to the next: of no use any more.
        script.append(Statement("DELETE FROM inputs WHERE job_id = ? AND stage > 0", (job_id,)))
        script.append(Statement("DELETE FROM block_runs WHERE job_id = ?", (job_id,)))
        await self._database.write(*script)

    async def _raise_key_taken(self, tenant: str, key: str) -> None:
        rows = await self._database.read(
            "SELECT job_id, body_hash FROM idempotency_keys WHERE tenant = ? AND name = ?",
            (tenant, key),
        )
        job_id, body_hash = rows[0]
        raise KeyTaken(job_id, bytes(body_hash))

    async def _records(self, rows: list[Row]) -> list[JobRecord]:
        unfinished = {row[0]: row[4] for row in rows if row[9] is None}
        counts = await counting.running_counts(self._database, unfinished)
        errors = await self._error_groups.of({id_: counts[id_].failed for id_ in unfinished})
        return [_record(row, counts, errors) for row in rows]


def _record(
    row: Row, counts: Mapping[str, ChunkCounts], errors: Mapping[str, tuple[ErrorGroup, ...]]
) -> JobRecord:
    job_id, summary = row[0], json.loads(row[9]) if row[9] else None
    error = summary["error"] if summary else None
    return JobRecord(
        id=job_id,
        state=JobState(row[1]),
        run=row[2],
        spec=JobSpec.from_json(row[3]),
        total_chunks=row[4],
        total_items=row[5],
        created_at=row[6],
        started_at=row[7],
        finished_at=row[8],
        error=Failure(**error) if error else None,
        counts=ChunkCounts(**summary["counts"]) if summary else counts[job_id],
        errors=(
            tuple(ErrorGroup(**group) for group in summary["errors"])
            if summary
            else errors.get(job_id, ())
        ),
    )
