"""Jobs in the ledger: found, listed, opened, cancelled."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.contract.states import JobState
from fanfold.ledger import counting
from fanfold.ledger.database import Database, Row, Statement
from fanfold.ledger.error_groups import RunningErrorGroups
from fanfold.ledger.records import ChunkCounts, ErrorGroup, JobRecord, Place, Stop, now_ms
from fanfold.ledger.retention import remove
from fanfold.ledger.tenancy import BELOW, JOB_IS_OURS, OfTenant
from fanfold.ledger.transitions import CANCEL, OPEN

_COLUMNS = (
    "id, state, run, revision, spec, controls, total_chunks, total_items, "
    "created_at, started_at, finished_at, summary, is_draining, parent_id, root_id, path, "
    "position, last_position, sub_jobs, has_compensation, compensates_run"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job was asked to do: what is fixed, and what may change."""

    spec: JobSpec
    controls: Controls
    revision: int
    """The job's revision that these are of."""
    run: int
    state: JobState
    started_at: int | None
    is_draining: bool = False
    place: Place = field(default_factory=Place)
    total_chunks: int = 0

    @property
    def deadline_in_seconds(self) -> float | None:
        """How much later the job fails; None where it has no deadline, or has not begun."""
        limit = self.controls.deadline_seconds
        if limit is None or self.started_at is None:
            return None
        return max(0.0, limit - (now_ms() - self.started_at) / 1000)


class Jobs(OfTenant):
    """Operations on jobs. Every method raises LedgerUnavailable when the database is away."""

    def __init__(
        self,
        database: Database,
        tenant: TenantId,
        error_groups: RunningErrorGroups,
    ) -> None:
        """Work on this database, for this tenant; what is remembered is of all tenants."""
        super().__init__(database, tenant)
        self._error_groups = error_groups

    # --- for the gateway -------------------------------------------------------------

    async def find(self, job_id: JobId) -> JobRecord | None:
        """The job, or None where this tenant has none of that id."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND tenant = ?", (job_id, self._tenant)
        )
        return (await self._records(rows))[0] if rows else None

    async def state(self, job_id: JobId) -> JobState | None:
        """The job's state alone: what a waiting client's poll costs."""
        rows = await self._database.read(
            "SELECT state FROM jobs WHERE id = ? AND tenant = ?", (job_id, self._tenant)
        )
        return JobState.read(rows[0]["state"]) if rows else None

    async def revision(self, job_id: JobId) -> int | None:
        """Which revision the job is at; None where this tenant has none of that id."""
        rows = await self._database.read(
            "SELECT revision FROM jobs WHERE id = ? AND tenant = ?", (job_id, self._tenant)
        )
        return rows[0]["revision"] if rows else None

    async def earlier_run(self, job_id: JobId, run: int) -> JobRecord | None:
        """The job as an earlier run of it ended; None where it has had no such run."""
        rows = await self._database.read(
            "SELECT jobs.id, job_runs.state, job_runs.run, jobs.revision, job_runs.spec, "
            "job_runs.controls, total_chunks, total_items, created_at, job_runs.started_at, "
            "job_runs.finished_at, job_runs.summary, 0 AS is_draining, parent_id, root_id, path, "
            "position, last_position, sub_jobs, has_compensation, compensates_run FROM job_runs "
            "JOIN jobs ON jobs.id = job_runs.job_id "
            "WHERE job_runs.job_id = ? AND job_runs.run = ? AND jobs.tenant = ?",
            (job_id, run, self._tenant),
        )
        return _finished(rows[0]) if rows else None

    async def result(self, job_id: JobId) -> bytes | None:
        """The folded result as JSON text, or None where the job has none."""
        rows = await self._database.read(
            "SELECT body FROM job_results WHERE job_id = ? AND tenant = ?", (job_id, self._tenant)
        )
        return bytes(rows[0]["body"]) if rows else None

    async def page(
        self,
        *,
        state: JobState | None,
        labels: Mapping[str, str],
        before: str | None,
        limit: int,
        parent: JobId | None = None,
    ) -> list[JobRecord]:
        """At most `limit` jobs, newest first, that come after the job `before`.

        Those that no other is made of; or, with a `parent`, those that this one is made of.
        """
        where, parameters = ["jobs.tenant = ?"], [str(self._tenant)]
        if parent is None:
            where.append("jobs.parent_id IS NULL")
        else:
            where.append("jobs.parent_id = ?")
            parameters.append(parent)
        if state is not None:
            where.append("jobs.state = ?")
            parameters.append(state)
        if before is not None:
            where.append("jobs.id < ?")
            parameters.append(before)
        for name, value in labels.items():
            where.append(
                "EXISTS (SELECT 1 FROM job_labels WHERE job_labels.tenant = jobs.tenant "
                "AND job_labels.name = ? AND job_labels.value = ? AND job_labels.job_id = jobs.id)"
            )
            parameters += [name, value]
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE {' AND '.join(where)} "
            "ORDER BY jobs.id DESC LIMIT ?",
            (*parameters, limit),
        )
        return await self._records(rows)

    async def sub_jobs(
        self,
        parent: JobId,
        *,
        state: JobState | None = None,
        after: tuple[int, str] = (-1, ""),
        limit: int,
    ) -> list[JobRecord]:
        """At most `limit` of the jobs that this one is made of, in order.

        Those that come after a position and, of several that share it, after an id: the
        compensations of a job's runs do.
        """
        of_state = () if state is None else (state,)
        position, job_id = after
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE parent_id = ? AND tenant = ? AND position >= ? "
            f"AND (position > ? OR id > ?) {'AND state = ? ' * len(of_state)}"
            "ORDER BY position, id LIMIT ?",
            (parent, self._tenant, position, position, job_id, *of_state, limit),
        )
        return await self._records(rows)

    async def leaves(
        self,
        job: JobRecord,
        *,
        after: int = -1,
        counted: Sequence[str] = (),
        limit: int = 2**31 - 1,
    ) -> list[JobRecord]:
        """At most `limit` of the jobs below this one that have chunks, in order, without counts.

        Those that come after the position `after`, and where `counted` names counts, those of
        which one may be above 0. Without those that compensate.
        """
        place = job.place
        is_counted = ""
        if counted:
            if_any = " OR ".join(f"{name} > 0" for name in counted)
            is_counted = (
                "AND EXISTS (SELECT 1 FROM job_counts WHERE job_counts.job_id = jobs.id "
                f"AND ({if_any})) "
            )
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE root_id = ? AND position > ? AND position <= ? "
            f"AND tenant = ? AND sub_jobs = 0 AND compensates_run = 0 {is_counted}"
            "ORDER BY position LIMIT ?",
            (
                *(place.root or job.id, max(after, place.position), place.last_position),
                *(self._tenant, limit),
            ),
        )
        return [_record(row, ChunkCounts(), ()) for row in rows]

    async def request_cancel(self, job_id: JobId, *, is_draining: bool = False) -> bool:
        """Mark an unfinished job as cancelling, which no chunk starts after.

        Returns whether it was this call that did so. With `is_draining`, chunks that have
        begun go on to their end; asked for without it, they are told to stop after all.
        """
        this, below = (job_id, self._tenant), f"id IN {BELOW} AND tenant = ? "
        stopped = (
            # What undoes things goes on.
            "AND compensates_run = 0 AND EXISTS (SELECT 1 FROM jobs AS stopped "
            f"WHERE stopped.id = ? AND stopped.state = '{CANCEL.after}')"
        )
        drains = f"state = '{CANCEL.after}' AND is_draining = 1"
        cancel = [
            Statement(
                # Never compared in this state: that its workflow hears of it comes first.
                # Nor does it wait any more for its time to start.
                f"UPDATE jobs SET {CANCEL.change}, checked_at = 0, claimed_until = 0, "
                "is_draining = ?, changes = changes + 1 WHERE id = ? AND tenant = ? "
                f"AND {CANCEL.condition} RETURNING id",
                (int(is_draining), *this),
            ),
            # Their workflows hear of it from the one above. One that drains is told by itself.
            Statement(
                f"UPDATE jobs SET {CANCEL.change}, is_draining = ?, changes = changes + 1, "
                "checked_at = CASE WHEN ? = 1 AND workflow_started_at IS NOT NULL THEN 0 "
                f"ELSE checked_at END WHERE {below} AND {CANCEL.condition} {stopped}",
                (int(is_draining), int(is_draining), *this, job_id),
            ),
        ]
        drain_no_more = [
            Statement(
                # A gateway that looks at it just now looks again: see `mark_checked`.
                "UPDATE jobs SET is_draining = 0, changes = changes + 1, checked_at = 0 "
                f"WHERE id = ? AND tenant = ? AND {drains}",
                this,
            ),
            Statement(
                f"UPDATE jobs SET is_draining = 0 WHERE {below} AND {drains} {stopped}",
                (*this, job_id),
            ),
        ]
        rows, *_ = await self._database.write(*cancel, *([] if is_draining else drain_no_more))
        return bool(rows)

    async def purge(self, job_id: JobId) -> bool:
        """Remove a finished job with its labels and its idempotency key; whether there was one.

        Its data is deleted afterwards, in steps.
        """
        this = (job_id, self._tenant)
        return bool(await remove(self._database, "id = ? AND tenant = ?", [job_id], this))

    # --- for the workers -------------------------------------------------------------

    async def terms(self, job_id: JobId) -> Terms | None:
        """What the job was asked to do; None where there is no such job."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND tenant = ?",
            (job_id, self._tenant),
        )
        if not rows:
            return None
        return _terms(rows[0])

    async def open(self, job_id: JobId, run: int = 1) -> tuple[bool, JobState | None]:
        """Mark a pending job as running, in this run.

        Whether it was this call that did so, and the state the job has then, None where
        there is no such job, or it is in another run.
        """
        opened, rows = await self._database.write(
            Statement(
                f"UPDATE jobs SET {OPEN.change}, started_at = ?, "
                "workflow_started_at = COALESCE(workflow_started_at, ?) "
                f"WHERE id = ? AND tenant = ? AND run = ? AND {OPEN.condition} RETURNING id",
                (now := now_ms(), now, job_id, self._tenant, run),
            ),
            Statement(
                "SELECT state FROM jobs WHERE id = ? AND tenant = ? AND run = ?",
                (job_id, self._tenant, run),
            ),
        )
        return bool(opened), JobState.read(rows[0]["state"]) if rows else None

    async def outcome_counts(self, job_id: JobId) -> tuple[int, int, int]:
        """How many items of a running job have succeeded, and how many have failed, so far.

        Those that were left out on purpose are neither. And how many failed in a row at most,
        where the job has a limit for that.
        """
        ((succeeded, failed, in_a_row),) = await self._database.read(
            "SELECT COALESCE(SUM(items_succeeded), 0), "
            "COALESCE(SUM(items_failed - items_dropped), 0), "
            "(SELECT longest FROM job_streaks WHERE job_streaks.job_id = ?) FROM job_counts "
            f"WHERE job_id = ? AND {JOB_IS_OURS}",
            (job_id, job_id, job_id, self._tenant),
        )
        return int(succeeded), int(failed), int(in_a_row or 0)

    async def _records(self, rows: list[Row]) -> list[JobRecord]:
        unfinished = {row["id"]: row["total_chunks"] for row in rows if row["summary"] is None}
        counts = await counting.running_counts(self._database, unfinished)
        errors = await self._error_groups.of(
            {
                row["id"]: (row["run"], counts[row["id"]].items_failed + counts[row["id"]].held)
                for row in rows
                if row["id"] in unfinished
            },
            {row["id"] for row in rows if row["sub_jobs"]},
        )
        jobs = await counting.sub_jobs_by_state(
            self._database, [row["id"] for row in rows if row["last_position"] > row["position"]]
        )
        return [
            replace(
                _finished(row)
                if row["summary"] is not None
                else _record(row, counts[row["id"]], errors.get(row["id"], ())),
                jobs=jobs.get(row["id"]),
            )
            for row in rows
        ]


def _finished(row: Row) -> JobRecord:
    """The job of a row, with what was written down when it was closed."""
    summary = json.loads(row["summary"])
    error = summary.get("error")
    return _record(
        row,
        ChunkCounts(**known_fields(ChunkCounts, summary["counts"])),
        tuple(ErrorGroup(**known_fields(ErrorGroup, group)) for group in summary["errors"]),
        Failure(**known_fields(Failure, error)) if error else None,
        Stop(**known_fields(Stop, summary["stop"])) if summary.get("stop") else None,
    )


def _record(
    row: Row,
    counts: ChunkCounts,
    errors: tuple[ErrorGroup, ...],
    error: Failure | None = None,
    stop: Stop | None = None,
) -> JobRecord:
    terms = _terms(row)
    return JobRecord(
        id=row["id"],
        state=JobState.read(row["state"]),
        run=row["run"],
        revision=row["revision"],
        spec=terms.spec,
        controls=terms.controls,
        total_chunks=row["total_chunks"],
        total_items=row["total_items"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=error,
        stop=stop,
        counts=counts,
        errors=errors,
        place=terms.place,
    )


def _terms(row: Row) -> Terms:
    # What release 0.1.0 recorded has the controls in the spec.
    spec, controls = row["spec"], row["controls"]
    return Terms(
        spec=JobSpec.from_json(spec, controls),
        controls=Controls.from_json(controls or spec),
        revision=row["revision"],
        run=row["run"],
        state=JobState.read(row["state"]),
        started_at=row["started_at"],
        is_draining=bool(row["is_draining"]),
        total_chunks=row["total_chunks"],
        place=Place(
            parent=row["parent_id"],
            root=row["root_id"],
            path=row["path"],
            position=row["position"],
            last_position=row["last_position"],
            sub_jobs=row["sub_jobs"],
            has_compensation=bool(row["has_compensation"]),
            compensates_run=row["compensates_run"],
        ),
    )
