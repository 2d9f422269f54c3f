"""What gateways carry out in Temporal: jobs to start, jobs to compare with their workflows.

A gateway claims what it takes on, so that no two do the same work: until
`claimed_until` the job is its own. It releases the claim when it is done; of one that
died, the claim runs out.

Nothing here waits for a row that somebody else is writing (`skip_locked`), so that
claims deadlock with nothing. A release that is skipped is made up for when the claim
runs out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import JobState
from fanfold.ledger.database import Batch, Database, Statement, Value, placeholders
from fanfold.ledger.records import now_ms
from fanfold.ledger.transitions import CANCEL, OPEN, RESUME, UNFINISHED, in_states

LARGE_JOB_CHUNKS = 100
"""A job of more chunks is large. A smaller one is done in two turns of the default window."""

LARGE_JOBS_SHARE = 3 / 4
"""Large jobs hold at most this share of the places: a small one always finds one soon."""

CLAIM_MS = 10_000
"""Twice as long as a call to Temporal may take; a dead gateway's jobs wait this long."""

_EVER = 2**62

# Those that another job is made of are started by its workflow.
_TO_START = f"{OPEN.condition} AND workflow_started_at IS NULL AND started_by_gateway = 1"
# One that was paused meanwhile is to be started too, once it is resumed. One that another job's
# workflow has been told to start is that one's to start, and must hear of what changes.
_NEVER_BEGAN = (
    f"{in_states((*OPEN.before, *RESUME.before))} AND started_at IS NULL AND started_by_gateway = 1"
)
# In the words of the index that holds just these.
_UNDER_WAY = (
    "SELECT COUNT(*) AS jobs, "
    f"COUNT(CASE WHEN total_chunks > {LARGE_JOB_CHUNKS} THEN 1 END) AS large "
    "FROM jobs WHERE workflow_started_at IS NOT NULL AND finished_at IS NULL "
    # One that rests holds no place: it may do so for weeks.
    "AND state NOT IN ('paused', 'waiting') AND started_by_gateway = 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingStart:
    """A recorded job whose workflow has to be started."""

    id: JobId
    tenant: TenantId
    run: int
    total_chunks: int
    spec_text: str
    controls_text: str | None

    @property
    def spec(self) -> JobSpec:
        """What the job was asked to do, read only now: one that cannot be read stops no other."""
        return JobSpec.from_json(self.spec_text, self.controls_text)

    @property
    def controls(self) -> Controls:
        """What may change while it runs; what release 0.1.0 recorded has it in the spec."""
        return Controls.from_json(self.controls_text or self.spec_text)


class UnfinishedJob(NamedTuple):
    """A job to compare with its workflow, in the state in which it was claimed."""

    id: JobId
    tenant: TenantId
    state: JobState
    run: int
    has_begun: bool
    """Whether a workflow has opened it."""
    changes: int
    """How often a control has changed what its workflow goes by."""
    is_told: bool
    """Whether its workflow knows of all of these."""
    is_draining: bool
    """Of a job that is being cancelled: whether chunks that have begun go on to their end."""


class _Waiting(NamedTuple):
    """A recorded job that nobody has started yet."""

    id: JobId
    total_chunks: int


@dataclass(frozen=True, slots=True)
class StartTurn:
    """The jobs that a gateway is to start now."""

    jobs: Sequence[PendingStart]
    are_some_held_back: bool
    """Whether more are waiting, for a place or for another gateway's turn to end."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many jobs may be under way at a time, over all gateways."""

    total: int

    @property
    def large(self) -> int:
        """How many of them may be large."""
        return max(1, int(self.total * LARGE_JOBS_SHARE))


class Starting:
    """Operations for the gateways' loops, over all tenants, which raise LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def to_start(self, places: Places, *, limit: int) -> StartTurn:
        """Claim recorded jobs that nobody has started yet, oldest first, while there are places.

        They hold their places from now on: `forget_workflow` takes that back. Of a gateway
        that dies before it has started them, `to_check` finds them.
        """
        waiting = await self._waiting(limit)
        if not waiting:
            return StartTurn((), are_some_held_back=False)
        ((under_way, large_under_way),) = await self._database.read(_UNDER_WAY)
        free, free_large = places.total - under_way, places.large - large_under_way
        chosen = _choose(waiting, free, free_large)
        if len(chosen) < min(free, len(waiting)):
            # Large ones have to wait; small ones may be behind them.
            small = await self._waiting(limit, f"AND total_chunks <= {LARGE_JOB_CHUNKS}")
            chosen = _choose(sorted({*waiting, *small}), free, free_large)[:limit]
        jobs = await self._claim_starts(chosen, places) if chosen else []
        return StartTurn(jobs, are_some_held_back=len(jobs) < len(waiting))

    async def claim(self, job_id: JobId, places: Places) -> bool:
        """Claim one job for whoever has recorded it, also where it is not the oldest.

        False where it has to wait, for a place or while it is paused; from then on gateways may
        start it too, in its turn. True where it needs no claim any more: somebody has started
        it, or it is stopped.
        """
        waits = f"id = ? AND {_NEVER_BEGAN} AND workflow_started_at IS NULL"
        found = await self._database.read(
            f"SELECT id, total_chunks FROM jobs WHERE {waits}", (job_id,)
        )
        waiting = [_Waiting(row["id"], row["total_chunks"]) for row in found]
        if not waiting or await self._claim_starts(waiting, places, claimed_before=_EVER):
            return True
        await self._database.write(
            Statement(f"UPDATE jobs SET claimed_until = 0 WHERE {waits}", (job_id,))
        )
        return False

    async def _waiting(self, limit: int, sizes: str = "") -> list[_Waiting]:
        """The oldest that wait."""
        rows = await self._database.read(
            f"SELECT id, total_chunks FROM jobs WHERE {_TO_START} AND claimed_until < ? {sizes} "
            "ORDER BY id LIMIT ?",
            (now_ms(), limit),
        )
        return [_Waiting(row["id"], row["total_chunks"]) for row in rows]

    async def _claim_starts(
        self, chosen: Sequence[_Waiting], places: Places, *, claimed_before: int | None = None
    ) -> list[PendingStart]:
        """Claim all of the chosen that nobody has taken meanwhile, or none for want of places."""
        skip_locked, now = self._database.skip_locked, now_ms()
        # Gateways claim one after another, or two of them would fill the same place. Whose
        # turn it is holds the ledger's one row of identity until the claim is committed.
        turn = f"SELECT id FROM ledger_identity {skip_locked}"
        has_turn, rows = await self._database.write(
            Statement(turn),
            Statement(
                f"WITH turn AS MATERIALIZED ({turn}), "
                f"under_way AS MATERIALIZED ({_UNDER_WAY}), taken AS MATERIALIZED ("
                f"SELECT id FROM jobs WHERE id IN ({placeholders(len(chosen))}) "
                f"AND {_TO_START} AND claimed_until < ? ORDER BY id {skip_locked}) "
                "UPDATE jobs SET workflow_started_at = ?, claimed_until = ? "
                "WHERE id IN (SELECT id FROM taken) AND EXISTS (SELECT 1 FROM turn) "
                "AND EXISTS (SELECT 1 FROM under_way WHERE jobs <= ? AND large <= ?) "
                "RETURNING id, tenant, run, total_chunks, spec, controls",
                (
                    *(job.id for job in chosen),
                    now if claimed_before is None else claimed_before,
                    now,
                    now + CLAIM_MS,
                    places.total - len(chosen),
                    # Small jobs are not kept from their places by large ones over the share.
                    places.large - large if (large := _large_of(chosen)) else places.total,
                ),
            ),
        )
        if rows and not has_turn:
            # The turn became free between the two statements: what was counted may be old.
            await self.forget_workflow([row["id"] for row in rows])
            return []
        return [
            PendingStart(
                id=row["id"],
                tenant=row["tenant"],
                run=row["run"],
                total_chunks=row["total_chunks"],
                spec_text=row["spec"],
                controls_text=row["controls"],
            )
            for row in sorted(rows, key=lambda row: str(row["id"]))
        ]

    async def forget_workflow(self, job_ids: Iterable[str], *, wait_ms: int = 0) -> None:
        """Note that these have no workflow: those that never began are started again.

        Where `wait_ms` is given, not before so long.
        """
        until = now_ms() + wait_ms if wait_ms else 0
        await self._write_each(
            f"workflow_started_at = CASE WHEN {_NEVER_BEGAN} THEN NULL "
            "ELSE workflow_started_at END, "
            f"claimed_until = CASE WHEN {_NEVER_BEGAN} THEN ? ELSE 0 END",
            [(until, job_id) for job_id in sorted(job_ids)],
        )

    async def release(self, job_ids: Iterable[str]) -> None:
        """Let go of claimed jobs: started ones, and those that could not be compared."""
        await self._write_each("claimed_until = 0", [(job_id,) for job_id in sorted(job_ids)])

    async def to_check(self, *, unchecked_since: int, limit: int) -> list[UnfinishedJob]:
        """Claim unfinished jobs that were not compared with their workflows since then.

        Jobs whose cancellation was just asked for come first.
        """
        now = now_ms()
        (rows,) = await self._database.write(
            Statement(
                "WITH taken AS MATERIALIZED ("
                f"SELECT id FROM jobs WHERE {in_states(UNFINISHED)} "
                # Those that another job is made of are its workflow's to look after; here they
                # are only told of a change.
                "AND (started_by_gateway = 1 OR checked_at = 0) AND checked_at < ? "
                "AND claimed_until < ? "
                f"AND (workflow_started_at IS NOT NULL OR state = '{CANCEL.after}') "
                f"ORDER BY checked_at LIMIT ? {self._database.skip_locked}) "
                "UPDATE jobs SET claimed_until = ? WHERE id IN (SELECT id FROM taken) "
                "RETURNING checked_at, id, tenant, state, run, started_at, changes, changes_told, "
                "is_draining",
                (unchecked_since, now, limit, now + CLAIM_MS),
            )
        )
        return [
            UnfinishedJob(
                id=row["id"],
                tenant=row["tenant"],
                state=JobState.read(row["state"]),
                run=row["run"],
                has_begun=row["started_at"] is not None,
                changes=row["changes"],
                is_told=row["changes"] == row["changes_told"],
                is_draining=bool(row["is_draining"]),
            )
            for row in sorted(rows, key=lambda row: (row["checked_at"], row["id"]))
        ]

    async def mark_checked(self, jobs: Iterable[UnfinishedJob]) -> None:
        """Note that these were compared in the states they were claimed in, and release them."""
        now = now_ms()
        await self._write_each(
            # One that was cancelled or changed meanwhile is to be looked at again, at once.
            "claimed_until = 0, "
            "checked_at = CASE WHEN state = ? AND changes = ? THEN ? ELSE checked_at END",
            [(job.state, job.changes, now, job.id) for job in sorted(jobs)],
        )

    async def mark_told(self, job: UnfinishedJob) -> None:
        """Note that the workflow of this job's run has been told of its changes so far."""
        await self._database.write(
            Statement(
                "UPDATE jobs SET changes_told = ? WHERE id = ? AND run = ? AND changes_told < ?",
                (job.changes, job.id, job.run, job.changes),
            )
        )

    async def _write_each(self, changes: str, rows: Sequence[Sequence[Value]]) -> None:
        """Change jobs; the last value of each row is the job's id."""
        if rows:
            which = f"SELECT id FROM jobs WHERE id = ? {self._database.skip_locked}"
            await self._database.write(
                Batch(f"UPDATE jobs SET {changes} WHERE id IN ({which})", rows)
            )


def _choose(waiting: Sequence[_Waiting], free: int, free_large: int) -> list[_Waiting]:
    """The oldest for which there is a place."""
    chosen: list[_Waiting] = []
    for job in waiting:
        if len(chosen) >= free:
            break
        if job.total_chunks <= LARGE_JOB_CHUNKS or _large_of(chosen) < free_large:
            chosen.append(job)
    return chosen


def _large_of(jobs: Sequence[_Waiting]) -> int:
    return sum(job.total_chunks > LARGE_JOB_CHUNKS for job in jobs)
