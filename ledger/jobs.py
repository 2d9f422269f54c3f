"""Jobs in the ledger: recorded, listed, started, cancelled, closed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.failures import Failure
from contract.job_spec import Controls, JobSpec
from contract.reading import known_fields
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
    "created_at, started_at, finished_at, summary, controls, revision"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job was asked to do: what is fixed, and what may change."""

    spec: JobSpec
    controls: Controls
    revision: int
    """The job's revision that these are of."""


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
        controls: Controls,
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
                "INSERT INTO jobs (id, tenant, state, run, spec, controls, total_chunks, "
                "total_items, created_at, checked_at, keep_ms) "
                "VALUES (?, ?, 'pending', 1, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    tenant,
                    spec.to_json(controls),
                    controls.to_json(),
                    len(chunks),
                    sum(chunk.item_count for chunk in chunks),
                    created_at,
                    created_at,
                    keep_ms,
                ),
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) VALUES (?, ?, ?, ?)",
                [(tenant, name, value, job_id) for name, value in controls.labels.items()],
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
        return JobState.read(rows[0][0]) if rows else None

    async def revision(self, job_id: str, tenant: str) -> int | None:
        """Which revision the job is at; None where this tenant has none of that id."""
        rows = await self._database.read(
            "SELECT revision FROM jobs WHERE id = ? AND tenant = ?", (job_id, tenant)
        )
        return rows[0][0] if rows else None

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

    async def terms(self, job_id: str) -> Terms | None:
        """What the job was asked to do; None where there is no such job."""
        rows = await self._database.read(
            "SELECT spec, controls, revision FROM jobs WHERE id = ?", (job_id,)
        )
        if not rows:
            return None
        spec, controls, revision = rows[0]
        return Terms(JobSpec.from_json(spec), Controls.from_json(controls or spec), revision)

    async def open(self, job_id: str) -> tuple[bool, JobState | None]:
        """Mark a pending job as running.

        Whether it was this call that did so, and the state the job has then, None where
        there is no such job.
        """
        opened, rows = await self._database.write(
            Statement(
                "UPDATE jobs SET state = 'running', started_at = ?, "
                "workflow_started_at = COALESCE(workflow_started_at, ?) "
                "WHERE id = ? AND state = 'pending' RETURNING id",
                (now := now_ms(), now, job_id),
            ),
            Statement("SELECT state FROM jobs WHERE id = ?", (job_id,)),
        )
        return bool(opened), JobState.read(rows[0][0]) if rows else None

    async def outcome_counts(self, job_id: str) -> tuple[int, int]:
        """How many chunks of a running job have succeeded, and how many have failed, so far."""
        counts = (await counting.running_counts(self._database, {job_id: 0}))[job_id]
        return counts.succeeded, counts.failed

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
    error = summary.get("error") if summary else None
    return JobRecord(
        id=job_id,
        state=JobState.read(row[1]),
        run=row[2],
        revision=row[11],
        spec=JobSpec.from_json(row[3]),
        controls=Controls.from_json(row[10] or row[3]),
        total_chunks=row[4],
        total_items=row[5],
        created_at=row[6],
        started_at=row[7],
        finished_at=row[8],
        error=Failure(**known_fields(Failure, error)) if error else None,
        counts=(
            ChunkCounts(**known_fields(ChunkCounts, summary["counts"]))
            if summary
            else counts[job_id]
        ),
        errors=(
            tuple(ErrorGroup(**known_fields(ErrorGroup, group)) for group in summary["errors"])
            if summary
            else errors.get(job_id, ())
        ),
    )
