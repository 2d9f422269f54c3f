"""Jobs that another job is made of, as its workflow runs them: planned, handed out, ended.

The workflow of a job starts those below it, by position; which of them are still to run is
asked here. What a sequence decides of them is written here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fanfold.contract.job_spec import Controls, Execution, JobSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.database import Batch, Row, Statement, Value
from fanfold.ledger.records import NewChunk, now_ms
from fanfold.ledger.tenancy import BELOW, JOB_IS_OURS, OfTenant
from fanfold.ledger.transitions import SKIP, UNFINISHED, in_states
from fanfold.ledger.unbegun import (
    NEVER_BEGAN,
    SUB_JOB_IS_OPEN,
    UNBEGUN_SUMMARY,
    end_unbegun,
)

_IS_UNFINISHED = in_states(UNFINISHED)
_WITHOUT_OPEN_JOBS = f"id = ? AND NOT {SUB_JOB_IS_OPEN}"
_JUDGED = (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubJob:
    """A job that another one is made of, as that one's workflow sees it."""

    id: JobId
    name: str
    position: int
    state: JobState
    run: int
    has_begun: bool
    total_chunks: int
    spec_text: str
    controls_text: str

    @property
    def spec(self) -> JobSpec:
        """What is fixed."""
        return JobSpec.from_json(self.spec_text, self.controls_text)

    @property
    def controls(self) -> Controls:
        """What may change."""
        return Controls.from_json(self.controls_text)

    def spec_running(self, execution: Execution) -> JobSpec:
        """What is fixed, once it runs: its chunks run like this where that was left open."""
        spec = self.spec
        return replace(spec, execution=execution) if spec.execution is Execution.AUTO else spec


class SubJobs(OfTenant):
    """Operations of the workflow of a job made of jobs. Every method raises LedgerUnavailable."""

    async def unfinished(self, parent: JobId, *, after: int, limit: int) -> list[SubJob]:
        """The next that have not ended, by position; without one that compensates."""
        return await self._read(
            f"{_IS_UNFINISHED} AND compensates_run = 0 AND position > ? ORDER BY position LIMIT ?",
            (parent, self._tenant, after, limit),
        )

    async def all_of(self, parent: JobId) -> list[SubJob]:
        """All of them, in order; without one that compensates."""
        return await self._read("compensates_run = 0 ORDER BY position", (parent, self._tenant))

    async def compensations(self, job_id: JobId) -> list[SubJob]:
        """The compensations of a job and those below it that have not ended, in their order.

        What was done last is undone first. Without those that were redriven: they run by
        themselves.
        """
        rows = await self._database.read(
            f"{_SELECT} WHERE id IN {BELOW} AND tenant = ? AND {_IS_UNFINISHED} "
            "AND compensates_run > 0 AND run = 1 ORDER BY position DESC, id",
            (job_id, self._tenant),
        )
        return [_sub_job(row) for row in rows]

    async def count_unfinished(self, parent: JobId) -> int:
        """How many have not ended; without one that compensates."""
        ((count,),) = await self._database.read(
            f"SELECT COUNT(*) FROM jobs WHERE parent_id = ? AND tenant = ? AND {_IS_UNFINISHED} "
            "AND compensates_run = 0",
            (parent, self._tenant),
        )
        return int(count)

    async def states_by_end(self, parent: JobId) -> list[JobState]:
        """The states of those that came to an end of their own, in the order of their ends."""
        rows = await self._database.read(
            "SELECT state FROM jobs WHERE parent_id = ? AND tenant = ? AND compensates_run = 0 "
            f"AND {in_states(_JUDGED)} ORDER BY finished_at, position",
            (parent, self._tenant),
        )
        return [JobState.read(row["state"]) for row in rows]

    async def hand_out(self, jobs: Sequence[SubJob], execution: Execution) -> None:
        """Note that these are about to be started, and how those run that left it open."""
        now = now_ms()
        await self._database.write(
            Batch(
                "UPDATE jobs SET workflow_started_at = COALESCE(workflow_started_at, ?), "
                "spec = ? WHERE id = ? AND tenant = ? AND run = ? AND started_at IS NULL",
                [
                    (
                        *(now, job.spec_running(execution).to_json(job.controls)),
                        *(job.id, self._tenant, job.run),
                    )
                    for job in jobs
                ],
            )
        )

    async def result(self, job_id: JobId) -> bytes | None:
        """What a sub-job gave, as JSON text."""
        rows = await self._database.read(
            "SELECT body FROM job_results WHERE job_id = ? AND tenant = ?", (job_id, self._tenant)
        )
        return bytes(rows[0]["body"]) if rows else None

    async def give_input(
        self, job: SubJob, ancestors: Sequence[JobId], chunks: Sequence[NewChunk]
    ) -> None:
        """Give a sub-job that waits for it its data, and count that for all above it.

        Once: one that has chunks, or has begun, keeps what it has. But for one that was given
        them in an earlier run and did not come to them: since then others may be due.
        """
        may = (
            f"EXISTS (SELECT 1 FROM jobs WHERE id = ? AND tenant = ? AND {in_states(UNFINISHED)} "
            "AND started_at IS NULL AND total_chunks = 0)"
        )
        this: tuple[Value, ...] = (job.id, self._tenant)
        sums = len(chunks), sum(chunk.item_count for chunk in chunks)
        total = "total_chunks = total_chunks + ?, total_items = total_items + ?"
        await self._database.write(
            Statement("UPDATE jobs SET checked_at = checked_at WHERE id = ? AND tenant = ?", this),
            *(_take_back(this, ancestors) if job.run > 1 else ()),
            Batch(
                "INSERT INTO chunks (job_id, idx, tenant, state, item_count, run) "
                f"SELECT ?, ?, ?, '{ChunkState.PENDING}', ?, CAST(? AS INTEGER) WHERE {may}",
                [
                    (job.id, index, self._tenant, chunk.item_count, job.run, *this)
                    for index, chunk in enumerate(chunks)
                ],
            ),
            Batch(
                "INSERT INTO inputs (job_id, idx, stage, tenant, body) "
                f"SELECT ?, ?, 0, ?, ? WHERE {may}",
                [
                    (job.id, index, self._tenant, chunk.body, *this)
                    for index, chunk in enumerate(chunks)
                ],
            ),
            Batch(
                f"UPDATE jobs SET {total} WHERE id = ? AND {may}",
                # The job itself last: with its own total it has its data.
                [(*sums, above, *this) for above in (*ancestors, job.id)],
            ),
        )

    async def ancestors(self, job_id: JobId) -> list[JobId]:
        """All jobs above this one."""
        rows = await self._database.read(
            f"SELECT ancestor_id FROM job_ancestors WHERE job_id = ? AND {JOB_IS_OURS} "
            "ORDER BY ancestor_id",
            (job_id, job_id, self._tenant),
        )
        return [row["ancestor_id"] for row in rows]

    async def skip(self, job_id: JobId) -> None:
        """End a sub-job whose condition is not met, in its first run.

        Not where a job that it is made of has not ended.
        """
        await self._database.write(
            Statement(
                f"UPDATE jobs SET {SKIP.change}, finished_at = ?, summary = {UNBEGUN_SUMMARY} "
                f"WHERE id = ? AND tenant = ? AND {SKIP.condition} AND {NEVER_BEGAN} "
                f"AND NOT {SUB_JOB_IS_OPEN}",
                (now_ms(), job_id, self._tenant),
            ),
            *end_unbegun(_WITHOUT_OPEN_JOBS, (job_id,), self._tenant),
        )

    async def cancel_unbegun(self, job_id: JobId) -> None:
        """End a sub-job that does not get its turn any more, in its first run.

        Not where a job that it is made of has not ended.
        """
        await self._database.write(*end_unbegun(_WITHOUT_OPEN_JOBS, (job_id,), self._tenant))

    async def _read(self, which: str, parameters: Sequence[Value]) -> list[SubJob]:
        rows = await self._database.read(
            f"{_SELECT} WHERE parent_id = ? AND tenant = ? AND {which}", parameters
        )
        return [_sub_job(row) for row in rows]


def _take_back(job: tuple[Value, ...], ancestors: Sequence[JobId]) -> list[Statement | Batch]:
    """Takes its data from a sub-job that was given it in an earlier run, and never ran."""
    is_untouched = (
        f"EXISTS (SELECT 1 FROM jobs WHERE id = ? AND tenant = ? AND {in_states(UNFINISHED)} "
        "AND started_at IS NULL AND total_chunks > 0 AND NOT EXISTS (SELECT 1 FROM chunks "
        "WHERE chunks.job_id = jobs.id AND (chunks.attempts > 0 OR chunks.kept_from IS NULL)))"
    )
    its = "(SELECT {} FROM jobs AS given WHERE given.id = ?)"
    job_id = job[0]
    return [
        Batch(
            f"UPDATE jobs SET total_chunks = total_chunks - {its.format('total_chunks')}, "
            f"total_items = total_items - {its.format('total_items')} "
            f"WHERE id = ? AND {is_untouched}",
            # The job itself last: with its own total it has its data.
            [(job_id, job_id, above, *job) for above in ancestors],
        ),
        *(
            Statement(f"DELETE FROM {table} WHERE job_id = ? AND {is_untouched}", (job_id, *job))
            for table in ("inputs", "kept_outputs", "chunks")
        ),
        Statement(
            f"UPDATE jobs SET total_chunks = 0, total_items = 0 WHERE id = ? AND {is_untouched}",
            (job_id, *job),
        ),
    ]


_SELECT = (
    "SELECT id, path, position, state, run, started_at, total_chunks, spec, controls FROM jobs"
)


def _sub_job(row: Row) -> SubJob:
    return SubJob(
        id=row["id"],
        name=row["path"].rpartition("/")[2],
        position=row["position"],
        state=JobState.read(row["state"]),
        run=row["run"],
        has_begun=row["started_at"] is not None,
        total_chunks=row["total_chunks"],
        spec_text=row["spec"],
        controls_text=row["controls"],
    )
