"""Chunks in the ledger: attempts begun, outcomes recorded, children listed.

At-least-once execution, exactly one recorded outcome: an attempt carries its number,
and a write counts only while the chunk is running that very attempt. A worker that
was thought dead and comes back changes nothing any more.
"""

import json
from collections.abc import AsyncIterator, Sequence

from contract.failures import Failure
from contract.states import ChunkState, JobState
from ledger.database import Database, Row, Statement, Value, placeholders
from ledger.outcomes import Script, failure_columns
from ledger.records import (
    Attempt,
    BlockRun,
    ChunkOutput,
    ChunkRecord,
    ItemError,
    NoAttempt,
    now_ms,
)

_COLUMNS = (
    "idx, state, item_count, items_failed, attempts, error_type, error_message, "
    "error_retryable, started_at, finished_at, result_bytes"
)
# What a page of results may hold in memory at once, but for a single larger result.
_PAGE_BYTES = 1024 * 1024
_PAGE_ROWS = 500


class Chunks:
    """Operations on chunks. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    # --- for the workers -------------------------------------------------------------

    async def begin_attempt(
        self,
        job_id: str,
        index: int,
        stage: int,
        *,
        after: Script = (),
        within: BlockRun | None = None,
    ) -> Attempt | NoAttempt | None:
        """Begin an attempt at a stage, unless its job is not running or the stage is done.

        `after` is what became of the attempt before, recorded in the same transaction.
        `within` is the run of a block that it belongs to: one that was taken over begins
        nothing. None where there is no such chunk.
        """
        may_begin, fence = "", list[Value]()
        if within is not None:
            may_begin = (
                "AND NOT EXISTS (SELECT 1 FROM block_runs WHERE block_runs.job_id = chunks.job_id "
                "AND block = ? AND number > ?) "
            )
            fence = [within.block, within.number]
        *_, begun, found = await self._database.write(
            *after,
            Statement(
                "UPDATE chunks SET state = 'running', stage_attempts = stage_attempts + 1, "
                # A chunk's attempts are its runs from the client's view: moving on to the
                # next stage is no further attempt, repeating a stage is.
                "attempts = attempts + CASE WHEN attempts = 0 OR stage_attempts > 0 "
                "THEN 1 ELSE 0 END, started_at = COALESCE(started_at, ?) "
                "WHERE job_id = ? AND idx = ? AND stage = ? AND state IN ('pending', 'running') "
                "AND (SELECT jobs.state FROM jobs WHERE jobs.id = chunks.job_id) = 'running' "
                f"{may_begin}RETURNING stage_attempts, item_count",
                (now_ms(), job_id, index, stage, *fence),
            ),
            Statement(
                "SELECT inputs.body, results.body, results.item_errors, chunks.state, jobs.state, "
                "chunks.stage, error_type, error_message, error_retryable "
                "FROM chunks JOIN jobs ON jobs.id = chunks.job_id "
                "LEFT JOIN inputs ON inputs.job_id = chunks.job_id AND inputs.stage = ? "
                "AND inputs.idx = COALESCE(chunks.input_at, chunks.idx) "
                "LEFT JOIN results ON results.job_id = chunks.job_id AND results.idx = chunks.idx "
                "WHERE chunks.job_id = ? AND chunks.idx = ?",
                (stage, job_id, index),
            ),
        )
        if not found:
            return None
        (row,) = found
        if not begun:
            return NoAttempt(
                chunk_state=ChunkState(row[3]),
                job_state=JobState(row[4]),
                stage=row[5],
                error=_failure(row[6:9]),
            )
        ((number, item_count),) = begun
        kept = _output(row[1:3]) if row[1] is not None else ChunkOutput()
        return Attempt(
            job_id=job_id,
            index=index,
            stage=stage,
            number=number,
            item_count=item_count,
            input=bytes(row[0]),
            dropped_earlier=tuple(error for error in kept.item_errors if error.stage < stage),
            checkpoint=ChunkOutput(
                body=kept.body,
                item_errors=tuple(error for error in kept.item_errors if error.stage == stage),
            ),
        )

    async def take_over(self, job_id: str, run: BlockRun) -> None:
        """Let no earlier run of the block begin another chunk: its worker is taken for dead."""
        await self._database.write(
            Statement(
                "INSERT INTO block_runs (job_id, block, number) VALUES (?, ?, ?) "
                "ON CONFLICT (job_id, block) DO UPDATE SET number = excluded.number "
                "WHERE excluded.number > block_runs.number",
                (job_id, run.block, run.number),
            )
        )

    async def record(self, outcome: Script) -> None:
        """Record what became of an attempt: one of the scripts of `ledger.outcomes`."""
        await self._database.write(*outcome)

    async def record_lost(
        self, job_id: str, index: int, failure: Failure, *, count: int = 1
    ) -> None:
        """Record the failure of chunks that can no longer record their own outcome.

        Of the `count` chunks from `index` on, those without an outcome.
        """
        last = index + count - 1
        await self._database.write(
            # All their items count as failed, so none may show a result.
            Statement(
                "DELETE FROM results WHERE job_id = ? AND idx BETWEEN ? AND ? AND EXISTS ("
                " SELECT 1 FROM chunks WHERE chunks.job_id = results.job_id"
                " AND chunks.idx = results.idx AND state IN ('pending', 'running'))",
                (job_id, index, last),
            ),
            Statement(
                "UPDATE chunks SET state = 'failed', finished_at = ?, items_failed = item_count, "
                "result_bytes = 0, error_type = ?, error_message = ?, error_retryable = ?, "
                # Whoever holds an attempt at one holds none any more.
                "stage_attempts = stage_attempts + 1 "
                "WHERE job_id = ? AND idx BETWEEN ? AND ? AND state IN ('pending', 'running')",
                (now_ms(), *failure_columns(failure), job_id, index, last),
            ),
        )

    # --- for the gateway -------------------------------------------------------------

    async def page(
        self, job_id: str, *, state: ChunkState | None, after: int, limit: int
    ) -> list[ChunkRecord]:
        """At most `limit` chunks with an index above `after`, in index order."""
        where = "job_id = ? AND idx > ?"
        parameters: list[Value] = [job_id, after]
        if state is not None:
            where += " AND state = ?"
            parameters.append(state)
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM chunks WHERE {where} ORDER BY idx LIMIT ?",
            (*parameters, limit),
        )
        return [_record(row) for row in rows]

    async def find(self, job_id: str, index: int) -> ChunkRecord | None:
        """One chunk, or None where the job has none of that index."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM chunks WHERE job_id = ? AND idx = ?", (job_id, index)
        )
        return _record(rows[0]) if rows else None

    async def outputs(
        self, job_id: str, records: Sequence[ChunkRecord]
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """Each of these chunks with its output, reading about a megabyte at a time."""
        async for batch in self._batches(job_id, records):
            for pair in batch:
                yield pair

    async def stream(
        self, job_id: str, *, state: ChunkState | None = None
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """Every chunk of the job with its output, in index order, in flat memory."""
        async for batch in self.batches(job_id, state=state):
            for pair in batch:
                yield pair

    async def batches(
        self, job_id: str, *, state: ChunkState | None = None
    ) -> AsyncIterator[list[tuple[ChunkRecord, ChunkOutput]]]:
        """What `stream` gives, about a megabyte at a time."""
        after = -1
        while records := await self.page(job_id, state=state, after=after, limit=_PAGE_ROWS):
            async for batch in self._batches(job_id, records):
                yield batch
            after = records[-1].index

    async def _batches(
        self, job_id: str, records: Sequence[ChunkRecord]
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
        self, job_id: str, records: Sequence[ChunkRecord]
    ) -> dict[int, ChunkOutput]:
        indexes = [record.index for record in records if record.state.is_terminal]
        if not indexes:
            return {}
        rows = await self._database.read(
            "SELECT idx, body, item_errors FROM results "
            f"WHERE job_id = ? AND idx IN ({placeholders(len(indexes))})",
            (job_id, *indexes),
        )
        return {row[0]: _output(row[1:]) for row in rows}


def _failure(columns: Row) -> Failure | None:
    kind, message, retryable = columns
    if kind is None:
        return None
    return Failure(type=kind, message=message, retryable=bool(retryable))


def _output(columns: Row) -> ChunkOutput:
    body, errors = columns
    return ChunkOutput(
        body=bytes(body),
        item_errors=tuple(ItemError(**error) for error in json.loads(errors)),
    )


def _record(row: Row) -> ChunkRecord:
    return ChunkRecord(
        index=row[0],
        state=ChunkState(row[1]),
        item_count=row[2],
        items_failed=row[3],
        attempts=row[4],
        error=_failure(row[5:8]),
        started_at=row[8],
        finished_at=row[9],
        result_bytes=row[10],
    )
