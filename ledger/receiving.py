"""Data that arrives in parts: stored as it comes, made a job's chunks once it is whole.

An upload is one sending of one part. It has a number of its own and writes its chunks'
items to `inputs`, at places that start with that number, so that a part sent again is
beside the earlier one until it is whole, and then takes its place. Sealing gives each
place its chunk, in the order of the parts; no data is copied.

An upload that is given up is dropped: from then on nothing can be added to it, and its
rows are deleted in steps, by whoever gets to it.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from contract.failures import Failure
from contract.job_spec import JobSpec
from contract.states import JobState
from ledger.database import Batch, Database, Statement, UniqueViolation, Value
from ledger.jobs import KeyTaken
from ledger.records import ChunkCounts, IdempotencyKey, NewChunk, now_ms

WHOLE = 0
"""The part of data that comes with its job: there is no job yet while it arrives."""
MAX_CHUNKS_AN_UPLOAD = 10_000_000
"""Places between one upload's and the next one's."""
MAX_CHUNKS_A_STEP = 200

_DROPPED = -1  # instead of its part
_JOB_IS_RECEIVING = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = uploads.job_id AND jobs.state = 'receiving')"
)
_IS_OPEN = (
    "uploads.job_id = ? AND uploads.number = ? AND uploads.is_complete = 0 "
    f"AND (uploads.part = {WHOLE} OR (uploads.part > {WHOLE} AND {_JOB_IS_RECEIVING}))"
)
_DROP = f"UPDATE uploads SET part = {_DROPPED}, is_complete = 0, touched_at = 0"


class UploadGone(Exception):
    """The upload was given up meanwhile, or its job takes no more data."""


class TooManyReceived(Exception):
    """With this part the job had more items, or more chunks, than allowed."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One sending of one part of a job's data."""

    job_id: str
    number: int

    @property
    def first_place(self) -> int:
        """Where in `inputs` its first chunk is."""
        return self.number * MAX_CHUNKS_AN_UPLOAD

    @property
    def id(self) -> tuple[str, int]:
        """What its rows are found by."""
        return self.job_id, self.number


class Receiving:
    """Operations on data that arrives. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    # --- jobs that receive --------------------------------------------------------------

    async def open(
        self,
        *,
        job_id: str,
        tenant: str,
        spec: JobSpec,
        key: IdempotencyKey | None = None,
        keep_ms: int | None = None,
    ) -> None:
        """Record a job that gets its data afterwards.

        Raises KeyTaken where the idempotency key has a job already.
        """
        now = now_ms()
        script: list[Statement | Batch] = [
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, total_chunks, total_items, "
                "created_at, checked_at, keep_ms) VALUES (?, ?, 'receiving', 1, ?, 0, 0, ?, ?, ?)",
                (job_id, tenant, spec.to_json(), now, now, keep_ms),
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) VALUES (?, ?, ?, ?)",
                [(tenant, name, value, job_id) for name, value in spec.labels.items()],
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

    async def seal(self, job_id: str, tenant: str, spec: JobSpec, total_chunks: int) -> bool:
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
                (spec.to_json(), now_ms(), job_id, tenant, total_chunks),
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

    # --- uploads ------------------------------------------------------------------------

    async def begin(self, job_id: str, tenant: str, part: int) -> Upload:
        """Begin to send a part; raises UploadGone where the job is not receiving.

        With the part WHOLE it is the data of a job yet to be created.
        """
        upload = Upload(job_id, secrets.randbits(31))
        columns = "(job_id, number, tenant, part, is_complete, chunk_count, item_count, touched_at)"
        row: tuple[Value, ...] = (job_id, upload.number, tenant, part, now := now_ms())
        if part == WHOLE:
            insert = f"INSERT INTO uploads {columns} VALUES (?, ?, ?, ?, 0, 0, 0, ?)"
            await self._database.write(Statement(insert, row))
            return upload
        _, begun = await self._database.write(
            Statement(
                "UPDATE jobs SET checked_at = ? WHERE id = ? AND state = 'receiving'",
                (now, job_id),
            ),
            Statement(
                f"INSERT INTO uploads {columns} SELECT ?, ?, ?, ?, 0, 0, 0, ? FROM jobs "
                "WHERE id = ? AND tenant = ? AND state = 'receiving' RETURNING number",
                (*row, job_id, tenant),
            ),
        )
        if not begun:
            raise UploadGone
        return upload

    async def add(self, upload: Upload, first: int, chunks: Sequence[NewChunk]) -> None:
        """Store the upload's next chunks, of which the first is its `first`-th.

        Without chunks it says that the upload is still alive. Raises UploadGone.
        """
        item_count = sum(chunk.item_count for chunk in chunks)
        places = range(upload.first_place + first, upload.first_place + first + len(chunks))
        begun, *_ = await self._database.write(
            # First: whoever drops the upload waits here, and then sees these chunks counted.
            Statement(
                "UPDATE uploads SET chunk_count = chunk_count + ?, item_count = item_count + ?, "
                f"touched_at = ? WHERE {_IS_OPEN} RETURNING number",
                (len(chunks), item_count, now_ms(), *upload.id),
            ),
            Batch(
                "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
                f"SELECT job_id, ?, 0, tenant, ? FROM uploads WHERE {_IS_OPEN}",
                [
                    (place, chunk.body, *upload.id)
                    for place, chunk in zip(places, chunks, strict=True)
                ],
            ),
            Batch(
                "INSERT INTO received_chunks (job_id, upload, place, item_count) "
                f"SELECT job_id, number, ?, ? FROM uploads WHERE {_IS_OPEN}",
                [
                    (place, chunk.item_count, *upload.id)
                    for place, chunk in zip(places, chunks, strict=True)
                ],
            ),
        )
        if not begun:
            raise UploadGone

    async def complete(
        self, upload: Upload, part: int, *, max_chunks: int, max_items: int
    ) -> tuple[int, int]:
        """Let the upload be its part, instead of an earlier one; its chunks and items.

        Raises UploadGone, or TooManyReceived where the job would grow past a limit.
        """
        _, completed, *_ = await self._database.write(
            # First: of several that complete at a time, each sees the one before.
            Statement(
                "UPDATE jobs SET checked_at = ? WHERE id = ? AND state = 'receiving'",
                (now_ms(), upload.job_id),
            ),
            Statement(
                f"UPDATE uploads SET is_complete = 1 WHERE {_IS_OPEN} "
                "AND (SELECT SUM(others.chunk_count) FROM uploads AS others "
                "WHERE others.job_id = uploads.job_id AND (others.number = uploads.number "
                "OR (others.is_complete = 1 AND others.part <> uploads.part))) <= ? "
                "AND (SELECT SUM(others.item_count) FROM uploads AS others "
                "WHERE others.job_id = uploads.job_id AND (others.number = uploads.number "
                "OR (others.is_complete = 1 AND others.part <> uploads.part))) <= ? "
                "RETURNING chunk_count, item_count",
                (*upload.id, max_chunks, max_items),
            ),
            Statement(
                f"{_DROP} WHERE job_id = ? AND part = ? AND is_complete = 1 AND number <> ? "
                "AND EXISTS (SELECT 1 FROM uploads AS this WHERE this.job_id = uploads.job_id "
                "AND this.number = ? AND this.is_complete = 1)",
                (upload.job_id, part, upload.number, upload.number),
            ),
            Statement(
                "UPDATE jobs SET total_chunks = (SELECT COALESCE(SUM(chunk_count), 0) "
                "FROM uploads WHERE uploads.job_id = jobs.id AND is_complete = 1), "
                "total_items = (SELECT COALESCE(SUM(item_count), 0) "
                "FROM uploads WHERE uploads.job_id = jobs.id AND is_complete = 1) "
                "WHERE id = ? AND state = 'receiving'",
                (upload.job_id,),
            ),
        )
        if completed:
            return completed[0]
        if await self._database.read(f"SELECT 1 FROM uploads WHERE {_IS_OPEN}", upload.id):
            raise TooManyReceived
        raise UploadGone

    async def create_job(
        self,
        upload: Upload,
        *,
        tenant: str,
        spec: JobSpec,
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
                f"SELECT tenant, ?, ?, job_id, ? FROM uploads WHERE {_IS_OPEN}",
                (key.key, key.body_hash, now, *upload.id),
            )
            script.append(claim)
        script += [
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) "
                f"SELECT tenant, ?, ?, job_id FROM uploads WHERE {_IS_OPEN}",
                [(name, value, *upload.id) for name, value in spec.labels.items()],
            ),
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, total_chunks, total_items, "
                "created_at, checked_at, keep_ms) SELECT job_id, tenant, 'pending', 1, ?, "
                "chunk_count, item_count, CAST(? AS BIGINT), CAST(? AS BIGINT), "
                f"CAST(? AS BIGINT) FROM uploads WHERE {_IS_OPEN}",
                (spec.to_json(), now, now, keep_ms, *upload.id),
            ),
            _number_chunks(_IS_OPEN, (upload.job_id, *upload.id)),
            Statement(
                "DELETE FROM received_chunks WHERE job_id = ? AND upload = ? "
                f"AND EXISTS (SELECT 1 FROM uploads WHERE {_IS_OPEN})",
                (*upload.id, *upload.id),
            ),
            Statement(f"DELETE FROM uploads WHERE {_IS_OPEN} RETURNING number", upload.id),
        ]
        *_, created = await self._claim_and_write(tenant, key, script)
        if not created:
            raise UploadGone

    # --- what was given up ----------------------------------------------------------------

    async def drop(self, upload: Upload) -> None:
        """Give an upload up and delete what it has stored, unless it is complete."""
        await self._database.write(
            Statement(f"{_DROP} WHERE job_id = ? AND number = ? AND is_complete = 0", upload.id)
        )
        while await self._delete_some(upload):
            pass

    async def drop_abandoned(self, *, silent_since: int) -> bool:
        """Give up the uploads that have stored nothing since then, or whose job is closed.

        Whether there were any. One that is complete may be as old as its job.
        """
        which = (
            f"(is_complete = 0 AND part <> {_DROPPED} AND touched_at < ?) "
            f"OR (part > {WHOLE} AND NOT {_JOB_IS_RECEIVING})"
        )
        found = await self._database.read(
            f"SELECT 1 FROM uploads WHERE {which} LIMIT 1", (silent_since,)
        )
        if found:
            await self._database.write(Statement(f"{_DROP} WHERE {which}", (silent_since,)))
        return bool(found)

    async def delete_some(self) -> bool:
        """Delete some of what uploads that were given up have stored; whether there is more."""
        rows = await self._database.read(
            f"SELECT job_id, number FROM uploads WHERE touched_at = 0 AND part = {_DROPPED} LIMIT 1"
        )
        if rows:
            await self._delete_some(Upload(*rows[0]))
        return bool(rows)

    async def _delete_some(self, upload: Upload) -> bool:
        """The same for one of them."""
        rows = await self._database.read(
            "SELECT chunk_count FROM uploads "
            f"WHERE job_id = ? AND number = ? AND part = {_DROPPED}",
            upload.id,
        )
        if not rows:
            return False
        left = max(0, int(rows[0][0]) - MAX_CHUNKS_A_STEP)
        from_place = upload.first_place + left
        is_dropped = (
            "EXISTS (SELECT 1 FROM uploads WHERE uploads.job_id = ? AND uploads.number = ? "
            f"AND uploads.part = {_DROPPED})"
        )
        await self._database.write(
            Statement(
                "DELETE FROM inputs WHERE job_id = ? AND idx >= ? AND idx < ? "
                f"AND stage = 0 AND {is_dropped}",
                (
                    upload.job_id,
                    from_place,
                    upload.first_place + MAX_CHUNKS_AN_UPLOAD,
                    *upload.id,
                ),
            ),
            Statement(
                "DELETE FROM received_chunks WHERE job_id = ? AND upload = ? AND place >= ? "
                f"AND {is_dropped}",
                (*upload.id, from_place, *upload.id),
            ),
            Statement(
                "UPDATE uploads SET chunk_count = ? "
                f"WHERE job_id = ? AND number = ? AND part = {_DROPPED}",
                (left, *upload.id),
            )
            if left
            else Statement(
                f"DELETE FROM uploads WHERE job_id = ? AND number = ? AND part = {_DROPPED}",
                upload.id,
            ),
        )
        return left > 0

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
