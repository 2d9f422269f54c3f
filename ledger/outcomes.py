"""What may become of an attempt at a chunk, each as a script for the ledger.

Every statement holds only while the attempt does, which its fence tells: a worker that
was thought dead and comes back changes nothing any more. The update of the chunk comes
first, so that the row is locked; what follows asks whether it was this very attempt that
brought it about. Writing a script twice is writing it once.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from fanfold.contract import json_values
from fanfold.contract.failures import Failure
from fanfold.contract.states import ChunkState
from fanfold.ledger.attempts import MAX_KEPT
from fanfold.ledger.database import Statement, Value, placeholders
from fanfold.ledger.records import NO_ERRORS, Attempt, ChunkOutput, now_ms
from fanfold.ledger.restoring import restore_attempt
from fanfold.ledger.transitions import (
    CANCEL_CHILD,
    CANCEL_RUNNING_CHILD,
    FAIL,
    HOLD,
    JUDGED_CHUNK,
    SUCCEED,
    SUCCEED_PARTIALLY,
    TAKE_BACK,
    Move,
    in_states,
)

Script = tuple[Statement, ...]

_HOLDS_ATTEMPT = (
    f"WHERE job_id = ? AND idx = ? AND {TAKE_BACK.condition} AND fence = ? AND tenant = ?"
)
_HOLDS_ENDED = (
    f"WHERE job_id = ? AND idx = ? AND {in_states((*JUDGED_CHUNK, ChunkState.HELD))} "
    "AND fence = ? AND tenant = ?"
)
TAKEN_BACK = (
    f"{TAKE_BACK.change}, attempts = attempts - CASE WHEN stage_attempts > 0 "
    "AND (stage = 0 OR stage_attempts > 1) THEN 1 ELSE 0 END, stage_attempts = "
    "CASE WHEN stage_attempts > 0 THEN stage_attempts - 1 ELSE 0 END, "
    "fence = fence + 1"
)
"""The attempt that runs ends as if it had never begun."""


def succeeded(attempt: Attempt, output: ChunkOutput) -> Script:
    """The chunk's last stage gave its result, and no item failed."""
    return _ended(attempt, SUCCEED, output, items_failed=_count_failed(output))


def is_plain(attempt: Attempt, output: ChunkOutput) -> bool:
    """Whether a success needs no more than `succeeded_together` writes: that of most chunks."""
    return (
        attempt.number == 1
        and attempt.stage == 0
        and not attempt.is_again
        and not output.item_errors
        and bool(output.body)
    )


class Plain(NamedTuple):
    """A success as that of most chunks."""

    attempt: Attempt
    output: ChunkOutput


def succeeded_together(ended: Sequence[Plain]) -> Script:
    """What `succeeded` is for each of these plain successes of one job, in two statements."""
    job_id, tenant = ended[0].attempt.job_id, ended[0].attempt.tenant
    indexes = [attempt.index for attempt, _ in ended]
    of_all = [
        (attempt.index, attempt.fence, len(output.body), _flag(output.by_item), output.body)
        for attempt, output in ended
    ]
    # Each by its key. A join would leave the choice to the database, which may look through all
    # of the job's chunks for these few.
    these = (
        f"chunks.job_id = ? AND chunks.idx IN ({placeholders(len(ended))}) AND chunks.tenant = ? "
        "AND chunks.fence = (SELECT ended.fence FROM ended WHERE ended.idx = chunks.idx)"
    )
    chosen: tuple[Value, ...] = (job_id, *indexes, tenant)
    return (
        Statement(
            f"{_ended_rows(len(ended), body='')} UPDATE chunks SET {SUCCEED.change}, "
            f"finished_at = ?, result_bytes = {_OF_ENDED.format('result_bytes')}, "
            f"by_item = {_OF_ENDED.format('by_item')} WHERE {these} AND {SUCCEED.condition}",
            (*(value for row in of_all for value in row[:4]), now_ms(), *chosen),
        ),
        Statement(
            f"{_ended_rows(len(ended), body=', ? AS body')} "
            "INSERT INTO results (job_id, idx, tenant, body, item_errors) "
            "SELECT chunks.job_id, chunks.idx, chunks.tenant, "
            f"{_OF_ENDED.format('body')}, '{NO_ERRORS}' FROM chunks "
            f"WHERE {these} AND chunks.state = '{SUCCEED.after}' "
            "ON CONFLICT (job_id, idx) DO UPDATE "
            "SET body = excluded.body, item_errors = excluded.item_errors",
            (*(value for row in of_all for value in row), *chosen),
        ),
    )


_OF_ENDED = "(SELECT ended.{} FROM ended WHERE ended.idx = chunks.idx)"


@functools.cache
def _ended_rows(count: int, *, body: str) -> str:
    row = (
        "SELECT CAST(? AS INTEGER) AS idx, CAST(? AS BIGINT) AS fence, "
        f"CAST(? AS INTEGER) AS result_bytes, CAST(? AS INTEGER) AS by_item{body}"
    )
    return f"WITH ended AS MATERIALIZED ({' UNION ALL '.join([row] * count)})"


def succeeded_partially(attempt: Attempt, failure: Failure, output: ChunkOutput) -> Script:
    """The chunk's last stage gave its result, though some items failed: `failure` is the first's.

    Items that a chunk processor has made something else of stand and fall together.
    """
    failed = _count_failed_of(attempt, output)
    return _ended(attempt, SUCCEED_PARTIALLY, output, failure, items_failed=failed)


def failed(attempt: Attempt, failure: Failure, output: ChunkOutput) -> Script:
    """The chunk failed for good: no item of it has succeeded."""
    return _ended(attempt, FAIL, output, failure, items_failed=attempt.item_count)


def held(attempt: Attempt, failure: Failure, output: ChunkOutput) -> Script:
    """Items of the chunk failed for good; it is kept for a person, with what the others gave."""
    failed = attempt.item_count if not output.body else _count_failed_of(attempt, output)
    return _ended(attempt, HOLD, output, failure, items_failed=failed)


def cancelled(attempt: Attempt) -> Script:
    """A client has cancelled this chunk alone; one that has run before is what it was then.

    But for one that was held: that is cancelled.
    """
    if not attempt.is_again:
        return (
            Statement(
                f"UPDATE chunks SET {CANCEL_RUNNING_CHILD.change}, finished_at = ? "
                f"{_HOLDS_ATTEMPT}",
                (now_ms(), *_held(attempt)),
            ),
        )
    restored = replace(attempt, fence=attempt.fence + 1)
    return (
        *restore_attempt(attempt),
        Statement(
            f"UPDATE chunks SET {CANCEL_CHILD.change}, finished_at = ?, fence = fence + 1 "
            f"WHERE job_id = ? AND idx = ? AND {in_states([ChunkState.HELD])} "
            f"AND {CANCEL_CHILD.condition} AND fence = ? AND tenant = ?",
            (now_ms(), *_held(restored)),
        ),
    )


def _ended(
    attempt: Attempt,
    move: Move[ChunkState],
    output: ChunkOutput,
    failure: Failure | None = None,
    *,
    items_failed: int,
) -> Script:
    changes = f"{move.change}, finished_at = ?, result_bytes = ?, by_item = ?{_uncounted(attempt)}"
    parameters: tuple[Value, ...] = (now_ms(), len(output.body), _flag(output.by_item))
    if items_failed:
        changes += ", items_failed = ?, items_dropped = ?"
        parameters += (items_failed, _count_dropped(output))
    if failure is not None:
        changes += ", error_type = ?, error_message = ?, error_retryable = ?, error_traceback = ?"
        parameters += failure_columns(failure)
    if attempt.is_again:
        # What there was before goes.
        changes += ", kept_from = NULL"
        if not items_failed:
            changes += ", items_failed = 0, items_dropped = 0"
        if failure is None:
            changes += (
                ", error_type = NULL, error_message = NULL, error_retryable = NULL, "
                "error_traceback = NULL"
            )
    update = Statement(
        f"UPDATE chunks SET {changes} {_HOLDS_ATTEMPT}", (*parameters, *_held(attempt))
    )
    script: tuple[Statement, ...] = (update,)
    if output.body or output.item_errors or attempt.checkpoint.item_errors:
        script = (update, _keep_output(attempt, output, state=move.after))
    if failure is None and attempt.number == 1 and attempt.stage == 0 and not attempt.is_again:
        return script  # the chunk's only attempt: its row says all of it
    if attempt.is_one_too_many:
        return script
    return (*script, *_attempt_row(attempt, move.after, failure))


def put_off(attempt: Attempt, failure: Failure, output: ChunkOutput, *, seconds: float) -> Script:
    """The attempt failed, and another is due so much later; it goes on from what items gave."""
    due_at = now_ms() + round(seconds * 1000)
    noted = _attempt_row(attempt, TAKE_BACK.after, failure)
    if not (output.body or output.item_errors):
        return (
            Statement(
                f"UPDATE chunks SET {TAKE_BACK.change}, due_at = ? {_HOLDS_ATTEMPT}",
                (due_at, *_held(attempt)),
            ),
            *noted,
        )
    return (
        Statement(
            f"UPDATE chunks SET {TAKE_BACK.change}, due_at = ?, result_bytes = ? {_HOLDS_ATTEMPT}",
            (due_at, len(output.body), *_held(attempt)),
        ),
        _keep_output(attempt, output, state=TAKE_BACK.after),
        *noted,
    )


def counted_in_a_row(attempt: Attempt, output: ChunkOutput, *, is_failed: bool) -> Script:
    """Of a job that bears so many failed items in a row: how this outcome goes on with them.

    Items count in the order in which their chunks are recorded, and in a chunk in theirs.
    To be recorded after the outcome, in the same transaction.
    """
    failed = {e.item for e in output.item_errors if not e.is_derived and not e.is_dropped}
    dropped = {e.item for e in output.item_errors if not e.is_derived and e.is_dropped}
    if is_failed or any(e.is_derived and not e.is_dropped for e in output.item_errors):
        failed = {item for item in range(attempt.item_count) if item not in dropped}
    first = last = longest = 0
    has_success = False
    for item in range(attempt.item_count):
        if item in dropped:
            continue
        last = last + 1 if item in failed else 0
        longest = max(longest, last)
        has_success = has_success or item not in failed
        if not has_success:
            first = last
    is_ended = f"EXISTS (SELECT 1 FROM chunks {_HOLDS_ENDED})"
    ended = (attempt.job_id, attempt.index, attempt.fence, attempt.tenant)
    streak = "excluded.streak" if has_success else "job_streaks.streak + excluded.streak"
    joined = "job_streaks.streak + CAST(? AS BIGINT)"
    return (
        Statement(
            "INSERT INTO job_streaks (job_id, streak, longest) "
            f"SELECT ?, CAST(? AS BIGINT), CAST(? AS BIGINT) WHERE {is_ended} "
            f"ON CONFLICT (job_id) DO UPDATE SET streak = {streak}, longest = CASE "
            f"WHEN {joined} > job_streaks.longest AND {joined} > excluded.longest THEN {joined} "
            "WHEN excluded.longest > job_streaks.longest THEN excluded.longest "
            "ELSE job_streaks.longest END",
            (attempt.job_id, last, longest, *ended, first, first, first),
        ),
        # Written twice it counts once: the fence that holds it goes on.
        Statement(f"UPDATE chunks SET fence = fence + 1 {_HOLDS_ENDED}", ended),
    )


def advanced(attempt: Attempt, output: ChunkOutput) -> Script:
    """A stage is done: its output is the next stage's input."""
    update = Statement(
        "UPDATE chunks SET stage = stage + 1, stage_attempts = 0, result_bytes = 0, "
        f"fence = fence + 1, by_item = ?{_uncounted(attempt)} {_HOLDS_ATTEMPT}",
        (_flag(output.by_item), *_held(attempt)),
    )
    # Nothing else brings the chunk to this stage with this fence.
    there = replace(attempt, stage=attempt.stage + 1, fence=attempt.fence + 1)
    keep_input = Statement(
        "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
        "SELECT job_id, COALESCE(input_at, idx), stage, tenant, ? FROM chunks "
        f"{_HOLDS_ATTEMPT} AND stage = ? ON CONFLICT (job_id, idx, stage) DO NOTHING",
        (output.body, *_held(there), there.stage),
    )
    if output.item_errors or attempt.checkpoint.item_errors:
        kept = ChunkOutput(item_errors=output.item_errors)
        return update, keep_input, _keep_output(there, kept, state=ChunkState.RUNNING)
    return update, keep_input


def handed_back(attempt: Attempt) -> Script:
    """A stopping worker could not finish the attempt: it does not count."""
    return (Statement(f"UPDATE chunks SET {TAKEN_BACK} {_HOLDS_ATTEMPT}", _held(attempt)),)


def failure_columns(failure: Failure) -> tuple[str, str, int, str | None]:
    """error_type, error_message, error_retryable, error_traceback."""
    return failure.type, failure.message, int(failure.retryable), failure.traceback or None


def _attempt_row(attempt: Attempt, after: ChunkState, failure: Failure | None) -> Script:
    """Notes an attempt, if it is this one that brought the chunk to this state.

    Of one stage's attempts in one run the last MAX_KEPT are kept.
    """
    state, number = "succeeded", attempt.noted_before + attempt.number
    error: tuple[str | None, str | None, int | None] = (None, None, None)
    if failure is not None:
        state, error = "failed", (failure.type, failure.message, int(failure.retryable))
    script: Script = (
        Statement(
            "INSERT INTO attempts (job_id, idx, run, stage, number, state, error_type, "
            "error_message, error_retryable, started_at, finished_at) "
            "SELECT job_id, idx, run, stage, CAST(? AS BIGINT), ?, ?, ?, CAST(? AS INTEGER), "
            "CAST(? AS BIGINT), CAST(? AS BIGINT) FROM chunks "
            "WHERE job_id = ? AND idx = ? AND state = ? AND stage = ? AND fence = ? AND tenant = ? "
            "ON CONFLICT (job_id, idx, run, stage, number) DO NOTHING",
            (
                *(number, state, *error, attempt.begun_at, now_ms()),
                *(attempt.job_id, attempt.index, after, attempt.stage, attempt.fence),
                attempt.tenant,
            ),
        ),
    )
    if number <= MAX_KEPT:
        return script
    oldest = number - MAX_KEPT
    return (
        *script,
        Statement(
            "DELETE FROM attempts WHERE job_id = ? AND idx = ? AND run = ? AND stage = ? "
            "AND number <= ?",
            (attempt.job_id, attempt.index, attempt.run, attempt.stage, oldest),
        ),
    )


def _uncounted(attempt: Attempt) -> str:
    """The change that takes back an attempt that was one too many, and ran nothing."""
    return ", attempts = attempts - 1" if attempt.is_one_too_many else ""


def _count_failed_of(attempt: Attempt, output: ChunkOutput) -> int:
    """The same; items that a chunk processor has made something else of share one fate."""
    is_derived = any(error.is_derived and not error.is_dropped for error in output.item_errors)
    return attempt.item_count if is_derived else _count_failed(output)


def _count_failed(output: ChunkOutput) -> int:
    """How many of the chunk's items failed or were left out."""
    return sum(not error.is_derived for error in output.item_errors) if output.item_errors else 0


def _count_dropped(output: ChunkOutput) -> int:
    return sum(error.is_dropped and not error.is_derived for error in output.item_errors)


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _held(attempt: Attempt) -> tuple[str, int, int, str]:
    return attempt.job_id, attempt.index, attempt.fence, attempt.tenant


def _keep_output(attempt: Attempt, output: ChunkOutput, *, state: ChunkState) -> Statement:
    """Writes the output, if it is this attempt that brought the chunk to this state."""
    errors = NO_ERRORS
    if output.item_errors:
        errors = json_values.encode([error.as_json() for error in output.item_errors]).decode()
    return Statement(
        "INSERT INTO results (job_id, idx, tenant, body, item_errors) "
        "SELECT job_id, idx, tenant, ?, ? FROM chunks "
        "WHERE job_id = ? AND idx = ? AND state = ? AND stage = ? AND fence = ? AND tenant = ? "
        "ON CONFLICT (job_id, idx) DO UPDATE "
        "SET body = excluded.body, item_errors = excluded.item_errors",
        (
            output.body,
            errors,
            attempt.job_id,
            attempt.index,
            state,
            attempt.stage,
            attempt.fence,
            attempt.tenant,
        ),
    )
