"""Compensation: a job whose chunks undo, last one first, what those of another one did.

It is a sub-job of the job that it compensates, one for each run of that which came to nothing. It
is recorded when it is due; its id follows from the job and the run, so whoever records it again
records the same.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId
from fanfold.contract.plan import execution_of
from fanfold.contract.states import WITH_RESULT, ChunkState
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.database import Batch, Statement
from fanfold.ledger.records import now_ms
from fanfold.ledger.tenancy import AND_BELOW, BELOW, OfTenant
from fanfold.ledger.transitions import RECORD, UNFINISHED, in_states

COMPENSATION = "compensation"
"""The last part of its path."""

_BATCH_BYTES = 4 * 1024 * 1024
_HAS_RESULT = in_states(WITH_RESULT)
# Those of earlier runs were undone then, where there were any to undo.
_TO_UNDO = (
    f"{_HAS_RESULT} AND run > COALESCE((SELECT MAX(compensates_run) FROM jobs "
    "WHERE parent_id = ? AND compensates_run > 0 AND compensates_run < ?), 0)"
)


@dataclass(frozen=True, slots=True)
class Due:
    """A job whose succeeded chunks are to be compensated."""

    id: JobId
    run: int


class Compensating(OfTenant):
    """Operations that record compensations. Every method raises LedgerUnavailable."""

    async def may_be_due(self, job_id: JobId) -> bool:
        """Whether the job, or one below it, says how it is compensated."""
        rows = await self._database.read(
            f"SELECT 1 FROM jobs WHERE id IN {AND_BELOW} AND tenant = ? AND has_compensation = 1 "
            "LIMIT 1",
            (job_id, job_id, self._tenant),
        )
        return bool(rows)

    async def due(self, job_id: JobId, first: int, last: int) -> list[Due]:
        """Which of a job and those below it are to be compensated, the last one first.

        Of those in these positions; each of which says how, has chunks that succeeded and has no
        compensation of its run yet.
        """
        rows = await self._database.read(
            f"SELECT id, run FROM jobs WHERE id IN {AND_BELOW} AND tenant = ? "
            "AND has_compensation = 1 AND position BETWEEN ? AND ? "
            # Looked up by its parent: as a condition that there is none, PostgreSQL may read all
            # jobs for it.
            "AND COALESCE((SELECT MAX(undoing.compensates_run) FROM jobs AS undoing "
            "WHERE undoing.parent_id = jobs.id), 0) < run ORDER BY position DESC",
            (job_id, job_id, self._tenant, first, last),
        )
        due: list[Due] = []
        for row in rows:
            ((count,),) = await self._database.read(
                f"SELECT COUNT(*) FROM chunks WHERE job_id = ? AND {_TO_UNDO}",
                (row["id"], row["id"], row["run"]),
            )
            if count:
                due.append(Due(row["id"], row["run"]))
        return due

    async def record(self, due: Due) -> None:
        """Record the compensation of a job, unless there is one of its run.

        Nor where the job is gone, or in its next run, by the time all of it is written.
        """
        rows = await self._database.read(
            "SELECT path, spec, controls FROM jobs WHERE id = ? AND tenant = ? AND run = ?",
            (due.id, self._tenant, due.run),
        )
        if not rows:
            return
        job = rows[0]
        spec = JobSpec.from_json(job["spec"], job["controls"])
        if spec.compensate is None:
            return
        of_job = Controls.from_json(job["controls"])
        new_id = compensation_id(due)
        total = 0
        async for first, bodies in self._bodies(due):
            await self._database.write(
                Batch(
                    "INSERT INTO inputs (job_id, idx, stage, tenant, body) VALUES (?, ?, 0, ?, ?) "
                    "ON CONFLICT (job_id, idx, stage) DO NOTHING",
                    [(new_id, first + at, self._tenant, body) for at, body in enumerate(bodies)],
                )
            )
            total += len(bodies)
        undoing = JobSpec(
            stages=(spec.compensate,),
            execution=execution_of(total),
            chunk_size=None,
            is_in_order=True,
        )
        # One after another: what was done last is undone first.
        controls = replace(of_job, name=COMPENSATION, max_concurrency=1)
        controls = replace(
            controls,
            tolerated_failures=None,
            max_per_second=None,
            start_at=None,
            deadline_seconds=None,
        )
        now, path = now_ms(), job["path"]
        await self._database.write(
            Statement(
                "INSERT INTO jobs (id, tenant, state, run, spec, controls, created_at, "
                "checked_at, claimed_until, parent_id, root_id, path, position, last_position, "
                "started_by_gateway, compensates_run, total_chunks, total_items) "
                f"SELECT ?, tenant, '{RECORD.after}', 1, ?, ?, CAST(? AS BIGINT), "
                "CAST(? AS BIGINT), 0, id, COALESCE(root_id, id), ?, last_position, "
                "last_position, 0, run, CAST(? AS INTEGER), CAST(? AS INTEGER) FROM jobs "
                "WHERE id = ? AND tenant = ? AND run = ? ON CONFLICT (id) DO NOTHING",
                (
                    *(new_id, undoing.to_json(controls), controls.to_json(undoing), now, now),
                    f"{path}/{COMPENSATION}" if path else COMPENSATION,
                    *(total, total, due.id, self._tenant, due.run),
                ),
            ),
            Batch(
                "INSERT INTO chunks (job_id, idx, tenant, state, item_count) SELECT id, ?, tenant, "
                # Of one that was recorded before, so many as there were then.
                f"'{ChunkState.PENDING}', 1 FROM jobs WHERE id = ? AND total_chunks > ? "
                "ON CONFLICT (job_id, idx) DO NOTHING",
                [(index, new_id, index) for index in range(total)],
            ),
            Batch(
                "INSERT INTO job_labels (tenant, name, value, job_id) SELECT tenant, ?, ?, id "
                "FROM jobs WHERE id = ? ON CONFLICT (tenant, name, value, job_id) DO NOTHING",
                [(name, value, new_id) for name, value in controls.labels.items()],
            ),
        )

    async def hand_over(self, job_id: JobId) -> None:
        """Let gateways see to the compensations of a job, and of those below it, that are left.

        For a job whose workflow is gone, which was to run them.
        """
        await self._database.write(
            Statement(
                f"UPDATE jobs SET started_by_gateway = 1 WHERE id IN {BELOW} AND tenant = ? "
                f"AND compensates_run > 0 AND {in_states(UNFINISHED)}",
                (job_id, self._tenant),
            )
        )

    async def _bodies(self, due: Due) -> AsyncIterator[tuple[int, list[bytes]]]:
        """What the chunks of a compensation get, the last one first, a few at a time.

        With the index of the first of them.
        """
        rows = await self._database.read(
            f"SELECT idx FROM chunks WHERE job_id = ? AND {_TO_UNDO} ORDER BY idx DESC",
            (due.id, due.id, due.run),
        )
        chunks = Chunks(self._database, self._tenant)
        first, size, bodies = 0, 0, list[bytes]()
        async for chunk in chunks.data_of(due.id, [row["idx"] for row in rows]):
            result = chunk.output.body or b"null"
            bodies.append(b'[{"items":%b,"result":%b}]' % (chunk.items, result))
            size += len(bodies[-1])
            if size > _BATCH_BYTES:
                yield first, bodies
                first, size, bodies = first + len(bodies), 0, []
        if bodies:
            yield first, bodies


def compensation_id(due: Due) -> JobId:
    """The id of the compensation of a job's run: made at the same time as the job, so to say.

    Those of later runs come later in the order of ids.
    """
    prefix, number = due.id[:14], hashlib.sha256(f"{due.id}/{due.run}".encode()).digest()
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    places = (due.run >> 5, due.run, *number[:14])
    return JobId(prefix + "".join(alphabet[place & 31] for place in places))
