"""The script that lets chunks of a job run again: what they gave is put aside, and nothing else.

What is selected is known before, as a list of chunks; the script changes these and no others, so
its cost grows with them and not with the job. The job's last end goes to `job_runs`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.all_or_nothing import fail_unless
from fanfold.ledger.database import Batch, Statement, Value, placeholders
from fanfold.ledger.pacing import pace_of
from fanfold.ledger.records import IdempotencyKey, JobRecord, Place, now_ms
from fanfold.ledger.reopening import OPENED_AGAIN
from fanfold.ledger.steering import CHANGED
from fanfold.ledger.transitions import GO_ON, REDRIVE, RUN_AGAIN, in_states

One = TypeVar("One")

CHUNKS_A_STATEMENT = 500
_WITH_ITEMS_THAT_STAY = (ChunkState.PARTIALLY_SUCCEEDED, ChunkState.FAILED, ChunkState.HELD)
"""Of these, items that succeeded keep what they gave. What a cancelled one has is of the stage
that it had reached, and no result of its items."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobToRunAgain:
    """A job whose chunks run again: of `JobRecord`, what that takes."""

    id: JobId
    state: JobState
    run: int
    revision: int
    total_chunks: int
    spec: JobSpec
    controls: Controls
    place: Place = field(default_factory=Place)


def script_of(
    job: JobRecord | JobToRunAgain,
    redrive: Redrive,
    tenant: TenantId,
    missing_counts: Sequence[Statement] = (),
) -> list[Statement | Batch]:
    """Lets the selected chunks of a job run again; the last statement gives a row if it did.

    Whatever of it comes too late changes nothing: the job is at another revision then.
    """
    is_next_run = job.state is not JobState.WAITING
    before = REDRIVE.before if is_next_run else GO_ON.before
    may = f"id = ? AND tenant = ? AND revision = ? AND {in_states(before)}"
    this: tuple[Value, ...] = (job.id, tenant, job.revision)
    # Nobody else changes the job between here and the end of the transaction.
    script: list[Statement | Batch] = [
        Statement(f"UPDATE jobs SET checked_at = checked_at WHERE {may}", this)
    ]
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
    for some in batches(redrive.selected):
        script += _run_again(job.id, redrive, some, run, is_ours, this)
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
    changes = "spec = ?, controls = ?"
    if is_next_run:
        changes += f", {OPENED_AGAIN}"
        if job.place.compensates_run:
            # The job that it compensates has ended, and is not opened for it.
            changes += ", started_by_gateway = 1"
    else:
        changes += (
            f", {GO_ON.change}, {CHANGED}, waiting_since = NULL, stop_rule = NULL, "
            "stop_index = NULL"
        )
    spec, controls = redrive.spec, redrive.controls
    script.append(
        Statement(
            f"UPDATE jobs SET {changes} WHERE {may} RETURNING id",
            (spec.to_json(controls), controls.to_json(spec), *this),
        )
    )
    return script


def only_as_found(
    jobs: Iterable[JobRecord | JobToRunAgain], witness: JobId, tenant: TenantId
) -> list[Batch]:
    """Has the whole script fail where one of these jobs is not as it was found any more.

    What is opened again with them is so together with all of them, or not at all. The witness is
    a job below another one: see `fail_unless`.
    """
    these = [(job.id, tenant, job.revision) for job in jobs]
    return [
        # First, so that nobody changes them from here on.
        Batch(
            "UPDATE jobs SET checked_at = checked_at WHERE id = ? AND tenant = ? AND revision = ?",
            these,
        ),
        fail_unless(
            f"id = ? AND tenant = ? AND revision = ? AND {REDRIVE.condition}",
            [(witness, this) for this in these],
        ),
    ]


def claim_key(
    job: JobRecord | JobToRunAgain, key: IdempotencyKey | None, tenant: TenantId
) -> list[Statement | Batch]:
    """First, so that of two racing requests the second waits and then fails here."""
    if key is None:
        return []
    before = (*REDRIVE.before, *GO_ON.before)
    return [
        Statement(
            "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
            "SELECT tenant, ?, ?, id, ? FROM jobs "
            f"WHERE id = ? AND tenant = ? AND revision = ? AND {in_states(before)}",
            (key.key, key.body_hash, now_ms(), job.id, tenant, job.revision),
        )
    ]


def _run_again(
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


def batches(values: Sequence[One]) -> Iterator[Sequence[One]]:
    """The values, so many at a time as one statement takes."""
    for start in range(0, len(values), CHUNKS_A_STATEMENT):
        yield values[start : start + CHUNKS_A_STATEMENT]
