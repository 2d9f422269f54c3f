"""Chunks that a redrive has selected and that come to nothing this time: they are what they were.

A redrive puts what such a chunk has given aside (`kept_outputs`), so that it is never lost: the
chunk has its outcome back where its job is stopped before it ran again, or where it is lost.
"""

from collections.abc import Sequence

from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Statement, Value
from fanfold.ledger.records import Attempt
from fanfold.ledger.tenancy import IS_IN_RUN
from fanfold.ledger.transitions import OPEN_CHUNK, in_states

_KEPT = "FROM kept_outputs AS kept WHERE kept.job_id = chunks.job_id AND kept.idx = chunks.idx"
_COLUMNS = (
    "run",
    "by_item",
    "result_bytes",
    "stage",
    "stage_attempts",
    "started_at",
    "finished_at",
    "resolved_by",
)


def restore_chunk(job_id: JobId, index: int, tenant: TenantId) -> tuple[Statement, ...]:
    """The script for one chunk, if it does not run."""
    return _restore(job_id, tenant, "state = 'pending' AND idx = ?", (index,))


def restore_cancelled(job_id: JobId, tenant: TenantId) -> tuple[Statement, ...]:
    """The script for the chunks that a client wants cancelled, and that do not run."""
    condition = "state = 'pending' AND idx IN (SELECT idx FROM child_cancels WHERE job_id = ?)"
    return _restore(job_id, tenant, condition, (job_id,))


def restore_attempt(attempt: Attempt) -> tuple[Statement, ...]:
    """The script for the chunk of this attempt, as long as it holds."""
    condition = f"{in_states([ChunkState.RUNNING])} AND idx = ? AND fence = ?"
    return _restore(attempt.job_id, attempt.tenant, condition, (attempt.index, attempt.fence))


def restore_lost(
    job_id: JobId, index: int | None, tenant: TenantId, run: int
) -> tuple[Statement, ...]:
    """The script for one chunk without an outcome, or for all of them, in this run."""
    condition, parameters = f"{in_states(OPEN_CHUNK)} AND {IS_IN_RUN}", (job_id, run)
    if index is None:
        return _restore(job_id, tenant, condition, parameters)
    return _restore(job_id, tenant, f"{condition} AND idx = ?", (*parameters, index))


def _restore(
    job_id: JobId, tenant: TenantId, condition: str, parameters: Sequence[Value]
) -> tuple[Statement, ...]:
    # Of a job that was never redriven, the inner query finds nothing at once.
    which = (
        f"job_id = ? AND tenant = ? AND kept_from IS NOT NULL AND {condition} "
        "AND idx IN (SELECT idx FROM kept_outputs WHERE job_id = ?)"
    )
    these = (job_id, tenant, *parameters, job_id)
    of_these = f"idx IN (SELECT idx FROM chunks WHERE {which})"
    columns = ", ".join(f"{name} = (SELECT kept.{name} {_KEPT})" for name in _COLUMNS)
    return (
        # First, so that the rows are locked.
        Statement(f"UPDATE chunks SET kept_from = kept_from WHERE {which}", these),
        Statement(f"DELETE FROM results WHERE job_id = ? AND {of_these}", (job_id, *these)),
        Statement(
            "INSERT INTO results (job_id, idx, tenant, body, item_errors) "
            "SELECT job_id, idx, ?, body, item_errors FROM kept_outputs "
            f"WHERE job_id = ? AND body IS NOT NULL AND {of_these}",
            (tenant, job_id, *these),
        ),
        Statement(
            f"UPDATE chunks SET state = kept_from, kept_from = NULL, due_at = NULL, "
            f"fence = fence + 1, {columns} "
            f"WHERE {which}",
            these,
        ),
    )
