"""Counts and groups over the chunks of jobs.

While a job runs, a trigger on its chunks keeps its counts (see the migrations), so
that a poll reads a row or a few, not every chunk. Once it has finished, they are
counted from the rows and kept with the job.
"""

import time
from dataclasses import dataclass

from contract.reading import known_fields
from contract.states import ChunkState
from ledger.database import Database, placeholders
from ledger.records import ChunkCounts, ErrorGroup

MAX_ERROR_GROUPS = 20
MAX_FAILURES_GROUPED = 1000
"""While a job runs, so many of its failed chunks, the first ones, are grouped."""

GROUPING_SHARE = 0.05
"""While a job runs, regrouping takes at most this share of the time, however often it is polled."""

_REMEMBERED_JOBS = 1000


async def running_counts(
    database: Database, total_chunks: dict[str, int]
) -> dict[str, ChunkCounts]:
    """Chunks by state and items by outcome, as kept by the trigger, by job id."""
    if not total_chunks:
        return {}
    rows = await database.read(
        "SELECT job_id, SUM(running), SUM(succeeded), SUM(failed), SUM(cancelled), "
        "SUM(items_succeeded), SUM(items_failed) FROM job_counts "
        f"WHERE job_id IN ({placeholders(len(total_chunks))}) GROUP BY job_id",
        list(total_chunks),
    )
    kept = {row[0]: tuple(map(int, row[1:])) for row in rows}
    counts: dict[str, ChunkCounts] = {}
    for job_id, total in total_chunks.items():
        running, succeeded, failed, cancelled, items_succeeded, items_failed = kept.get(
            job_id, (0,) * 6
        )
        counts[job_id] = ChunkCounts(
            pending=total - running - succeeded - failed - cancelled,
            running=running,
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
            items_succeeded=items_succeeded,
            items_failed=items_failed,
        )
    return counts


async def counted(database: Database, job_id: str) -> ChunkCounts:
    """Chunks by state and items by outcome, counted one by one."""
    rows = await database.read(
        "SELECT state, COUNT(*), SUM(item_count - items_failed), SUM(items_failed) "
        "FROM chunks WHERE job_id = ? GROUP BY state",
        (job_id,),
    )
    counts = {state: chunks for state, chunks, _, _ in rows}
    judged = [row for row in rows if row[0] in {"succeeded", "failed"}]
    return ChunkCounts(
        **known_fields(ChunkCounts, counts),
        items_succeeded=sum(int(row[2]) for row in judged),
        items_failed=sum(int(row[3]) for row in judged),
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

    async def of(self, job_id: str, *, failed: int) -> tuple[ErrorGroup, ...]:
        """The groups of a job with so many failed chunks."""
        if failed == 0:
            return ()
        known = self._grouped.get(job_id)
        started = time.monotonic()
        if known is not None and (known.failed == failed or started < known.again_at):
            return known.groups
        groups = await error_groups(self._database, job_id, max_failures=MAX_FAILURES_GROUPED)
        ended = time.monotonic()
        again_at = ended + (ended - started) / GROUPING_SHARE
        self._grouped.pop(job_id, None)
        self._grouped[job_id] = _Grouped(failed, groups, again_at)
        if len(self._grouped) > _REMEMBERED_JOBS:
            self._grouped.pop(next(iter(self._grouped)))
        return groups


async def error_groups(
    database: Database, job_id: str, *, max_failures: int | None = None
) -> tuple[ErrorGroup, ...]:
    """The job's failures by type and message, the most frequent first."""
    failed = "SELECT idx, error_type, error_message FROM chunks WHERE job_id = ? AND state = ?"
    parameters: list[str | int] = [job_id, ChunkState.FAILED]
    if max_failures is not None:
        failed += " ORDER BY idx LIMIT ?"
        parameters.append(max_failures)
    rows = await database.read(
        "SELECT error_type, error_message, COUNT(*), MIN(idx) "
        f"FROM ({failed}) AS failures GROUP BY error_type, error_message "
        "ORDER BY COUNT(*) DESC, MIN(idx) LIMIT ?",
        (*parameters, MAX_ERROR_GROUPS),
    )
    return tuple(ErrorGroup(*row) for row in rows)
