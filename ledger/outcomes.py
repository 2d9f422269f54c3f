"""What may become of an attempt at a chunk, each as a script for the ledger.

Every statement holds only while the attempt does, which its fence tells: a worker that
was thought dead and comes back changes nothing any more. The update of the chunk comes
first, so that the row is locked; what follows asks whether it was this very attempt that
brought it about. Writing a script twice is writing it once.
"""

import json
from dataclasses import asdict

from fanfold.contract.failures import Failure
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Statement
from fanfold.ledger.records import Attempt, ChunkOutput, now_ms
from fanfold.ledger.transitions import FAIL, SUCCEED, TAKE_BACK

Script = tuple[Statement, ...]

_HOLDS_ATTEMPT = (
    f"WHERE job_id = ? AND idx = ? AND {TAKE_BACK.condition} AND fence = ? AND tenant = ?"
)
TAKEN_BACK = (
    f"{TAKE_BACK.change}, attempts = attempts - CASE WHEN stage_attempts > 0 "
    "AND (stage = 0 OR stage_attempts > 1) THEN 1 ELSE 0 END, stage_attempts = "
    "CASE WHEN stage_attempts > 0 THEN stage_attempts - 1 ELSE 0 END, "
    "fence = fence + 1"
)
"""The attempt that runs ends as if it had never begun."""


def succeeded(attempt: Attempt, output: ChunkOutput) -> Script:
    """The chunk's last stage gave its result."""
    return (
        Statement(
            f"UPDATE chunks SET {SUCCEED.change}, finished_at = ?, result_bytes = ?, "
            f"items_failed = ? {_HOLDS_ATTEMPT}",
            (now_ms(), len(output.body), len(output.item_errors), *_held(attempt)),
        ),
        _keep_output(attempt, output, state=SUCCEED.after),
    )


def failed(attempt: Attempt, failure: Failure, output: ChunkOutput, *, items_failed: int) -> Script:
    """The chunk failed for good; what its items gave nevertheless is kept."""
    update = Statement(
        f"UPDATE chunks SET {FAIL.change}, finished_at = ?, result_bytes = ?, "
        "error_type = ?, error_message = ?, error_retryable = ?, "
        f"items_failed = ? {_HOLDS_ATTEMPT}",
        (
            now_ms(),
            len(output.body),
            *failure_columns(failure),
            items_failed,
            *_held(attempt),
        ),
    )
    if output.item_errors or attempt.checkpoint.item_errors:
        return update, _keep_output(attempt, output, state=FAIL.after)
    return (update,)


def put_off(attempt: Attempt, output: ChunkOutput, *, seconds: float) -> Script:
    """The attempt failed, and another is due so much later; it goes on from what items gave."""
    due_at = now_ms() + round(seconds * 1000)
    if not (output.body or output.item_errors):
        return (
            Statement(
                f"UPDATE chunks SET {TAKE_BACK.change}, due_at = ? {_HOLDS_ATTEMPT}",
                (due_at, *_held(attempt)),
            ),
        )
    return (
        Statement(
            f"UPDATE chunks SET {TAKE_BACK.change}, due_at = ?, result_bytes = ? {_HOLDS_ATTEMPT}",
            (due_at, len(output.body), *_held(attempt)),
        ),
        _keep_output(attempt, output, state=TAKE_BACK.after),
    )


def advanced(attempt: Attempt, output: ChunkOutput) -> Script:
    """A stage is done: its output is the next stage's input."""
    keep_input = Statement(
        "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
        "SELECT job_id, COALESCE(input_at, idx), stage + 1, tenant, ? FROM chunks "
        f"{_HOLDS_ATTEMPT} ON CONFLICT (job_id, idx, stage) DO NOTHING",
        (output.body, *_held(attempt)),
    )
    # Last, since it raises the fence that the attempt holds: done twice, it skipped a stage.
    update = Statement(
        "UPDATE chunks SET stage = stage + 1, stage_attempts = 0, result_bytes = 0, "
        f"fence = fence + 1, items_failed = ? {_HOLDS_ATTEMPT}",
        (len(output.item_errors), *_held(attempt)),
    )
    if output.item_errors or attempt.checkpoint.item_errors:
        dropped = ChunkOutput(item_errors=output.item_errors)
        return _keep_output(attempt, dropped, state=ChunkState.RUNNING), keep_input, update
    return keep_input, update


def handed_back(attempt: Attempt) -> Script:
    """A stopping worker could not finish the attempt: it does not count."""
    return (Statement(f"UPDATE chunks SET {TAKEN_BACK} {_HOLDS_ATTEMPT}", _held(attempt)),)


def given_up(attempt: Attempt, failure: Failure) -> Script:
    """The attempt was one too many, and does not count: the last one ended without a word.

    What items gave in earlier attempts stays.
    """
    kept = attempt.dropped_earlier + attempt.checkpoint.item_errors
    return (
        Statement(
            f"UPDATE chunks SET {FAIL.change}, finished_at = ?, attempts = attempts - 1, "
            f"error_type = ?, error_message = ?, error_retryable = ?, items_failed = ? "
            f"{_HOLDS_ATTEMPT}",
            (
                now_ms(),
                *failure_columns(failure),
                len(kept) if attempt.checkpoint.body else attempt.item_count,
                *_held(attempt),
            ),
        ),
    )


def failure_columns(failure: Failure) -> tuple[str, str, int]:
    """error_type, error_message, error_retryable."""
    return failure.type, failure.message, int(failure.retryable)


def _held(attempt: Attempt) -> tuple[str, int, int, str]:
    return attempt.job_id, attempt.index, attempt.fence, attempt.tenant


def _keep_output(attempt: Attempt, output: ChunkOutput, *, state: ChunkState) -> Statement:
    """Writes the output, if it is this attempt that brought the chunk to this state."""
    errors = "[]"
    if output.item_errors:
        errors = json.dumps([asdict(error) for error in output.item_errors], ensure_ascii=False)
    return Statement(
        "INSERT INTO results (job_id, idx, tenant, body, item_errors) "
        "SELECT job_id, idx, tenant, ?, ? FROM chunks "
        "WHERE job_id = ? AND idx = ? AND state = ? AND fence = ? AND tenant = ? "
        "ON CONFLICT (job_id, idx) DO UPDATE "
        "SET body = excluded.body, item_errors = excluded.item_errors",
        (
            output.body,
            errors,
            attempt.job_id,
            attempt.index,
            state,
            attempt.fence,
            attempt.tenant,
        ),
    )
