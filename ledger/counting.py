"""Counts and groups over the chunks of jobs, derived from their rows."""

from collections.abc import Sequence

from ledger.database import Database, placeholders
from ledger.records import ChunkCounts, ErrorGroup

MAX_ERROR_GROUPS = 20


async def chunk_counts(database: Database, job_ids: Sequence[str]) -> dict[str, ChunkCounts]:
    """Chunks by state and items by outcome, for each job."""
    if not job_ids:
        return {}
    rows = await database.read(
        "SELECT job_id, state, COUNT(*), SUM(item_count - items_failed), SUM(items_failed) "
        f"FROM chunks WHERE job_id IN ({placeholders(len(job_ids))}) GROUP BY job_id, state",
        job_ids,
    )
    by_job: dict[str, dict[str, int]] = {job_id: {} for job_id in job_ids}
    for job_id, state, chunks, items_succeeded, items_failed in rows:
        counts = by_job[job_id]
        counts[state] = chunks
        if state in {"succeeded", "failed"}:
            counts["items_succeeded"] = counts.get("items_succeeded", 0) + int(items_succeeded)
            counts["items_failed"] = counts.get("items_failed", 0) + int(items_failed)
    return {job_id: ChunkCounts(**counts) for job_id, counts in by_job.items()}


async def error_groups(
    database: Database, job_ids: Sequence[str]
) -> dict[str, tuple[ErrorGroup, ...]]:
    """The failures of each job by type and message, the most frequent first."""
    if not job_ids:
        return {}
    rows = await database.read(
        "SELECT job_id, error_type, error_message, chunks, first_index FROM ("
        " SELECT job_id, error_type, error_message, COUNT(*) AS chunks, MIN(idx) AS first_index,"
        " ROW_NUMBER() OVER (PARTITION BY job_id ORDER BY COUNT(*) DESC, MIN(idx)) AS place"
        f" FROM chunks WHERE state = 'failed' AND job_id IN ({placeholders(len(job_ids))})"
        " GROUP BY job_id, error_type, error_message"
        ") AS ranked WHERE place <= ? ORDER BY job_id, place",
        (*job_ids, MAX_ERROR_GROUPS),
    )
    groups: dict[str, list[ErrorGroup]] = {job_id: [] for job_id in job_ids}
    for job_id, kind, message, count, first_index in rows:
        groups[job_id].append(ErrorGroup(kind, message, count, first_index))
    return {job_id: tuple(found) for job_id, found in groups.items()}
