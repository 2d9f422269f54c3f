"""Deletes finished jobs: for clients at once, their data in small steps afterwards.

First, in one transaction, the job's row is deleted with its labels and its idempotency
key, and its id goes into `purges`. Its data, which no route can reach any more, is then
deleted a bounded number of rows and bytes at a time, so that other writers do not wait
long. Every step may be repeated, by any process, and several processes may do it at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fanfold.contract.names import JobId
from fanfold.ledger.database import Database, Statement, Value, placeholders
from fanfold.ledger.records import now_ms

MAX_JOBS_EXPIRED_AT_ONCE = 100
MAX_JOBS_A_STEP = 20
MAX_ROWS_A_STEP = 500
MAX_BYTES_A_STEP = 4 * 1024 * 1024
"""A step deletes more only where a single row has more."""

# Where a job's data is: the table, the columns that order its rows, and the one of size.
# The chunks first: without them nobody comes to look for the rest.
_DATA = (
    ("chunks", ("idx",), None),
    ("attempts", ("idx", "run", "stage", "number"), None),
    ("results", ("idx",), "body"),
    ("inputs", ("idx", "stage"), "body"),
    ("received_chunks", ("upload", "place"), None),
    ("uploads", ("number",), None),
    ("kept_outputs", ("idx",), "body"),
)
# One row a job, or one a process that wrote: deleted with the last step.
_FEW_ROWS = (
    "job_results",
    "job_counts",
    "job_runs",
    "job_paces",
    "job_streaks",
    "block_runs",
    "block_lanes",
    "child_cancels",
    "job_ancestors",
    "job_labels",
    "purges",
)


@dataclass(slots=True)
class _Step:
    """What one transaction deletes."""

    script: list[Statement] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.rows >= MAX_ROWS_A_STEP or self.size_bytes >= MAX_BYTES_A_STEP


class Retention:
    """Operations that delete, of all tenants. Every one raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def expire(self, *, finished_before: int) -> int:
        """Remove jobs that finished before then, and those whose own retention has ended.

        At most MAX_JOBS_EXPIRED_AT_ONCE, the oldest first, those that they are made of among
        them; a job made of more goes by itself. How many were removed.
        """
        # One after the other, since each has its index.
        expired = await self._database.read(
            "SELECT id, last_position FROM jobs WHERE expires_at <= ? AND parent_id IS NULL "
            "ORDER BY expires_at LIMIT ?",
            (now_ms(), MAX_JOBS_EXPIRED_AT_ONCE),
        ) or await self._database.read(
            "SELECT id, last_position FROM jobs WHERE finished_at < ? AND parent_id IS NULL "
            "ORDER BY finished_at LIMIT ?",
            (finished_before, MAX_JOBS_EXPIRED_AT_ONCE),
        )
        if not expired:
            return 0
        ids: list[str] = []
        jobs = 0
        for job_id, last_position in expired:
            jobs += last_position + 1
            if ids and jobs > MAX_JOBS_EXPIRED_AT_ONCE:
                break
            ids.append(job_id)
        return await remove(self._database, f"id IN ({placeholders(len(ids))})", ids, ids)

    async def delete_some(self) -> bool:
        """Delete some of the data of removed jobs; whether there may be more."""
        waiting = await self._database.read(
            "SELECT job_id FROM purges ORDER BY requested_at, job_id LIMIT ?", (MAX_JOBS_A_STEP,)
        )
        step = _Step()
        for (job_id,) in waiting:
            await self._plan(job_id, step)
            if step.is_full:
                break
        if step.script:
            await self._database.write(*step.script)
        return bool(waiting)

    async def _plan(self, job_id: JobId, step: _Step) -> None:
        """Add what is left of the job's data to the step, as far as there is room."""
        # Whoever else is at this job waits here, rather than halfway for a row.
        step.script.append(
            Statement("UPDATE purges SET requested_at = requested_at WHERE job_id = ?", (job_id,))
        )
        for table, order, body in _DATA:
            if await self._plan_rows(job_id, step, table, order, body):
                return
        step.script += [
            Statement(f"DELETE FROM {table} WHERE job_id = ?", (job_id,)) for table in _FEW_ROWS
        ]
        step.rows += 1

    async def _plan_rows(
        self, job_id: JobId, step: _Step, table: str, order: tuple[str, ...], body: str | None
    ) -> bool:
        """Add the table's first rows; whether rows may be left for another step."""
        columns = ", ".join(order)
        # The length is in the row's head: the data itself is not read.
        size = f"COALESCE(LENGTH({body}), 0)" if body else "0"
        limit = max(1, MAX_ROWS_A_STEP - step.rows)
        rows = await self._database.read(
            f"SELECT {columns}, {size} AS size FROM {table} WHERE job_id = ? "
            f"ORDER BY {columns} LIMIT ?",
            (job_id, limit),
        )
        if not rows:
            return False
        taken = 0
        for row in rows:
            taken += 1
            step.size_bytes += row["size"]
            if step.size_bytes >= MAX_BYTES_A_STEP:
                break
        step.rows += taken
        step.script.append(
            Statement(
                f"DELETE FROM {table} WHERE job_id = ? "
                f"AND ({columns}) <= ({placeholders(len(order))})",
                (job_id, *(rows[taken - 1][column] for column in order)),
            )
        )
        return taken < len(rows) or len(rows) == limit or step.is_full


async def remove(
    database: Database, which: str, ids: Sequence[str], parameters: Sequence[Value]
) -> int:
    """Remove those of the jobs that have finished, at once for everyone who asks; how many.

    With all that they are made of. One that another is made of goes with that alone.
    """
    these = placeholders(len(ids))
    which = f"{which} AND parent_id IS NULL"
    _, removed, *_ = await database.write(
        Statement(
            "INSERT INTO purges (job_id, requested_at) "
            f"SELECT id, ? FROM jobs WHERE {which} AND finished_at IS NOT NULL ORDER BY id "
            "ON CONFLICT (job_id) DO NOTHING",
            (now_ms(), *parameters),
        ),
        # Only with its purge: the job may have finished since the statement before.
        Statement(
            f"DELETE FROM jobs WHERE {which} AND finished_at IS NOT NULL "
            "AND EXISTS (SELECT 1 FROM purges WHERE purges.job_id = jobs.id) RETURNING id",
            parameters,
        ),
        *(
            Statement(
                f"{statement} FROM jobs WHERE root_id IN ({these}) AND NOT EXISTS "
                "(SELECT 1 FROM jobs AS root WHERE root.id = jobs.root_id) "
                "AND EXISTS (SELECT 1 FROM purges WHERE purges.job_id = jobs.root_id)",
                ids,
            )
            for statement in ("INSERT INTO purges (job_id, requested_at) SELECT id, 0", "DELETE")
        ),
        # One that was redriven in between stays, with its data.
        Statement(
            f"DELETE FROM purges WHERE job_id IN ({these}) AND EXISTS "
            "(SELECT 1 FROM jobs WHERE jobs.id = purges.job_id)",
            ids,
        ),
        *(
            Statement(
                f"DELETE FROM {table} WHERE job_id IN ({these}) AND NOT EXISTS "
                f"(SELECT 1 FROM jobs WHERE jobs.id = {table}.job_id)",
                ids,
            )
            for table in ("job_labels", "idempotency_keys")
        ),
    )
    return len(removed)
