"""The one way in: what records a job, however its data comes.

A job's data comes with it, as rows; or it came before, as an upload; or it comes
afterwards, in parts, until the job is sealed. Chunks are made of rows, or of what uploads
have stored: each place that an upload has filled gets its chunk, in the order of the
parts. No data is copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Batch, Statement, UniqueViolation, Value
from fanfold.ledger.idempotency import raise_key_taken
from fanfold.ledger.pacing import pace_of
from fanfold.ledger.records import IdempotencyKey, NewChunk, now_ms
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import RECEIVE, RECORD, SEAL
from fanfold.ledger.uploads import IS_OPEN, Upload, UploadGone

_CHUNK = f"'{ChunkState.PENDING}'"
# Of a job that is being sealed, once it is.
_IS_SEALED = (
    "uploads.job_id = ? AND uploads.tenant = ? AND uploads.is_complete = 1 "
    "AND EXISTS (SELECT 1 FROM jobs "
    f"WHERE jobs.id = uploads.job_id AND jobs.state = '{SEAL.after}')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be recorded."""

    id: JobId
    spec: JobSpec
    controls: Controls
    key: IdempotencyKey | None = None
    keep_ms: int | None = None
    """How long to keep it once it has finished, where it asks for that."""


Data = Sequence[NewChunk] | Upload | None
"""A job's chunks, or the upload that has stored them; None where it gets them afterwards."""


class Recording(OfTenant):
    """Operations that record a job. Every method raises LedgerUnavailable."""

    async def record(self, job: NewJob, data: Data) -> None:
        """Record a job with all its chunks, ready to start, or nothing of it.

        Without data it receives. Raises KeyTaken where the idempotency key has a job
        already, and UploadGone.
        """
        try:
            *_, last = await self._database.write(*_script(job, self._tenant, data))
        except UniqueViolation:
            if job.key is not None:
                await raise_key_taken(self._database, self._tenant, job.key)
            raise
        if isinstance(data, Upload) and not last:
            raise UploadGone

    async def seal(self, job_id: JobId, spec: JobSpec, controls: Controls, revision: int) -> bool:
        """Make the complete parts the job's chunks, in order, and let it start.

        False, having done nothing, where the job is not receiving, has no chunks, or is not at
        this revision any more: it has got more data since, or other controls.
        """
        sealed, *_ = await self._database.write(
            Statement(
                f"UPDATE jobs SET {SEAL.change}, spec = ?, controls = ?, checked_at = ? "
                f"WHERE id = ? AND tenant = ? AND {SEAL.condition} AND revision = ? "
                "AND total_chunks > 0 RETURNING id",
                (
                    *(spec.to_json(controls), controls.to_json(spec), now_ms()),
                    *(job_id, self._tenant, revision),
                ),
            ),
            *_chunks_of_uploads(_IS_SEALED, job_id, self._tenant),
        )
        return bool(sealed)


def _script(job: NewJob, tenant: TenantId, data: Data) -> list[Statement | Batch]:
    now, move = now_ms(), RECORD if data is not None else RECEIVE
    # Of an upload that was given up meanwhile, nothing is recorded.
    source, upload = "", tuple[Value, ...]()
    totals, sums = "?, ?", tuple[Value, ...]((0, 0))
    if isinstance(data, Upload):
        source, upload = f"FROM uploads WHERE {IS_OPEN}", (*data.id, tenant)
        totals, sums = "chunk_count, item_count", ()
    elif data is not None:
        sums = len(data), sum(chunk.item_count for chunk in data)
    script: list[Statement | Batch] = []
    if job.key is not None:
        # First, so that of two racing requests the second waits and then fails here.
        claim = Statement(
            "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
            f"SELECT ?, ?, ?, ?, ? {source}",
            (tenant, job.key.key, job.key.body_hash, job.id, now, *upload),
        )
        script.append(claim)
    script += [
        Statement(
            "INSERT INTO jobs (id, tenant, state, run, spec, controls, created_at, checked_at, "
            "keep_ms, claimed_until, total_chunks, total_items) "
            f"SELECT ?, ?, '{move.after}', 1, ?, ?, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), "
            f"{totals} {source}",
            (
                *(job.id, tenant, job.spec.to_json(job.controls), job.controls.to_json(job.spec)),
                # Until its time no gateway takes it for its own to start.
                *(now, now, job.keep_ms, job.controls.start_at or 0, *sums, *upload),
            ),
        ),
        *(
            pace_of(job.id, job.controls, "EXISTS (SELECT 1 FROM jobs WHERE id = ?)", (job.id,))
            if job.controls.max_per_second is not None
            else ()
        ),
        Batch(
            f"INSERT INTO job_labels (tenant, name, value, job_id) SELECT ?, ?, ?, ? {source}",
            [(tenant, name, value, job.id, *upload) for name, value in job.controls.labels.items()],
        ),
    ]
    if isinstance(data, Upload):
        return [*script, *_chunks_of_uploads(IS_OPEN, *upload)]
    return [*script, *_chunks_of_rows(job.id, tenant, data or ())]


def _chunks_of_rows(job_id: JobId, tenant: TenantId, chunks: Sequence[NewChunk]) -> list[Batch]:
    return [
        Batch(
            "INSERT INTO chunks (job_id, idx, tenant, state, item_count) "
            f"VALUES (?, ?, ?, {_CHUNK}, ?)",
            [(job_id, index, tenant, chunk.item_count) for index, chunk in enumerate(chunks)],
        ),
        Batch(
            "INSERT INTO inputs (job_id, idx, stage, tenant, body) VALUES (?, ?, 0, ?, ?)",
            [(job_id, index, tenant, chunk.body) for index, chunk in enumerate(chunks)],
        ),
    ]


def _chunks_of_uploads(which: str, job_id: Value, *others: Value) -> list[Statement]:
    """Makes what these uploads of a job have stored its chunks, by part and place.

    The last statement gives a row for each of the uploads.
    """
    parameters = (job_id, *others)
    return [
        Statement(
            "INSERT INTO chunks (job_id, idx, tenant, state, item_count, input_at) "
            "SELECT received.job_id, "
            "ROW_NUMBER() OVER (ORDER BY uploads.part, received.place) - 1, "
            f"uploads.tenant, {_CHUNK}, received.item_count, received.place "
            "FROM received_chunks AS received JOIN uploads ON uploads.job_id = received.job_id "
            f"AND uploads.number = received.upload WHERE {which}",
            parameters,
        ),
        Statement(
            "DELETE FROM received_chunks WHERE job_id = ? AND upload IN "
            f"(SELECT number FROM uploads WHERE {which})",
            (job_id, *parameters),
        ),
        Statement(f"DELETE FROM uploads WHERE {which} RETURNING number", parameters),
    ]
