"""The one way out: what ends a job's chunks, and gives the job its terminal state.

Every job ends by the script of `Closing._end`: one that ran, one that was cancelled, one that
was never sealed.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fanfold.contract.failures import Failure
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import counting
from fanfold.ledger.database import Statement, Value
from fanfold.ledger.error_groups import error_groups, error_groups_below
from fanfold.ledger.records import ChunkCounts, ErrorGroup, Stop, now_ms
from fanfold.ledger.restoring import restore_cancelled, restore_lost
from fanfold.ledger.steering import END_HELD, IS_HELD
from fanfold.ledger.tenancy import BELOW, IS_IN_RUN, OfTenant
from fanfold.ledger.transitions import (
    CANCEL_CHILD,
    CLOSE_CANCELLED,
    DISCARD,
    GIVE_UP,
    OPEN_CHUNK,
    SETTLE,
    UNFINISHED,
    UNSUCCESSFUL,
    WAIT,
    in_states,
    may_close,
)
from fanfold.ledger.unbegun import end_unbegun

_CHUNK_IS_OPEN = (
    "EXISTS (SELECT 1 FROM chunks WHERE chunks.job_id = jobs.id "
    f"AND chunks.{in_states(OPEN_CHUNK)})"
)
_SUB_JOB_IS_OPEN = (
    "EXISTS (SELECT 1 FROM jobs AS below WHERE below.parent_id = jobs.id "
    # One that gateways see to needs no parent: what undoes, where that was run again.
    "AND below.finished_at IS NULL AND below.started_by_gateway = 0)"
)
_MADE_OF = f"id IN {BELOW} AND compensates_run = 0"
RECEIVES_NOTHING = (
    f"{DISCARD.condition} AND checked_at < ? AND NOT EXISTS (SELECT 1 FROM uploads "
    "WHERE uploads.job_id = jobs.id AND uploads.touched_at >= ?)"
)
_IS_CANCELLED = CLOSE_CANCELLED.condition
_SETTLED_AT_ONCE = 20
_SINCE_0_1 = ("partially_succeeded", "held", "items_dropped", "first_item")
_OF_RUNNING = (
    "block_runs",
    "block_lanes",
    "kept_outputs",
    "child_cancels",
    "job_paces",
    "job_streaks",
)
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
    stop: Stop | None = None

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
        if error is not None and self.stop is not None:
            summary["stop"] = asdict(self.stop)
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
        rows = await self._database.read(
            "SELECT sub_jobs, total_chunks FROM jobs WHERE id = ? AND tenant = ?",
            (job_id, self._tenant),
        )
        if rows and rows[0]["sub_jobs"]:
            # It has no chunks of its own: as counted with every change of those below it.
            total = {str(job_id): int(rows[0]["total_chunks"])}
            return (await counting.running_counts(self._database, total))[job_id]
        return await counting.counted(self._database, job_id, self._tenant)

    async def settle(self, job_id: JobId, run: int) -> ChunkCounts:
        """Mark every chunk without an outcome as cancelled, so that the counts are final.

        Only in this run: whoever comes late, and finds the job redriven, changes nothing.

        For jobs that are stopped: cancelled, past their tolerance or deadline, closed outside
        Fanfold. Those that a redrive has selected are what they were before, and held ones
        have failed.
        """
        await self._database.write(
            # First, so that no redrive comes in between.
            Statement(
                "UPDATE jobs SET checked_at = checked_at WHERE id = ? AND tenant = ? AND run = ?",
                (job_id, self._tenant, run),
            ),
            *restore_lost(job_id, None, self._tenant, run),
            Statement(
                f"UPDATE chunks SET {END_HELD} WHERE job_id = ? AND tenant = ? AND {IS_HELD} "
                f"AND {IS_IN_RUN}",
                (job_id, self._tenant, job_id, run),
            ),
            Statement(
                f"UPDATE chunks SET {SETTLE.change}, finished_at = ?, due_at = NULL, "
                f"fence = fence + 1 WHERE job_id = ? AND tenant = ? AND {SETTLE.condition} "
                f"AND {IS_IN_RUN}",
                (now_ms(), job_id, self._tenant, job_id, run),
            ),
        )
        return await self.counts(job_id)

    async def settle_below(self, job_id: JobId) -> None:
        """End all that a job is made of, and that has not ended: the job itself is stopped.

        But for what undoes things: that goes on, one after another, by the workflow that runs
        it, or where that is gone by gateways (`Compensating.hand_over`).
        """
        await self._database.write(*end_unbegun(_MADE_OF, (job_id,), self._tenant))
        rows = await self._database.read(
            f"SELECT id, run, sub_jobs FROM jobs WHERE {_MADE_OF} AND tenant = ? "
            f"AND {in_states(UNFINISHED)} ORDER BY position DESC",
            (job_id, self._tenant),
        )
        # Those with chunks first, some at a time: they may be thousands.
        leaves = [row for row in rows if not row["sub_jobs"]]
        for start in range(0, len(leaves), _SETTLED_AT_ONCE):
            some = leaves[start : start + _SETTLED_AT_ONCE]
            await asyncio.gather(*(self._cancel(row["id"], row["run"]) for row in some))
        for row in rows:
            if row["sub_jobs"]:
                await self._cancel(row["id"], row["run"])

    async def _cancel(self, job_id: JobId, run: int) -> None:
        """End a job, in this run, as it stands."""
        await self.settle(job_id, run)
        await self.close(job_id, JobState.CANCELLED, error=None, run=run)

    async def stop(self, job_id: JobId, stop: Stop) -> None:
        """Note the rule by which a running job is to be stopped, unless there is one already."""
        await self._database.write(
            Statement(
                "UPDATE jobs SET stop_rule = ?, stop_index = ? WHERE id = ? AND tenant = ? "
                "AND finished_at IS NULL AND stop_rule IS NULL",
                (stop.rule, stop.index, job_id, self._tenant),
            )
        )

    async def stopped_by(self, job_id: JobId) -> Stop | None:
        """The rule that was noted by `stop`."""
        rows = await self._database.read(
            "SELECT stop_rule, stop_index FROM jobs WHERE id = ? AND tenant = ? "
            "AND stop_rule IS NOT NULL",
            (job_id, self._tenant),
        )
        return Stop(rows[0]["stop_rule"], rows[0]["stop_index"]) if rows else None

    async def wait(self, job_id: JobId) -> int | None:
        """Let a running job wait, of which only held chunks are left.

        Since when it waits, in milliseconds since 1970; None where it does not.
        """
        *_, rows = await self._database.write(
            # First, so that what is asked for next is as of now: perhaps it was just resolved.
            Statement(
                "UPDATE jobs SET checked_at = checked_at WHERE id = ? AND tenant = ?",
                (job_id, self._tenant),
            ),
            Statement(
                f"UPDATE jobs SET {WAIT.change}, waiting_since = ? WHERE id = ? AND tenant = ? "
                f"AND {WAIT.condition} AND NOT {_CHUNK_IS_OPEN} AND EXISTS "
                f"(SELECT 1 FROM chunks WHERE job_id = jobs.id AND {IS_HELD})",
                (now_ms(), job_id, self._tenant),
            ),
            Statement(
                f"SELECT waiting_since FROM jobs WHERE id = ? AND tenant = ? "
                f"AND state = '{WAIT.after}'",
                (job_id, self._tenant),
            ),
        )
        return rows[0]["waiting_since"] if rows else None

    async def cancelled_by_nobody(self, job_id: JobId, run: int) -> int:
        """How many chunks were cancelled in this run, though neither they nor the job were."""
        ((count,),) = await self._database.read(
            f"SELECT COUNT(*) FROM chunks WHERE job_id = ? AND tenant = ? AND {UNSUCCESSFUL} "
            f"AND {in_states([SETTLE.after])} AND run = ? AND NOT EXISTS (SELECT 1 "
            "FROM child_cancels WHERE child_cancels.job_id = chunks.job_id "
            "AND child_cancels.idx = chunks.idx)",
            (job_id, self._tenant, run),
        )
        return int(count)

    async def cancel_children(self, job_id: JobId) -> None:
        """Cancel what a client wants cancelled and nobody runs any more.

        What a redrive has selected is what it was before.
        """
        wanted = "idx IN (SELECT idx FROM child_cancels WHERE job_id = ?)"
        await self._database.write(
            *restore_cancelled(job_id, self._tenant),
            Statement(
                f"UPDATE chunks SET {CANCEL_CHILD.change}, finished_at = ?, due_at = NULL, "
                f"fence = fence + 1 WHERE job_id = ? AND tenant = ? AND {CANCEL_CHILD.condition} "
                f"AND state = 'pending' AND {wanted}",
                (now_ms(), job_id, self._tenant, job_id),
            ),
        )

    async def close(
        self,
        job_id: JobId,
        state: JobState,
        *,
        error: Failure | None,
        result: bytes | None = None,
        stop: Stop | None = None,
        run: int | None = None,
        unless_cancelled: bool = False,
    ) -> bool:
        """Give a job its terminal state, once; whether it has one now.

        Only in this run, where one is named. With `unless_cancelled`, not where its cancellation
        was asked for: what it did may have to be undone first.

        Not while a chunk of it, or a job it is made of, has no outcome. A second close changes
        nothing. A job whose cancellation was acknowledged ends cancelled, whatever else was
        reached.
        """
        counts = await self.counts(job_id)
        if counts.open or counts.held:
            return False
        errors = await error_groups(self._database, job_id, self._tenant)
        end = _End(
            state=state,
            error=error,
            counts=counts,
            errors=errors or await error_groups_below(self._database, job_id),
            result=result,
            stop=stop,
        )
        before = may_close(state)
        if unless_cancelled:
            before = tuple(each for each in before if each not in CLOSE_CANCELLED.before)
        which = f"{in_states(before)} AND NOT {_CHUNK_IS_OPEN} AND NOT {_SUB_JOB_IS_OPEN}"
        of_run = () if run is None else (run,)
        if run is not None:
            which += " AND run = ?"
        _, is_closed = await self._end(job_id, which, of_run, end)
        return is_closed

    async def discard(self, job_id: JobId) -> bool:
        """Cancel a job that was not sealed; whether it was this call that did so."""
        return await self._end_unsealed(job_id, DISCARD.after, None, DISCARD.condition)

    async def give_up(self, job_id: JobId, failure: Failure, *, silent_since: int) -> bool:
        """Close a job that got no data since then and was not sealed; whether this call did."""
        return await self._end_unsealed(
            job_id, GIVE_UP.after, failure, RECEIVES_NOTHING, silent_since, silent_since
        )

    async def _end_unsealed(
        self,
        job_id: JobId,
        state: JobState,
        failure: Failure | None,
        which: str,
        *parameters: Value,
    ) -> bool:
        """End a job that was not sealed, with all that it is made of.

        What had arrived is no part of it; what those below it came with is.
        """
        rows = await self._database.read(
            "SELECT COALESCE(SUM(below.total_chunks), 0) AS chunks, "
            "COALESCE(SUM(below.total_items), 0) AS items FROM jobs AS root LEFT JOIN jobs "
            "AS below ON below.root_id = root.id AND below.sub_jobs = 0 "
            f"WHERE root.id = ? AND root.tenant = ? AND root.{DISCARD.condition} GROUP BY root.id",
            (job_id, self._tenant),
        )
        if not rows:
            return False
        chunks, items = int(rows[0]["chunks"]), int(rows[0]["items"])
        end = _End(state=state, error=failure, counts=ChunkCounts(cancelled=chunks))
        ended, _ = await self._end(
            job_id,
            which,
            parameters,
            end,
            changes=f"total_chunks = {chunks}, total_items = {items}, ",
            after=end_unbegun(
                f"{_MADE_OF} AND {_IS_CLOSED}", (job_id, job_id, self._tenant), self._tenant
            ),
        )
        if ended:
            await self.settle_below(job_id)  # what of it was redriven, if anything
        return ended

    async def _end(
        self,
        job_id: JobId,
        which: str,
        parameters: Sequence[Value],
        end: _End,
        *,
        changes: str = "",
        after: Sequence[Statement] = (),
    ) -> tuple[bool, bool]:
        """Give the job its terminal state, where it meets the condition.

        With more changes of its row, and with what is to come after. Whether this call did so,
        and whether the job has one now.
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
                f"UPDATE jobs SET {changes}finished_at = ?, expires_at = ? + keep_ms, "
                f"summary = CASE WHEN {_IS_CANCELLED} THEN ? ELSE ? END, "
                f"state = CASE WHEN {_IS_CANCELLED} THEN '{CLOSE_CANCELLED.after}' ELSE ? END "
                f"WHERE {may_end} RETURNING id",
                (now, now, end.summary_if_cancelled, end.summary, end.state, *this),
            )
        )
        # What stages gave on to the next, and all that only a running job needs.
        for table, rows in (("inputs", "AND stage > 0 "), *((name, "") for name in _OF_RUNNING)):
            script.append(
                Statement(
                    f"DELETE FROM {table} WHERE job_id = ? {rows}AND {_IS_CLOSED}",
                    (job_id, job_id, self._tenant),
                )
            )
        script += after
        script.append(Statement(f"SELECT 1 WHERE {_IS_CLOSED}", (job_id, self._tenant)))
        answers = await self._database.write(*script)
        return bool(answers[closing]), bool(answers[-1])
