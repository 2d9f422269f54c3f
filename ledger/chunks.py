"""Chunks as they are shown: listed, found, streamed with their outputs."""

from collections.abc import AsyncIterator, Sequence

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Row, placeholders
from fanfold.ledger.records import ChunkOutput, ChunkRecord, failure_of, output_of
from fanfold.ledger.tenancy import OfTenant

_COLUMNS = (
    "idx, state, item_count, items_failed, attempts, error_type, error_message, "
    "error_retryable, started_at, finished_at, result_bytes, block"
)
# Spelt out, so that a database sees which of its indexes holds them: those that are pending
# are in two, and of those that succeeded there is none, since they are most.
_CONDITIONS: dict[ChunkState | None, tuple[str, ...]] = {
    None: ("",),
    ChunkState.PENDING: (
        " AND state = 'pending' AND due_at IS NULL",
        " AND state = 'pending' AND due_at IS NOT NULL",
    ),
    **{
        state: (f" AND state = '{state}'",)
        for state in ChunkState
        if state is not ChunkState.PENDING
    },
}
# What a page of results may hold in memory at once, but for a single larger result.
_PAGE_BYTES = 1024 * 1024
_PAGE_ROWS = 500


class Chunks(OfTenant):
    """Operations on chunks. Every method raises LedgerUnavailable when the database is away."""

    async def page(
        self, job_id: JobId, *, state: ChunkState | None, after: int, limit: int
    ) -> list[ChunkRecord]:
        """At most `limit` chunks with an index above `after`, in index order."""
        rows: list[Row] = []
        for condition in _CONDITIONS[state]:
            rows += await self._database.read(
                f"SELECT {_COLUMNS} FROM chunks "
                f"WHERE job_id = ? AND tenant = ? AND idx > ?{condition} ORDER BY idx LIMIT ?",
                (job_id, self._tenant, after, limit),
            )
        return sorted(map(_record, rows), key=lambda record: record.index)[:limit]

    async def find(self, job_id: JobId, index: int) -> ChunkRecord | None:
        """One chunk, or None where the job has none of that index."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM chunks WHERE job_id = ? AND tenant = ? AND idx = ?",
            (job_id, self._tenant, index),
        )
        return _record(rows[0]) if rows else None

    async def outputs(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """Each of these chunks with its output, reading about a megabyte at a time."""
        async for batch in self._batches(job_id, records):
            for pair in batch:
                yield pair

    async def stream(
        self, job_id: JobId, *, state: ChunkState | None = None
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """Every chunk of the job with its output, in index order, in flat memory."""
        async for batch in self.batches(job_id, state=state):
            for pair in batch:
                yield pair

    async def batches(
        self, job_id: JobId, *, state: ChunkState | None = None
    ) -> AsyncIterator[list[tuple[ChunkRecord, ChunkOutput]]]:
        """What `stream` gives, about a megabyte at a time."""
        after = -1
        while records := await self.page(job_id, state=state, after=after, limit=_PAGE_ROWS):
            async for batch in self._batches(job_id, records):
                yield batch
            after = records[-1].index

    async def _batches(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> AsyncIterator[list[tuple[ChunkRecord, ChunkOutput]]]:
        start, waiting_bytes = 0, 0
        for end, record in enumerate(records, start=1):
            waiting_bytes += record.result_bytes
            if waiting_bytes < _PAGE_BYTES and end < len(records):
                continue
            batch = records[start:end]
            found = await self._outputs_of(job_id, batch)
            yield [(one, found.get(one.index, ChunkOutput())) for one in batch]
            start, waiting_bytes = end, 0

    async def _outputs_of(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> dict[int, ChunkOutput]:
        indexes = [record.index for record in records if record.state.is_terminal]
        if not indexes:
            return {}
        rows = await self._database.read(
            "SELECT idx, body, item_errors FROM results "
            f"WHERE job_id = ? AND tenant = ? AND idx IN ({placeholders(len(indexes))})",
            (job_id, self._tenant, *indexes),
        )
        return {row["idx"]: output_of(row["body"], row["item_errors"]) for row in rows}


def _record(row: Row) -> ChunkRecord:
    return ChunkRecord(
        index=row["idx"],
        state=ChunkState.read(row["state"]),
        item_count=row["item_count"],
        items_failed=row["items_failed"],
        attempts=row["attempts"],
        error=failure_of(row),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        result_bytes=row["result_bytes"],
        block=row["block"],
    )
