"""The one way out: what ends a job's chunks, and gives the job its terminal state.

Every job ends by the script of `Closing._end`: one that ran, one that was cancelled, one that
was never sealed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fanfold.contract.failures import Failure
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import counting
from fanfold.ledger.database import Statement, Value
from fanfold.ledger.error_groups import error_groups
from fanfold.ledger.records import ChunkCounts, ErrorGroup, now_ms
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import (
    CLOSE_CANCELLED,
    DISCARD,
    GIVE_UP,
    OPEN_CHUNK,
    SETTLE,
    in_states,
    may_close,
)

_CHUNK_IS_OPEN = (
    "EXISTS (SELECT 1 FROM chunks WHERE chunks.job_id = jobs.id "
    f"AND chunks.{in_states(OPEN_CHUNK)})"
)
RECEIVES_NOTHING = (
    f"{DISCARD.condition} AND checked_at < ? AND NOT EXISTS (SELECT 1 FROM uploads "
    "WHERE uploads.job_id = jobs.id AND uploads.touched_at >= ?)"
)
_IS_CANCELLED = CLOSE_CANCELLED.condition
_SINCE_0_1 = ("partially_succeeded", "items_dropped", "first_item")
_IS_CLOSED = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.tenant = ? "
    "AND jobs.finished_at IS NOT NULL)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a job ends."""

    state: JobState
    error: Failure | None
    counts: ChunkCounts
    errors: Sequence[ErrorGroup] = ()
    result: bytes | None = None

    @property
    def summary(self) -> str:
        return self._summary(self.error)

    @property
    def summary_if_cancelled(self) -> str:
        return self._summary(None)

    def _summary(self, error: Failure | None) -> str:
        summary = {
            "counts": _said(self.counts),
            "errors": [_said(group) for group in self.errors],
            "error": error.as_json() if error else None,
        }
        return json.dumps(summary, ensure_ascii=False)


def _said(record: ChunkCounts | ErrorGroup) -> dict[str, Any]:
    """The fields that release 0.1.0 knows, which refuses others; of these, what says something."""
    return {
        name: value for name, value in asdict(record).items() if value or name not in _SINCE_0_1
    }


class Closing(OfTenant):
    """Operations that end a job. Every method raises LedgerUnavailable."""

    async def counts(self, job_id: JobId) -> ChunkCounts:
        """Chunks by state and items by outcome, counted from the rows."""
        return await counting.counted(self._database, job_id, self._tenant)

    async def settle(self, job_id: JobId) -> ChunkCounts:
        """Mark every chunk without an outcome as cancelled, so that the counts are final.

        For jobs that are stopped: cancelled, past their tolerance, closed outside Fanfold.
        """
        await self._database.write(
            Statement(
                f"UPDATE chunks SET {SETTLE.change}, finished_at = ?, due_at = NULL, "
                f"fence = fence + 1 WHERE job_id = ? AND tenant = ? AND {SETTLE.condition}",
                (now_ms(), job_id, self._tenant),
            )
        )
        return await self.counts(job_id)

    async def close(
        self, job_id: JobId, state: JobState, *, error: Failure | None, result: bytes | None = None
    ) -> bool:
        """Give a job its terminal state, once; whether it has one now.

        Not while a chunk of it has no outcome. A second close changes nothing. A job whose
        cancellation was acknowledged ends cancelled, whatever else was reached.
        """
        counts = await self.counts(job_id)
        if counts.pending or counts.running:
            return False
        end = _End(
            state=state,
            error=error,
            counts=counts,
            errors=await error_groups(self._database, job_id, self._tenant),
            result=result,
        )
        which = f"{in_states(may_close(state))} AND NOT {_CHUNK_IS_OPEN}"
        _, is_closed = await self._end(job_id, which, (), end)
        return is_closed

    async def discard(self, job_id: JobId) -> bool:
        """Cancel a job that was not sealed; whether it was this call that did so."""
        end = _End(state=DISCARD.after, error=None, counts=ChunkCounts())
        ended, _ = await self._end(job_id, DISCARD.condition, (), end)
        return ended

    async def give_up(self, job_id: JobId, failure: Failure, *, silent_since: int) -> bool:
        """Close a job that got no data since then and was not sealed; whether this call did."""
        end = _End(state=GIVE_UP.after, error=failure, counts=ChunkCounts())
        ended, _ = await self._end(job_id, RECEIVES_NOTHING, (silent_since, silent_since), end)
        return ended

    async def _end(
        self, job_id: JobId, which: str, parameters: Sequence[Value], end: _End
    ) -> tuple[bool, bool]:
        """Give the job its terminal state, where it meets the condition.

        Whether this call did so, and whether the job has one now.
        """
        may_end, this = f"id = ? AND tenant = ? AND {which}", (job_id, self._tenant, *parameters)
        now = now_ms()
        script = [
            # Nobody else closes it between here and the end of the transaction.
            Statement(f"UPDATE jobs SET checked_at = checked_at WHERE {may_end}", this)
        ]
        if end.result is not None:
            script.append(
                Statement(
                    "INSERT INTO job_results (job_id, tenant, body) SELECT id, tenant, ? "
                    f"FROM jobs WHERE {may_end} AND NOT {_IS_CANCELLED} "
                    "ON CONFLICT (job_id) DO NOTHING",
                    (end.result, *this),
                )
            )
        closing = len(script)
        script.append(
            Statement(
                "UPDATE jobs SET finished_at = ?, expires_at = ? + keep_ms, "
                # What had arrived of one that was not sealed is no part of it.
                f"total_chunks = CASE WHEN {DISCARD.condition} THEN 0 ELSE total_chunks END, "
                f"total_items = CASE WHEN {DISCARD.condition} THEN 0 ELSE total_items END, "
                f"summary = CASE WHEN {_IS_CANCELLED} THEN ? ELSE ? END, "
                f"state = CASE WHEN {_IS_CANCELLED} THEN '{CLOSE_CANCELLED.after}' ELSE ? END "
                f"WHERE {may_end} RETURNING id",
                (now, now, end.summary_if_cancelled, end.summary, end.state, *this),
            )
        )
        # What stages gave on to the next, and which blocks were run again: of no use any more.
        for table, rows in (("inputs", "AND stage > 0 "), ("block_runs", "")):
            script.append(
                Statement(
                    f"DELETE FROM {table} WHERE job_id = ? {rows}AND {_IS_CLOSED}",
                    (job_id, job_id, self._tenant),
                )
            )
        script.append(Statement(f"SELECT 1 WHERE {_IS_CLOSED}", (job_id, self._tenant)))
        answers = await self._database.write(*script)
        return bool(answers[closing]), bool(answers[-1])
