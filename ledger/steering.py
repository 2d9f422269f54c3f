"""What clients ask of a job that runs: pause, resume, change, cancel a child, release, resolve.

All of it is decided here, in the ledger. Where the job's workflow has to hear of it, `changes`
rises, and the gateways' loop tells it until it has been told (`Starting.to_check`). Each of
these, written twice, is written once.
"""

from collections.abc import Sequence
from dataclasses import replace

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.database import Batch, Statement, Value
from fanfold.ledger.pacing import pace_of
from fanfold.ledger.records import NO_ERRORS, now_ms
from fanfold.ledger.restoring import restore_chunk
from fanfold.ledger.tenancy import BELOW, OfTenant
from fanfold.ledger.transitions import (
    CANCEL_CHILD,
    CANCEL_RUNNING_CHILD,
    GIVE_UP_HELD,
    GIVE_UP_HELD_IN_PART,
    GO_ON,
    PAUSE,
    RESOLVE,
    RESUME,
    RESUME_UNBEGUN,
    UNSUCCESSFUL,
    in_states,
)

CHANGED = "changes = changes + 1, checked_at = 0"
"""The assignments that have the gateways tell the job's workflow."""

_CHANGED_BELOW = (
    "changes = changes + 1, "
    "checked_at = CASE WHEN workflow_started_at IS NULL THEN checked_at ELSE 0 END"
)
"""The same for sub-jobs, most of which have no workflow yet."""

END_HELD = (
    # A chunk has a result, be it an empty one, where some of its items succeeded.
    f"state = CASE WHEN result_bytes > 0 THEN '{GIVE_UP_HELD_IN_PART.after}' "
    f"ELSE '{GIVE_UP_HELD.after}' END"
)
"""The assignment that ends a held chunk."""

IS_HELD = f"{UNSUCCESSFUL} AND {GIVE_UP_HELD.condition}"
"""The condition on held chunks, in the words of their index."""

_GO_ON = f"{GO_ON.change}, waiting_since = NULL, {CHANGED}"
# The first of each index of open chunks: asked whether there is any, SQLite looks through all of
# the job's chunks.
_NONE_IS_OPEN = " AND ".join(
    f"(SELECT MIN({first}) FROM chunks WHERE chunks.job_id = ? AND {which}) IS NULL"
    for first, which in (
        ("idx", "state = 'pending' AND due_at IS NULL AND idx >= 0"),
        ("due_at", "state = 'pending' AND due_at IS NOT NULL"),
        ("token", "state = 'running'"),
    )
)
_CHILD = "job_id = ? AND idx = ? AND tenant = ?"
_DECIDE_HELD = (
    f"UPDATE jobs SET revision = revision + 1 WHERE id = ? AND tenant = ? AND {GO_ON.condition} "
    "AND EXISTS (SELECT 1 FROM chunks WHERE chunks.job_id = jobs.id AND chunks.idx = ? "
    f"AND chunks.{RESOLVE.condition})"
)
"""Has a redrive that was to run this held chunk again see that this is decided already."""


class Steering(OfTenant):
    """Operations on jobs that have not ended. Every method raises LedgerUnavailable."""

    async def pause(self, job_id: JobId) -> bool:
        """Let no attempt of the job begin from now on, nor of those it is made of.

        Whether it was this call that did so.
        """
        return await self._move(job_id, PAUSE.change, PAUSE.condition, (PAUSE.after,))

    async def resume(self, job_id: JobId) -> bool:
        """Let a paused job go on, and those it is made of; whether it was this call that did so."""
        state = (
            f"state = CASE WHEN started_at IS NULL THEN '{RESUME_UNBEGUN.after}' "
            f"ELSE '{RESUME.after}' END"
        )
        after = (RESUME.after, RESUME_UNBEGUN.after)
        return await self._move(job_id, state, RESUME.condition, after, is_told=True)

    async def prioritize_below(self, job_id: JobId, priority: int) -> None:
        """Give all unfinished jobs below this one a priority."""
        while changed := await self._with_another_priority(job_id, priority):
            await self._database.write(
                Batch(
                    f"UPDATE jobs SET controls = ?, {_CHANGED_BELOW} "
                    # Of one that somebody else has changed since, in the next round.
                    "WHERE id = ? AND controls = ? AND finished_at IS NULL",
                    changed,
                )
            )

    async def _with_another_priority(
        self, job_id: JobId, priority: int
    ) -> list[tuple[Value, Value, Value]]:
        """Unfinished jobs below this one: what their controls are to be, their ids, and as is."""
        rows = await self._database.read(
            f"SELECT id, spec, controls FROM jobs WHERE id IN {BELOW} AND tenant = ? "
            "AND finished_at IS NULL",
            (job_id, self._tenant),
        )
        changed: list[tuple[Value, Value, Value]] = []
        for row in rows:
            controls = Controls.from_json(row["controls"])
            if controls.priority != priority:
                spec = JobSpec.from_json(row["spec"], row["controls"])
                text = replace(controls, priority=priority).to_json(spec)
                changed.append((text, row["id"], row["controls"]))
        return changed

    async def change(
        self, job_id: JobId, revision: int, spec: JobSpec, controls: Controls, keep_ms: int | None
    ) -> bool:
        """Give the job these controls; False where it is not at this revision any more.

        `spec` is the job's, whose newer fields are stored with them.
        """
        text = controls.to_json(spec)
        is_written = (
            "EXISTS (SELECT 1 FROM jobs WHERE id = ? AND tenant = ? AND revision = ? "
            "AND controls = ?)"
        )
        written: tuple[Value, ...] = (job_id, self._tenant, revision + 1, text)
        *_, rows = await self._database.write(
            Statement(
                "UPDATE jobs SET controls = ?, keep_ms = CAST(? AS BIGINT), "
                f"expires_at = finished_at + CAST(? AS BIGINT), {CHANGED} "
                "WHERE id = ? AND tenant = ? AND revision = ?",
                (text, keep_ms, keep_ms, job_id, self._tenant, revision),
            ),
            Statement(
                f"DELETE FROM job_labels WHERE job_id = ? AND {is_written}", (job_id, *written)
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) SELECT ?, ?, ?, ? "
                f"WHERE {is_written}",
                [
                    (self._tenant, name, value, job_id, *written)
                    for name, value in controls.labels.items()
                ],
            ),
            *pace_of(job_id, controls, is_written, written),
            Statement(f"SELECT 1 WHERE {is_written}", written),
        )
        return bool(rows)

    async def cancel_child(self, job_id: JobId, index: int) -> None:
        """Cancel one chunk: at once where it does not run, else as soon as its worker hears.

        One that has an outcome keeps it. One that a redrive has selected is what it was before.
        """
        this: tuple[Value, ...] = (job_id, index, self._tenant)
        await self._database.write(
            self._hold_still(job_id),
            Statement(_DECIDE_HELD, (job_id, self._tenant, index)),
            *restore_chunk(job_id, index, self._tenant),
            Statement(
                f"UPDATE chunks SET {CANCEL_CHILD.change}, finished_at = ?, due_at = NULL, "
                f"fence = fence + 1 WHERE {_CHILD} AND {CANCEL_CHILD.condition}",
                (now_ms(), *this),
            ),
            Statement(
                "INSERT INTO child_cancels (job_id, idx) SELECT job_id, idx FROM chunks "
                f"WHERE {_CHILD} AND (chunks.{CANCEL_RUNNING_CHILD.condition} "
                f"OR chunks.state = '{ChunkState.CANCELLED}') AND EXISTS (SELECT 1 FROM jobs "
                "WHERE jobs.id = chunks.job_id AND jobs.finished_at IS NULL) "
                "ON CONFLICT (job_id, idx) DO NOTHING",
                this,
            ),
            self._go_on_unless_held(job_id),
            # A job that has nothing left to wait for ends.
            Statement(
                f"UPDATE jobs SET {CHANGED} WHERE id = ? AND tenant = ? AND finished_at IS NULL "
                f"AND {_NONE_IS_OPEN}",
                (job_id, self._tenant, job_id, job_id, job_id),
            ),
        )

    async def release(self, job_id: JobId) -> bool:
        """Give up the held chunks of a waiting job, and let it go on to its end.

        Whether it was this call that did so.
        """
        is_waiting = f"EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.{GO_ON.condition})"
        this: tuple[Value, ...] = (job_id, self._tenant)
        *_, rows = await self._database.write(
            # First, so that no other release does it at the same time.
            Statement(
                f"UPDATE jobs SET checked_at = 0 WHERE id = ? AND tenant = ? AND {GO_ON.condition}",
                this,
            ),
            Statement(
                f"UPDATE chunks SET {END_HELD} WHERE job_id = ? AND tenant = ? AND {IS_HELD} "
                f"AND {is_waiting}",
                (*this, job_id),
            ),
            Statement(
                f"UPDATE jobs SET {_GO_ON} WHERE id = ? AND tenant = ? AND {GO_ON.condition} "
                "RETURNING id",
                this,
            ),
        )
        return bool(rows)

    async def resolve(self, job_id: JobId, index: int, body: bytes, *, by_item: bool) -> bool:
        """Give a held chunk its result, JSON text; whether it was this call that did so.

        `by_item` says whether each place of it is an item's.
        """
        this: tuple[Value, ...] = (job_id, index, self._tenant)
        *_, resolved, _, _ = await self._database.write(
            self._hold_still(job_id),
            Statement(_DECIDE_HELD, (job_id, self._tenant, index)),
            # So that the row is locked: what follows asks for its state.
            Statement(
                f"UPDATE chunks SET fence = fence + 1 WHERE {_CHILD} AND {RESOLVE.condition}", this
            ),
            Statement(
                "INSERT INTO results (job_id, idx, tenant, body, item_errors) "
                f"SELECT job_id, idx, tenant, ?, '{NO_ERRORS}' FROM chunks "
                f"WHERE {_CHILD} AND {RESOLVE.condition} ON CONFLICT (job_id, idx) DO UPDATE "
                "SET body = excluded.body, item_errors = excluded.item_errors RETURNING idx",
                (body, *this),
            ),
            Statement(
                f"UPDATE chunks SET {RESOLVE.change}, finished_at = ?, items_failed = 0, "
                "items_dropped = 0, result_bytes = ?, by_item = ?, error_type = NULL, "
                "error_message = NULL, error_retryable = NULL, error_traceback = NULL, "
                f"resolved_by = 'client' WHERE {_CHILD} AND {RESOLVE.condition}",
                (now_ms(), len(body), int(by_item), *this),
            ),
            self._go_on_unless_held(job_id),
        )
        return bool(resolved)

    async def _move(
        self,
        job_id: JobId,
        change: str,
        condition: str,
        after: Sequence[JobState],
        *,
        is_told: bool = False,
    ) -> bool:
        """Move the job, and if it is in one of these states after that, those below it.

        Whether it was this call that moved the job itself.
        """
        this, below = (CHANGED, _CHANGED_BELOW) if is_told else ("", "")
        is_moved = (
            f"EXISTS (SELECT 1 FROM jobs AS above WHERE above.id = ? AND above.{in_states(after)})"
        )
        rows, _ = await self._database.write(
            Statement(
                f"UPDATE jobs SET {', '.join(filter(None, (change, this)))} "
                f"WHERE id = ? AND tenant = ? AND {condition} RETURNING id",
                (job_id, self._tenant),
            ),
            Statement(
                f"UPDATE jobs SET {', '.join(filter(None, (change, below)))} "
                f"WHERE id IN {BELOW} AND tenant = ? AND {condition} AND {is_moved}",
                (job_id, self._tenant, job_id),
            ),
        )
        return bool(rows)

    def _hold_still(self, job_id: JobId) -> Statement:
        """What comes first where chunks that are held get an outcome, one by one.

        Two at once would each see the other's chunk as held still, and the job wait for ever.
        """
        return Statement(
            "UPDATE jobs SET checked_at = checked_at "
            "WHERE id = ? AND tenant = ? AND finished_at IS NULL",
            (job_id, self._tenant),
        )

    def _go_on_unless_held(self, job_id: JobId) -> Statement:
        """Let a waiting job go on to its end where nothing of it is held any more."""
        return Statement(
            f"UPDATE jobs SET {_GO_ON} WHERE id = ? AND tenant = ? AND {GO_ON.condition} "
            f"AND NOT EXISTS (SELECT 1 FROM chunks WHERE job_id = ? AND {IS_HELD})",
            (job_id, self._tenant, job_id),
        )
