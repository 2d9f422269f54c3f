"""Counts of a job's chunks and items.

While a job runs, a trigger on its chunks keeps its counts (see the migrations), so
that a poll reads a row or a few, not every chunk. Once it has finished, they are
counted from the rows and kept with the job.
"""

from collections.abc import Sequence

from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.contract.states import JobState
from fanfold.ledger.database import Database, placeholders
from fanfold.ledger.records import ChunkCounts
from fanfold.ledger.tenancy import JOB_IS_OURS
from fanfold.ledger.transitions import JUDGED_CHUNK

COUNTED_STATES = ("running", "succeeded", "partially_succeeded", "failed", "cancelled", "held")
_COUNTED = (*COUNTED_STATES, "items_succeeded", "items_failed", "items_dropped")
_SUMS = ", ".join(f"SUM({name}) AS {name}" for name in _COUNTED)


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
        begun = sum(of_job[state] for state in COUNTED_STATES)
        counts[job_id] = ChunkCounts(pending=total - begun, **of_job)
    return counts


async def sub_jobs_by_state(
    database: Database, job_ids: Sequence[str]
) -> dict[str, dict[JobState, int]]:
    """How many direct sub-jobs these jobs have in each state; those that have none are left out."""
    if not job_ids:
        return {}
    rows = await database.read(
        "SELECT parent_id, state, COUNT(*) AS jobs FROM jobs "
        f"WHERE parent_id IN ({placeholders(len(job_ids))}) GROUP BY parent_id, state",
        job_ids,
    )
    counts: dict[str, dict[JobState, int]] = {}
    for row in rows:
        counts.setdefault(row["parent_id"], {})[JobState.read(row["state"])] = int(row["jobs"])
    return counts


async def counted(database: Database, job_id: JobId, tenant: TenantId) -> ChunkCounts:
    """Chunks by state and items by outcome, counted one by one."""
    rows = await database.read(
        "SELECT state, COUNT(*) AS chunks, SUM(item_count) AS items, "
        "SUM(items_failed) AS items_failed, SUM(items_dropped) AS items_dropped "
        f"FROM chunks WHERE job_id = ? AND {JOB_IS_OURS} GROUP BY state",
        (job_id, job_id, tenant),
    )
    judged = [row for row in rows if row["state"] in JUDGED_CHUNK]
    items_failed = sum(int(row["items_failed"]) for row in judged)
    return ChunkCounts(
        **known_fields(ChunkCounts, {row["state"]: row["chunks"] for row in rows}),
        items_succeeded=sum(int(row["items"]) for row in judged) - items_failed,
        items_failed=items_failed,
        items_dropped=sum(int(row["items_dropped"]) for row in judged),
    )
