"""Uploads: data that arrives, stored as it comes, at places of its own.

An upload is one sending of one part of a job's data. It has a number of its own and
writes its chunks' items to `inputs`, at places that start with that number, so that a
part sent again is beside the earlier one until it is whole, and then takes its place.

An upload that is given up is dropped: from then on nothing can be added to it, and its
rows are deleted in steps, by whoever gets to it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.contract.names import JobId
from fanfold.ledger.database import Batch, Statement, Value
from fanfold.ledger.records import NewChunk, now_ms
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import SEAL

WHOLE = 0
"""The part of data that comes with its job: there is no job yet while it arrives."""
MAX_CHUNKS_AN_UPLOAD = 10_000_000
"""Places between one upload's and the next one's."""
MAX_CHUNKS_A_STEP = 200

DROPPED = -1  # instead of its part
JOB_IS_RECEIVING = (
    f"EXISTS (SELECT 1 FROM jobs WHERE jobs.id = uploads.job_id AND jobs.{SEAL.condition})"
)
IS_OPEN = (
    "uploads.job_id = ? AND uploads.number = ? AND uploads.tenant = ? AND uploads.is_complete = 0 "
    f"AND (uploads.part = {WHOLE} OR (uploads.part > {WHOLE} AND {JOB_IS_RECEIVING}))"
)
DROP = f"UPDATE uploads SET part = {DROPPED}, is_complete = 0, touched_at = 0"


class UploadGone(Exception):
    """The upload was given up meanwhile, or its job takes no more data."""


class TooManyReceived(Exception):
    """With this part the job had more items, or more chunks, than allowed."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One sending of one part of a job's data."""

    job_id: JobId
    number: int

    @property
    def first_place(self) -> int:
        """Where in `inputs` its first chunk is."""
        return self.number * MAX_CHUNKS_AN_UPLOAD

    @property
    def id(self) -> tuple[JobId, int]:
        """What its rows are found by."""
        return self.job_id, self.number


class Uploads(OfTenant):
    """Operations on data that arrives. Every method raises LedgerUnavailable."""

    async def begin(self, job_id: JobId, part: int) -> Upload:
        """Begin to send a part; raises UploadGone where the job is not receiving.

        With the part WHOLE it is the data of a job yet to be created.
        """
        upload = Upload(job_id, secrets.randbits(31))
        columns = "(job_id, number, tenant, part, is_complete, chunk_count, item_count, touched_at)"
        row: tuple[Value, ...] = (job_id, upload.number, self._tenant, part, now := now_ms())
        if part == WHOLE:
            insert = f"INSERT INTO uploads {columns} VALUES (?, ?, ?, ?, 0, 0, 0, ?)"
            await self._database.write(Statement(insert, row))
            return upload
        _, begun = await self._database.write(
            Statement(
                f"UPDATE jobs SET checked_at = ? WHERE id = ? AND tenant = ? AND {SEAL.condition}",
                (now, job_id, self._tenant),
            ),
            Statement(
                f"INSERT INTO uploads {columns} SELECT ?, ?, ?, ?, 0, 0, 0, ? FROM jobs "
                f"WHERE id = ? AND tenant = ? AND {SEAL.condition} RETURNING number",
                (*row, job_id, self._tenant),
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
        this = (*upload.id, self._tenant)
        places = range(upload.first_place + first, upload.first_place + first + len(chunks))
        begun, *_ = await self._database.write(
            # First: whoever drops the upload waits here, and then sees these chunks counted.
            Statement(
                "UPDATE uploads SET chunk_count = chunk_count + ?, item_count = item_count + ?, "
                f"touched_at = ? WHERE {IS_OPEN} RETURNING number",
                (len(chunks), item_count, now_ms(), *this),
            ),
            Batch(
                "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
                f"SELECT job_id, ?, 0, tenant, ? FROM uploads WHERE {IS_OPEN}",
                [(place, chunk.body, *this) for place, chunk in zip(places, chunks, strict=True)],
            ),
            Batch(
                "INSERT INTO received_chunks (job_id, upload, place, item_count) "
                f"SELECT job_id, number, ?, ? FROM uploads WHERE {IS_OPEN}",
                [
                    (place, chunk.item_count, *this)
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
        this = (*upload.id, self._tenant)
        _, completed, *_ = await self._database.write(
            # First: of several that complete at a time, each sees the one before.
            Statement(
                f"UPDATE jobs SET checked_at = ? WHERE id = ? AND tenant = ? AND {SEAL.condition}",
                (now_ms(), upload.job_id, self._tenant),
            ),
            Statement(
                f"UPDATE uploads SET is_complete = 1 WHERE {IS_OPEN} "
                "AND (SELECT SUM(others.chunk_count) FROM uploads AS others "
                "WHERE others.job_id = uploads.job_id AND (others.number = uploads.number "
                "OR (others.is_complete = 1 AND others.part <> uploads.part))) <= ? "
                "AND (SELECT SUM(others.item_count) FROM uploads AS others "
                "WHERE others.job_id = uploads.job_id AND (others.number = uploads.number "
                "OR (others.is_complete = 1 AND others.part <> uploads.part))) <= ? "
                "RETURNING chunk_count, item_count",
                (*this, max_chunks, max_items),
            ),
            Statement(
                f"{DROP} WHERE job_id = ? AND tenant = ? AND part = ? AND is_complete = 1 "
                "AND number <> ? AND EXISTS (SELECT 1 FROM uploads AS this "
                "WHERE this.job_id = uploads.job_id AND this.number = ? AND this.is_complete = 1)",
                (upload.job_id, self._tenant, part, upload.number, upload.number),
            ),
            Statement(
                "UPDATE jobs SET total_chunks = (SELECT COALESCE(SUM(chunk_count), 0) "
                "FROM uploads WHERE uploads.job_id = jobs.id AND is_complete = 1), "
                "total_items = (SELECT COALESCE(SUM(item_count), 0) "
                "FROM uploads WHERE uploads.job_id = jobs.id AND is_complete = 1) "
                f"WHERE id = ? AND tenant = ? AND {SEAL.condition}",
                (upload.job_id, self._tenant),
            ),
        )
        if completed:
            return completed[0]["chunk_count"], completed[0]["item_count"]
        if await self._database.read(f"SELECT 1 FROM uploads WHERE {IS_OPEN}", this):
            raise TooManyReceived
        raise UploadGone

    async def drop(self, upload: Upload) -> None:
        """Give an upload up and delete what it has stored, unless it is complete."""
        await self._database.write(
            Statement(
                f"{DROP} WHERE job_id = ? AND number = ? AND tenant = ? AND is_complete = 0",
                (*upload.id, self._tenant),
            )
        )
        while await self.delete_some(upload):
            pass

    async def delete_some(self, upload: Upload) -> bool:
        """Delete some of what an upload that was given up has stored; whether there is more."""
        rows = await self._database.read(
            "SELECT chunk_count FROM uploads "
            f"WHERE job_id = ? AND number = ? AND tenant = ? AND part = {DROPPED}",
            (*upload.id, self._tenant),
        )
        if not rows:
            return False
        left = max(0, int(rows[0]["chunk_count"]) - MAX_CHUNKS_A_STEP)
        from_place = upload.first_place + left
        is_dropped = (
            "EXISTS (SELECT 1 FROM uploads WHERE uploads.job_id = ? AND uploads.number = ? "
            f"AND uploads.part = {DROPPED})"
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
                f"WHERE job_id = ? AND number = ? AND part = {DROPPED}",
                (left, *upload.id),
            )
            if left
            else Statement(
                f"DELETE FROM uploads WHERE job_id = ? AND number = ? AND part = {DROPPED}",
                upload.id,
            ),
        )
        return left > 0
