"""Chunks as they are shown: listed, found, streamed with their outputs."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Row, placeholders
from fanfold.ledger.error_groups import HAS_FAILED_ITEMS, LAST_INDEX, found_by_index
from fanfold.ledger.records import ChunkOutput, ChunkRecord, failure_of, item_errors_of
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import (
    FINISHED_CHUNK,
    UNSUCCESSFUL,
    UNSUCCESSFUL_CHUNK,
    in_states,
)

_COLUMNS = (
    "idx, state, item_count, items_failed, attempts, error_type, error_message, "
    "error_retryable, error_traceback, started_at, finished_at, result_bytes, by_item, block, "
    "stage, stage_attempts, run, resolved_by, kept_from"
)
# Of a chunk: found by its key, since a join would leave the choice to the database.
_SUBMITTED = (
    "FROM inputs WHERE inputs.job_id = COALESCE(chunks.inputs_of, chunks.job_id) "
    "AND inputs.idx = COALESCE(chunks.input_at, chunks.idx) AND inputs.stage = 0"
)
# What a page of results may hold in memory at once, but for a single larger result.
_PAGE_BYTES = 1024 * 1024
_PAGE_ROWS = 500
HAS_OUTPUT = (*FINISHED_CHUNK, ChunkState.HELD)
"""States of a chunk whose output is shown."""
_ITEM_ERROR_BYTES = 500
"""What the error of an item takes, more or less."""


@dataclass(frozen=True, slots=True)
class ChunkData:
    """A chunk with its items, as a JSON array, and its output."""

    record: ChunkRecord
    items: bytes
    output: ChunkOutput

    @property
    def size_bytes(self) -> int:
        """How much there is to parse."""
        return len(self.items) + len(self.output.body)


class Chunks(OfTenant):
    """Operations on chunks. Every method raises LedgerUnavailable when the database is away."""

    async def page(
        self,
        job_id: JobId,
        *,
        states: Sequence[ChunkState] = (),
        after: int,
        limit: int,
    ) -> list[ChunkRecord]:
        """At most `limit` chunks in one of these states, or in any, with an index above `after`.

        In index order.
        """
        return await self._page(job_id, _conditions(states), after, limit)

    async def find(self, job_id: JobId, index: int) -> ChunkRecord | None:
        """One chunk, or None where the job has none of that index."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM chunks WHERE job_id = ? AND tenant = ? AND idx = ?",
            (job_id, self._tenant, index),
        )
        return _record(rows[0]) if rows else None

    async def items(self, job_id: JobId, index: int) -> bytes | None:
        """A chunk's items as they were submitted, a JSON array; None where there is none."""
        rows = await self._database.read(
            f"SELECT (SELECT body {_SUBMITTED}) AS body FROM chunks "
            "WHERE job_id = ? AND tenant = ? AND idx = ?",
            (job_id, self._tenant, index),
        )
        return bytes(rows[0]["body"]) if rows and rows[0]["body"] is not None else None

    async def outputs(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """Each of these chunks with its output, reading about a megabyte at a time."""
        async for batch in self._batches(job_id, records):
            for pair in batch:
                yield pair

    async def stream(
        self, job_id: JobId, *, states: Sequence[ChunkState] = ()
    ) -> AsyncIterator[tuple[ChunkRecord, ChunkOutput]]:
        """The job's chunks in these states, or all, with their outputs; in flat memory."""
        async for batch in self.batches(job_id, states=states):
            for pair in batch:
                yield pair

    async def batches(
        self, job_id: JobId, *, states: Sequence[ChunkState] = ()
    ) -> AsyncIterator[list[tuple[ChunkRecord, ChunkOutput]]]:
        """What `stream` gives, about a megabyte at a time."""
        after = -1
        while records := await self.page(job_id, states=states, after=after, limit=_PAGE_ROWS):
            async for batch in self._batches(job_id, records):
                yield batch
            after = records[-1].index

    async def data(
        self,
        job_id: JobId,
        *,
        states: Sequence[ChunkState] = (),
        with_failed_items: bool = False,
        after: int = -1,
        items_wanted: int,
    ) -> AsyncIterator[ChunkData]:
        """The chunks in these states, or those with failed items, with their items and outputs.

        In index order, from the one after `after` on. Reads about a megabyte of items at a
        time, and not much more than `items_wanted` items.
        """
        conditions = HAS_FAILED_ITEMS if with_failed_items else tuple(_conditions(states))
        rows = min(_PAGE_ROWS, items_wanted)
        while records := await self._page(job_id, conditions, after, rows):
            async for chunk in self._with_data(job_id, records, items_wanted):
                yield chunk
            after = records[-1].index

    async def data_of(self, job_id: JobId, indexes: Sequence[int]) -> AsyncIterator[ChunkData]:
        """The chunks with these indexes, with their items and outputs, in the order given.

        Reads about a megabyte of items at a time.
        """
        for start in range(0, len(indexes), _PAGE_ROWS):
            some = indexes[start : start + _PAGE_ROWS]
            rows = await self._database.read(
                f"SELECT {_COLUMNS} FROM chunks WHERE job_id = ? AND tenant = ? "
                f"AND idx IN ({placeholders(len(some))})",
                (job_id, self._tenant, *some),
            )
            found = {row["idx"]: _record(row) for row in rows}
            records = [found[index] for index in some if index in found]
            if not records:
                continue  # the job was removed meanwhile
            wanted = sum(record.item_count for record in records)
            async for chunk in self._with_data(job_id, records, wanted):
                yield chunk

    async def _with_data(
        self, job_id: JobId, records: Sequence[ChunkRecord], items_wanted: int
    ) -> AsyncIterator[ChunkData]:
        for batch in await self._batches_of_items(job_id, records, items_wanted):
            items = await self._items_of(job_id, batch)
            outputs = await self._outputs_of(job_id, batch)
            for record in batch:
                # Of a job that is deleted meanwhile there are none.
                if record.index in items:
                    output = outputs.get(record.index, ChunkOutput())
                    yield ChunkData(record, items[record.index], output)

    async def _page(
        self, job_id: JobId, conditions: Iterable[str], after: int, limit: int
    ) -> list[ChunkRecord]:
        # One that is put off between two of the queries is in both.
        found: dict[int, ChunkRecord] = {}
        for condition in conditions:
            rows = await self._database.read(
                f"SELECT {_COLUMNS} FROM chunks WHERE job_id = ? AND tenant = ? "
                f"AND {found_by_index(condition)} ORDER BY idx",
                (job_id, self._tenant, job_id, after, LAST_INDEX, limit),
            )
            found |= {row["idx"]: _record(row) for row in rows}
        return [found[index] for index in sorted(found)[:limit]]

    async def _batches_of_items(
        self, job_id: JobId, records: Sequence[ChunkRecord], items_wanted: int
    ) -> list[Sequence[ChunkRecord]]:
        """These chunks in batches of about a megabyte of items, or as many as are wanted."""
        rows = await self._database.read(
            f"SELECT idx, (SELECT LENGTH(body) {_SUBMITTED}) FROM chunks "
            f"WHERE job_id = ? AND tenant = ? AND idx IN ({placeholders(len(records))})",
            (job_id, self._tenant, *(record.index for record in records)),
        )
        sizes = {index: size for index, size in rows}  # noqa: C416 - rows are no pairs to mypy
        batches: list[Sequence[ChunkRecord]] = []
        start, waiting_bytes, items = 0, 0, 0
        for end, record in enumerate(records, start=1):
            waiting_bytes += (sizes.get(record.index) or 0) + _output_bytes(record)
            items += record.items_failed or record.item_count
            if waiting_bytes < _PAGE_BYTES and items < items_wanted and end < len(records):
                continue
            batches.append(records[start:end])
            start, waiting_bytes, items = end, 0, 0
        return batches

    async def _items_of(self, job_id: JobId, records: Sequence[ChunkRecord]) -> dict[int, bytes]:
        rows = await self._database.read(
            f"SELECT idx, (SELECT body {_SUBMITTED}) AS body FROM chunks "
            f"WHERE job_id = ? AND tenant = ? AND idx IN ({placeholders(len(records))})",
            (job_id, self._tenant, *(record.index for record in records)),
        )
        return {row["idx"]: bytes(row["body"]) for row in rows if row["body"] is not None}

    async def _batches(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> AsyncIterator[list[tuple[ChunkRecord, ChunkOutput]]]:
        start, waiting_bytes = 0, 0
        for end, record in enumerate(records, start=1):
            waiting_bytes += _output_bytes(record)
            if waiting_bytes < _PAGE_BYTES and end < len(records):
                continue
            batch = records[start:end]
            found = await self._outputs_of(job_id, batch)
            yield [(one, found.get(one.index, ChunkOutput())) for one in batch]
            start, waiting_bytes = end, 0

    async def _outputs_of(
        self, job_id: JobId, records: Sequence[ChunkRecord]
    ) -> dict[int, ChunkOutput]:
        by_item = {record.index: record.by_item for record in records if record.state in HAS_OUTPUT}
        if not by_item:
            return {}
        rows = await self._database.read(
            "SELECT idx, body, item_errors FROM results "
            f"WHERE job_id = ? AND tenant = ? AND idx IN ({placeholders(len(by_item))})",
            (job_id, self._tenant, *by_item),
        )
        return {
            row["idx"]: ChunkOutput(
                body=bytes(row["body"]),
                item_errors=item_errors_of(row["item_errors"]),
                by_item=by_item[row["idx"]],
            )
            for row in rows
        }


def _conditions(states: Sequence[ChunkState]) -> Iterator[str]:
    """The conditions of the queries that together find the chunks in these states, or all.

    Spelt out, so that a database sees which of its indexes holds them: those that are pending
    are in two, and of those that succeeded there is none, since they are most.
    """
    if not states:
        yield "state IS NOT NULL"
    others = [state for state in states if state is not ChunkState.PENDING]
    if others != list(states):
        for which in ("NULL", "NOT NULL"):
            yield f"{in_states([ChunkState.PENDING])} AND due_at IS {which}"
    unsuccessful = [state for state in others if state in UNSUCCESSFUL_CHUNK]
    if len(others) == 1 and unsuccessful:
        yield f"{UNSUCCESSFUL} AND {in_states(others)}"
    elif others:
        yield in_states(others)


def _output_bytes(record: ChunkRecord) -> int:
    return record.result_bytes + record.items_failed * _ITEM_ERROR_BYTES


def _record(row: Row) -> ChunkRecord:
    return ChunkRecord(
        index=row["idx"],
        state=ChunkState.read(row["state"]),
        item_count=row["item_count"],
        items_failed=row["items_failed"],
        attempts=row["attempts"],
        # One that runs again has the error of its last run until it has an outcome in this one.
        error=failure_of(row) if row["kept_from"] is None else None,
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        result_bytes=row["result_bytes"],
        by_item=None if row["by_item"] is None else bool(row["by_item"]),
        block=row["block"],
        stage=row["stage"],
        stage_attempts=row["stage_attempts"],
        run=row["run"],
        resolved_by=row["resolved_by"],
    )
