"""Redrive: chunks of a job run again, in its next run, under the same id.

What is selected is known before, as a list of chunks; the script changes these and no others, so
its cost grows with them and not with the job. What they have given so far is put aside, and the
job's last end goes to `job_runs`. All of it is one transaction.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.counting import COUNTED_STATES
from fanfold.ledger.database import (
    Batch,
    Row,
    Statement,
    UniqueViolation,
    Value,
    placeholders,
)
from fanfold.ledger.idempotency import raise_key_taken
from fanfold.ledger.pacing import pace_of
from fanfold.ledger.records import NO_ERRORS, IdempotencyKey, JobRecord, item_errors_of, now_ms
from fanfold.ledger.steering import CHANGED
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import (
    GO_ON,
    JUDGED_CHUNK,
    REDRIVE,
    RUN_AGAIN,
    UNSUCCESSFUL,
    UNSUCCESSFUL_CHUNK,
    in_states,
)

One = TypeVar("One")

_CHUNKS_A_QUERY = 10_000
_CHUNKS_A_STATEMENT = 500
_WITH_ITEMS_THAT_STAY = (ChunkState.PARTIALLY_SUCCEEDED, ChunkState.FAILED, ChunkState.HELD)
"""Of these, items that succeeded keep what they gave. What a cancelled one has is of the stage
that it had reached, and no result of its items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which chunks are meant: those that meet all that is said."""

    states: Collection[ChunkState] | None = None
    error_types: Collection[str] | None = None
    """Of these only the items run again that failed with such an error."""
    indexes: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """A chunk that is to run again."""

    index: int
    state: ChunkState
    items_again: tuple[int, ...] | None = None
    """The positions of the items that run again; None for those that did not succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """What is to run again, and how."""

    spec: JobSpec
    controls: Controls
    selected: Sequence[Selected]
    corrected: Mapping[int, bytes] = field(default_factory=dict)
    """The items of corrected chunks, as JSON arrays, by index."""
    is_resumed: bool = True
    """Whether items that succeeded keep what they gave. Chunks that succeeded run as a whole."""
    key: IdempotencyKey | None = None


class Redriving(OfTenant):
    """Operations that let chunks run again. Every method raises LedgerUnavailable."""

    async def select(self, job_id: JobId, selection: Selection) -> list[Selected]:
        """The chunks that are meant, in index order; only those with an outcome, or held."""
        states = [
            state
            for state in RUN_AGAIN.before
            if selection.states is None or state in selection.states
        ]
        selected: list[Selected] = []
        if not states:
            return selected
        async for rows in self._candidates(job_id, states, selection):
            if selection.error_types is None:
                selected += [Selected(row["idx"], ChunkState.read(row["state"])) for row in rows]
            else:
                selected += _with_errors(rows, selection.error_types)
        return sorted(selected, key=lambda one: one.index)

    async def redrive(self, job: JobRecord, redrive: Redrive) -> bool:
        """Let the selected chunks run again; False where the job is not as it was found any more.

        Of a job that has ended it is its next run, of one that waits the same. Raises KeyTaken.
        """
        script = self._script(job, redrive, await self._missing_counts(job.id))
        try:
            *_, moved = await self._database.write(*script)
        except UniqueViolation:
            if redrive.key is not None:
                await raise_key_taken(self._database, self._tenant, redrive.key)
            raise
        return bool(moved)

    # --- selecting ------------------------------------------------------------------------

    async def _candidates(
        self, job_id: JobId, states: Sequence[ChunkState], selection: Selection
    ) -> AsyncIterator[list[Row]]:
        columns, most = "idx, state", _CHUNKS_A_QUERY
        if selection.error_types is not None:
            # Of every failed item of each: few chunks at a time.
            columns += (
                ", item_count, items_failed, error_type, (SELECT item_errors FROM results "
                "WHERE results.job_id = chunks.job_id AND results.idx = chunks.idx) AS item_errors"
            )
            most = _CHUNKS_A_STATEMENT
        reading = f"SELECT {columns} FROM chunks WHERE job_id = ? AND tenant = ?"
        this = (job_id, self._tenant)
        if selection.indexes is not None:
            for some in _batches(sorted(set(selection.indexes))):
                yield await self._database.read(
                    f"{reading} AND idx IN ({placeholders(len(some))}) AND {in_states(states)}",
                    (*this, *some),
                )
            return
        for state in states:
            condition = in_states([state])
            if state in UNSUCCESSFUL_CHUNK:
                condition = f"{UNSUCCESSFUL} AND {condition}"
            after = -1
            while rows := await self._database.read(
                f"{reading} AND {condition} AND idx > ? ORDER BY idx LIMIT ?",
                (*this, after, most),
            ):
                yield rows
                after = rows[-1]["idx"]

    async def _missing_counts(self, job_id: JobId) -> list[Statement]:
        """Of a job that ended before the ledger kept counts: the statement that counts it."""
        if await self._database.read(
            "SELECT 1 FROM job_counts WHERE job_id = ? LIMIT 1", (job_id,)
        ):
            return []
        judged = in_states(JUDGED_CHUNK)
        counted = {
            **{state: f"COUNT(CASE WHEN state = '{state}' THEN 1 END)" for state in COUNTED_STATES},
            "items_succeeded": (
                f"SUM(CASE WHEN {judged} THEN item_count - items_failed ELSE 0 END)"
            ),
            "items_failed": f"SUM(CASE WHEN {judged} THEN items_failed ELSE 0 END)",
            "items_dropped": f"SUM(CASE WHEN {judged} THEN items_dropped ELSE 0 END)",
        }
        return [
            Statement(
                f"INSERT INTO job_counts (job_id, slot, {', '.join(counted)}) "
                f"SELECT job_id, 0, {', '.join(counted.values())} FROM chunks "
                "WHERE job_id = ? GROUP BY job_id ON CONFLICT (job_id, slot) DO NOTHING",
                (job_id,),
            )
        ]

    # --- writing --------------------------------------------------------------------------

    def _script(
        self, job: JobRecord, redrive: Redrive, missing_counts: list[Statement]
    ) -> list[Statement | Batch]:
        is_next_run = job.state is not JobState.WAITING
        before = REDRIVE.before if is_next_run else GO_ON.before
        may = f"id = ? AND tenant = ? AND revision = ? AND {in_states(before)}"
        this: tuple[Value, ...] = (job.id, self._tenant, job.revision)
        script: list[Statement | Batch] = []
        if redrive.key is not None:
            # First, so that of two racing requests the second waits and then fails here.
            script.append(
                Statement(
                    "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
                    f"SELECT tenant, ?, ?, id, ? FROM jobs WHERE {may}",
                    (redrive.key.key, redrive.key.body_hash, now_ms(), *this),
                )
            )
        # Nobody else changes the job between here and the end of the transaction.
        script.append(Statement(f"UPDATE jobs SET checked_at = checked_at WHERE {may}", this))
        script += missing_counts
        if is_next_run:
            script.append(
                Statement(
                    "INSERT INTO job_runs (job_id, run, tenant, state, spec, controls, summary, "
                    "started_at, finished_at) SELECT id, run, tenant, state, spec, controls, "
                    f"summary, started_at, finished_at FROM jobs WHERE {may} "
                    "ON CONFLICT (job_id, run) DO NOTHING",
                    this,
                )
            )
        is_ours = f"EXISTS (SELECT 1 FROM jobs WHERE {may})"
        run = job.run + 1 if is_next_run else job.run
        for some in _batches(redrive.selected):
            script += self._run_again(job.id, redrive, some, run, is_ours, this)
        script += [
            Batch(
                "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
                "SELECT job_id, COALESCE(input_at, idx), 0, tenant, ? FROM chunks "
                f"WHERE job_id = ? AND idx = ? AND {is_ours} "
                "ON CONFLICT (job_id, idx, stage) DO UPDATE SET body = excluded.body",
                [(body, job.id, index, *this) for index, body in redrive.corrected.items()],
            ),
            # What it shares with other jobs stays as it is for these.
            Batch(
                f"UPDATE chunks SET inputs_of = NULL WHERE job_id = ? AND idx = ? AND {is_ours}",
                [(job.id, index, *this) for index in redrive.corrected],
            ),
            *(
                Statement(f"DELETE FROM {table} WHERE job_id = ? AND {is_ours}", (job.id, *this))
                for table in ("job_results", "job_streaks", "block_lanes")
            ),
            *pace_of(job.id, redrive.controls, is_ours, this),
        ]
        changes = (
            "spec = ?, controls = ?, waiting_since = NULL, stop_rule = NULL, stop_index = NULL"
        )
        if is_next_run:
            changes += (
                f", {REDRIVE.change}, run = run + 1, started_at = NULL, finished_at = NULL, "
                "summary = NULL, expires_at = NULL, workflow_started_at = NULL, "
                "claimed_until = 0, is_draining = 0"
            )
        else:
            changes += f", {GO_ON.change}, {CHANGED}"
        spec, controls = redrive.spec, redrive.controls
        script.append(
            Statement(
                f"UPDATE jobs SET {changes} WHERE {may} RETURNING id",
                (spec.to_json(controls), controls.to_json(spec), *this),
            )
        )
        return script

    def _run_again(
        self,
        job_id: JobId,
        redrive: Redrive,
        selected: Sequence[Selected],
        run: int,
        is_ours: str,
        job: tuple[Value, ...],
    ) -> Iterator[Statement | Batch]:
        indexes = [one.index for one in selected]
        these = f"idx IN ({placeholders(len(indexes))})"
        resumed = f"{in_states(_WITH_ITEMS_THAT_STAY)} AND ? = 1"
        yield Statement(
            f"DELETE FROM kept_outputs WHERE job_id = ? AND {these} AND {is_ours}",
            (job_id, *indexes, *job),
        )
        yield Statement(
            "INSERT INTO kept_outputs (job_id, idx, run, body, item_errors, by_item, "
            "result_bytes, stage, stage_attempts, started_at, finished_at, resolved_by, "
            "kept_at, is_resumed) SELECT chunks.job_id, chunks.idx, chunks.run, results.body, "
            "results.item_errors, by_item, result_bytes, stage, stage_attempts, started_at, "
            f"finished_at, resolved_by, CAST(? AS BIGINT), CASE WHEN {resumed} THEN 1 ELSE 0 END "
            "FROM chunks LEFT JOIN results ON results.job_id = chunks.job_id "
            "AND results.idx = chunks.idx "
            f"WHERE chunks.job_id = ? AND chunks.{these} AND {is_ours}",
            (now_ms(), int(redrive.is_resumed), job_id, *indexes, *job),
        )
        yield Batch(
            "UPDATE kept_outputs SET items_again = ?, is_resumed = 1 "
            f"WHERE job_id = ? AND idx = ? AND by_item = 1 AND {is_ours}",
            [
                (json.dumps(one.items_again), job_id, one.index, *job)
                for one in selected
                if one.items_again is not None
                and redrive.is_resumed
                and one.state is not ChunkState.CANCELLED
            ],
        )
        # They are put aside; an attempt takes what is there for its own checkpoint.
        yield Statement(
            f"DELETE FROM results WHERE job_id = ? AND {these} AND {is_ours}",
            (job_id, *indexes, *job),
        )
        yield Statement(
            "DELETE FROM inputs WHERE job_id = ? AND stage > 0 AND idx IN (SELECT "
            "COALESCE(chunks.input_at, chunks.idx) FROM chunks WHERE chunks.job_id = ? "
            f"AND chunks.{these}) AND {is_ours}",
            (job_id, job_id, *indexes, *job),
        )
        yield Statement(
            f"DELETE FROM child_cancels WHERE job_id = ? AND {these} AND {is_ours}",
            (job_id, *indexes, *job),
        )
        yield Statement(
            f"UPDATE chunks SET {RUN_AGAIN.change}, kept_from = state, run = ?, stage = 0, "
            "stage_attempts = 0, due_at = NULL, token = NULL, block = NULL, fence = fence + 1, "
            "started_at = NULL, finished_at = NULL, resolved_by = NULL "
            f"WHERE job_id = ? AND {these} AND {RUN_AGAIN.condition} AND {is_ours}",
            (run, job_id, *indexes, *job),
        )


def _batches(values: Sequence[One]) -> Iterator[Sequence[One]]:
    for start in range(0, len(values), _CHUNKS_A_STATEMENT):
        yield values[start : start + _CHUNKS_A_STATEMENT]


def _with_errors(rows: Iterable[Row], error_types: Collection[str]) -> Iterator[Selected]:
    """Those of these chunks of which items failed with such an error, and which items these are."""
    for row in rows:
        index, state = row["idx"], ChunkState.read(row["state"])
        errors = item_errors_of(row["item_errors"] or NO_ERRORS)
        if any(error.is_derived and error.type in error_types for error in errors):
            # Made of the items that were submitted, which share one fate.
            yield Selected(index, state)
            continue
        own = {error.item: error.type for error in errors if not error.is_derived}
        again = [item for item, kind in own.items() if kind in error_types]
        if row["items_failed"] > len(own) and row["error_type"] in error_types:
            # It failed as a whole: so did all that have no error of their own.
            again += [item for item in range(row["item_count"]) if item not in own]
        if again:
            # Of one that succeeded, all items would run.
            is_all = len(again) == row["items_failed"] and state is not ChunkState.SUCCEEDED
            yield Selected(index, state, None if is_all else tuple(sorted(again)))
