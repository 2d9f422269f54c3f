"""Counts and groups over the chunks of jobs.

While a job runs, a trigger on its chunks keeps its counts (see the migrations), so
that a poll reads a row or a few, not every chunk. Once it has finished, they are
counted from the rows and kept with the job.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.ledger.database import Database, placeholders
from fanfold.ledger.records import ChunkCounts, ErrorGroup
from fanfold.ledger.tenancy import JOB_IS_OURS

MAX_ERROR_GROUPS = 20
MAX_FAILURES_GROUPED = 1000
"""While a job runs, so many of its failed chunks, the first ones, are grouped."""

GROUPING_SHARE = 0.05
"""While a job runs, regrouping takes at most this share of the time, however often it is polled."""

_COUNTED_STATES = ("running", "succeeded", "failed", "cancelled")
_COUNTED = (*_COUNTED_STATES, "items_succeeded", "items_failed")
_SUMS = ", ".join(f"SUM({name}) AS {name}" for name in _COUNTED)
_REMEMBERED_JOBS = 1000
# SQLite takes up to 500 terms of a UNION.
_JOBS_A_QUERY = 200
# The first half is the condition of the index, word for word: SQLite asks for that.
_IS_FAILED = "state IN ('failed', 'cancelled') AND state = 'failed'"
_FIRST_FAILURES_GROUPED = (
    "SELECT job_id, error_type, error_message, COUNT(*), MIN(idx) FROM ("
    f"SELECT job_id, idx, error_type, error_message FROM chunks WHERE job_id = ? AND {_IS_FAILED} "
    f"ORDER BY idx LIMIT {MAX_FAILURES_GROUPED}) AS failures "
    "GROUP BY job_id, error_type, error_message "
    f"ORDER BY COUNT(*) DESC, MIN(idx) LIMIT {MAX_ERROR_GROUPS}"
)


async def running_counts(
    database: Database, total_chunks: dict[str, int]
) -> dict[str, ChunkCounts]:
    """Chunks by state and items by outcome, as kept by the trigger, by job id."""
    if not total_chunks:
        return {}
    rows = await database.read(
        f"SELECT job_id, {_SUMS} FROM job_counts "
        f"WHERE job_id IN ({placeholders(len(total_chunks))}) GROUP BY job_id",
        list(total_chunks),
    )
    kept = {row["job_id"]: {name: int(row[name]) for name in _COUNTED} for row in rows}
    counts: dict[str, ChunkCounts] = {}
    for job_id, total in total_chunks.items():
        of_job = kept.get(job_id, dict.fromkeys(_COUNTED, 0))
        begun = sum(of_job[state] for state in _COUNTED_STATES)
        counts[job_id] = ChunkCounts(pending=total - begun, **of_job)
    return counts


async def counted(database: Database, job_id: JobId, tenant: TenantId) -> ChunkCounts:
    """Chunks by state and items by outcome, counted one by one."""
    rows = await database.read(
        "SELECT state, COUNT(*) AS chunks, SUM(item_count) AS items, "
        "SUM(items_failed) AS items_failed "
        f"FROM chunks WHERE job_id = ? AND {JOB_IS_OURS} GROUP BY state",
        (job_id, job_id, tenant),
    )
    judged = [row for row in rows if row["state"] in {"succeeded", "failed"}]
    items_failed = sum(int(row["items_failed"]) for row in judged)
    return ChunkCounts(
        **known_fields(ChunkCounts, {row["state"]: row["chunks"] for row in rows}),
        items_succeeded=sum(int(row["items"]) for row in judged) - items_failed,
        items_failed=items_failed,
    )


@dataclass(frozen=True, slots=True)
class _Grouped:
    failed: int
    groups: tuple[ErrorGroup, ...]
    again_at: float


class RunningErrorGroups:
    """The error groups of running jobs, remembered: grouping costs more than all else of a poll.

    They lag behind the counts by some 20 times what grouping takes, which is milliseconds.
    """

    def __init__(self, database: Database) -> None:
        """Start with none remembered."""
        self._database = database
        self._grouped: dict[str, _Grouped] = {}

    async def of(self, failed: Mapping[str, int]) -> dict[str, tuple[ErrorGroup, ...]]:
        """The groups of these jobs, each of which has so many failed chunks."""
        started = time.monotonic()
        groups: dict[str, tuple[ErrorGroup, ...]] = {}
        stale: list[str] = []
        for job_id, count in failed.items():
            known = self._grouped.get(job_id)
            if count == 0:
                groups[job_id] = ()
            elif known is not None and (known.failed == count or started < known.again_at):
                groups[job_id] = known.groups
            else:
                stale.append(job_id)
        groups |= await _first_error_groups(self._database, stale)
        ended = time.monotonic()
        again_at = ended + (ended - started) / GROUPING_SHARE
        for job_id in stale:
            self._grouped.pop(job_id, None)
            self._grouped[job_id] = _Grouped(failed[job_id], groups[job_id], again_at)
        while len(self._grouped) > _REMEMBERED_JOBS:
            self._grouped.pop(next(iter(self._grouped)))
        return groups


async def _first_error_groups(
    database: Database, job_ids: Sequence[str]
) -> dict[str, tuple[ErrorGroup, ...]]:
    """For each job what `error_groups` gives, but of its first failures only."""
    groups: dict[str, list[ErrorGroup]] = {job_id: [] for job_id in job_ids}
    for start in range(0, len(job_ids), _JOBS_A_QUERY):
        some = job_ids[start : start + _JOBS_A_QUERY]
        # One bounded read of an index for each job, whatever the planner knows of the tables.
        sql = " UNION ALL ".join([f"SELECT * FROM ({_FIRST_FAILURES_GROUPED}) AS job"] * len(some))
        for job_id, *group in await database.read(sql, some):
            groups[job_id].append(ErrorGroup(*group))
    return {job_id: tuple(sorted(found, key=_rank)) for job_id, found in groups.items()}


def _rank(group: ErrorGroup) -> tuple[int, int]:
    return -group.count, group.first_index


async def error_groups(
    database: Database, job_id: JobId, tenant: TenantId
) -> tuple[ErrorGroup, ...]:
    """The job's failures by type and message, the most frequent first."""
    rows = await database.read(
        "SELECT error_type, error_message, COUNT(*), MIN(idx) "
        f"FROM chunks WHERE job_id = ? AND {_IS_FAILED} AND {JOB_IS_OURS} "
        "GROUP BY error_type, error_message "
        f"ORDER BY COUNT(*) DESC, MIN(idx) LIMIT {MAX_ERROR_GROUPS}",
        (job_id, job_id, tenant),
    )
    return tuple(ErrorGroup(*row) for row in rows)
