"""Jobs whose data arrives apart from them: opened, then sealed; or made of whole data.

`ledger.uploads` stores what arrives. Here it becomes a job's chunks: each place that an
upload has filled gets its chunk, in the order of the parts. No data is copied.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from contract.failures import Failure
from contract.job_spec import Controls, JobSpec
from contract.states import JobState
from ledger.database import Batch, Database, Statement, UniqueViolation, Value
from ledger.jobs import KeyTaken
from ledger.records import ChunkCounts, IdempotencyKey, now_ms
from ledger.uploads import IS_OPEN, Upload, UploadGone


class Receiving:
    """Operations on jobs that receive. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def open(
        self,
        *,
        job_id: str,
        tenant: str,
        spec: JobSpec,
        controls: Controls,
        key: IdempotencyKey | None = None,
        keep_ms: int | None = None,
    ) -> None:
        """Record a job that gets its data afterwards.

        Raises KeyTaken where the idempotency key has a job already.
        """
        now = now_ms()
        script: list[Statement | Batch] = [
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, controls, total_chunks, "
                "total_items, created_at, checked_at, keep_ms) "
                "VALUES (?, ?, 'receiving', 1, ?, ?, 0, 0, ?, ?, ?)",
                (job_id, tenant, spec.to_json(controls), controls.to_json(), now, now, keep_ms),
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) VALUES (?, ?, ?, ?)",
                [(tenant, name, value, job_id) for name, value in controls.labels.items()],
            ),
        ]
        if key is not None:
            claim = Statement(
                "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
                "VALUES (?, ?, ?, ?, ?)",
                (tenant, key.key, key.body_hash, job_id, now),
            )
            script.insert(0, claim)
        await self._claim_and_write(tenant, key, script)

    async def seal(
        self, job_id: str, tenant: str, spec: JobSpec, controls: Controls, total_chunks: int
    ) -> bool:
        """Make the complete parts the job's chunks, in order, and let it start.

        False, having done nothing, where the job is not receiving or does not have that
        many chunks.
        """
        is_sealed = "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.state = 'pending')"
        sealed, *_ = await self._database.write(
            Statement(
                "UPDATE jobs SET state = 'pending', spec = ?, checked_at = ? WHERE id = ? "
                "AND tenant = ? AND state = 'receiving' AND total_chunks = ? AND total_chunks > 0 "
                "RETURNING id",
                (spec.to_json(controls), now_ms(), job_id, tenant, total_chunks),
            ),
            _number_chunks("uploads.is_complete = 1", (job_id, job_id), condition=is_sealed),
            Statement(
                "DELETE FROM received_chunks WHERE job_id = ? AND upload IN "
                "(SELECT number FROM uploads WHERE job_id = ? AND is_complete = 1) "
                f"AND {is_sealed}",
                (job_id, job_id, job_id),
            ),
            Statement(
                f"DELETE FROM uploads WHERE job_id = ? AND is_complete = 1 AND {is_sealed}",
                (job_id, job_id),
            ),
        )
        return bool(sealed)

    async def cancel(self, job_id: str, tenant: str) -> bool:
        """Close a job that was not sealed; whether it was this call that did so."""
        return bool(
            await self._close(JobState.CANCELLED, None, "id = ? AND tenant = ?", (job_id, tenant))
        )

    async def close_unsealed(self, failure: Failure, *, silent_since: int) -> list[str]:
        """Close the jobs that got no data since then and were not sealed; their ids."""
        which = (
            "checked_at < ? AND NOT EXISTS (SELECT 1 FROM uploads "
            "WHERE uploads.job_id = jobs.id AND uploads.touched_at >= ?)"
        )
        since = (silent_since, silent_since)
        found = await self._database.read(
            f"SELECT 1 FROM jobs WHERE state = 'receiving' AND {which} LIMIT 1", since
        )
        return await self._close(JobState.FAILED, failure, which, since) if found else []

    async def create_job(
        self,
        upload: Upload,
        *,
        tenant: str,
        spec: JobSpec,
        controls: Controls,
        key: IdempotencyKey | None = None,
        keep_ms: int | None = None,
    ) -> None:
        """Record the job whose data came as a whole, ready to start, or nothing of it.

        Raises KeyTaken where the idempotency key has a job already, and UploadGone.
        """
        now = now_ms()
        script: list[Statement | Batch] = []
        if key is not None:
            # First, so that of two racing requests the second waits and then fails here.
            claim = Statement(
                "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
                f"SELECT tenant, ?, ?, job_id, ? FROM uploads WHERE {IS_OPEN}",
                (key.key, key.body_hash, now, *upload.id),
            )
            script.append(claim)
        script += [
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) "
                f"SELECT tenant, ?, ?, job_id FROM uploads WHERE {IS_OPEN}",
                [(name, value, *upload.id) for name, value in controls.labels.items()],
            ),
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, controls, total_chunks, "
                "total_items, created_at, checked_at, keep_ms) "
                "SELECT job_id, tenant, 'pending', 1, ?, ?, chunk_count, item_count, "
                "CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT) "
                f"FROM uploads WHERE {IS_OPEN}",
                (spec.to_json(controls), controls.to_json(), now, now, keep_ms, *upload.id),
            ),
            _number_chunks(IS_OPEN, (upload.job_id, *upload.id)),
            Statement(
                "DELETE FROM received_chunks WHERE job_id = ? AND upload = ? "
                f"AND EXISTS (SELECT 1 FROM uploads WHERE {IS_OPEN})",
                (*upload.id, *upload.id),
            ),
            Statement(f"DELETE FROM uploads WHERE {IS_OPEN} RETURNING number", upload.id),
        ]
        *_, created = await self._claim_and_write(tenant, key, script)
        if not created:
            raise UploadGone

    async def _close(
        self, state: JobState, failure: Failure | None, which: str, parameters: Sequence[Value]
    ) -> list[str]:
        summary: dict[str, object] = {
            "counts": asdict(ChunkCounts()),
            "errors": [],
            "error": failure.as_json() if failure else None,
        }
        now = now_ms()
        (closed,) = await self._database.write(
            Statement(
                "UPDATE jobs SET state = ?, finished_at = ?, expires_at = ? + keep_ms, "
                "summary = ?, total_chunks = 0, total_items = 0 "
                f"WHERE state = 'receiving' AND {which} RETURNING id",
                (state, now, now, json.dumps(summary, ensure_ascii=False), *parameters),
            )
        )
        return [job_id for (job_id,) in closed]

    async def _claim_and_write(
        self, tenant: str, key: IdempotencyKey | None, script: Sequence[Statement | Batch]
    ) -> list[list[tuple[Value, ...]]]:
        try:
            return await self._database.write(*script)
        except UniqueViolation:
            if key is None:
                raise
            rows = await self._database.read(
                "SELECT job_id, body_hash FROM idempotency_keys WHERE tenant = ? AND name = ?",
                (tenant, key.key),
            )
            raise KeyTaken(rows[0][0], bytes(rows[0][1])) from None


def _number_chunks(
    which: str, parameters: Sequence[Value], *, condition: str | None = None
) -> Statement:
    """Makes what these uploads have stored the job's chunks, by part and place."""
    return Statement(
        "INSERT INTO chunks (job_id, idx, tenant, state, item_count, input_at) "
        "SELECT received.job_id, ROW_NUMBER() OVER (ORDER BY uploads.part, received.place) - 1, "
        "uploads.tenant, 'pending', received.item_count, received.place "
        "FROM received_chunks AS received JOIN uploads ON uploads.job_id = received.job_id "
        f"AND uploads.number = received.upload WHERE received.job_id = ? AND {which}"
        + (f" AND {condition}" if condition else ""),
        parameters,
    )
