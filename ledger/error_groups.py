"""Why items of a job failed: failures by type and message, the most frequent first.

Which items of a chunk failed, and why, is kept with its result, as JSON. Chunks without a
failed item are never read: an index holds the others.
"""

import asyncio
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter

from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.contract.states import ChunkState
from fanfold.ledger.database import Database, Row
from fanfold.ledger.records import NO_ERRORS, ErrorGroup, item_errors_of
from fanfold.ledger.tenancy import BELOW, JOB_IS_OURS
from fanfold.ledger.transitions import UNSUCCESSFUL, in_states

MAX_ERROR_GROUPS = 20
MAX_FAILURES_GROUPED = 1000
"""While a job runs, so many of its failures, the first ones, are grouped."""

GROUPING_SHARE = 0.05
"""While a job runs, regrouping takes at most this share of the time, however often it is polled."""

MAX_DIFFERENT = 10_000
"""So many groups are told apart; what is different from all of them then is left out."""

HAS_FAILED_ITEMS = (
    f"{UNSUCCESSFUL} AND {in_states([ChunkState.FAILED])}",
    f"{UNSUCCESSFUL} AND {in_states([ChunkState.PARTIALLY_SUCCEEDED])}",
    f"{UNSUCCESSFUL} AND {in_states([ChunkState.SUCCEEDED])}",
    f"{UNSUCCESSFUL} AND {in_states([ChunkState.HELD])}",
)
"""Conditions that together find the chunks of which items failed or were left out."""


def found_by_index(condition: str) -> str:
    """The condition on a job's chunks that they are among the few that meet this one.

    Takes the job's id again, the index that they come after, the last one, and how many there
    may be at most.
    All that the inner query reads is in an index of these chunks: else SQLite, which has no
    statistics, takes the table for the shorter way, and looks at all of the job's chunks.
    """
    return (
        f"idx IN (SELECT idx FROM chunks WHERE job_id = ? AND {condition} AND idx > ? "
        "AND idx <= ? ORDER BY idx LIMIT ?)"
    )


LAST_INDEX = 2**31 - 1
"""No chunk has a higher one."""

_REMEMBERED_JOBS = 1000
# SQLite takes up to 500 terms of a UNION.
_JOBS_A_QUERY = 500 // len(HAS_FAILED_ITEMS)
_CHUNKS_A_QUERY = 200
_FAILURES_A_QUERY = 20_000
_HEADS = "SELECT job_id, idx, stage, by_item, items_failed FROM chunks WHERE job_id = ? AND {}"
_CHUNKS = (
    "SELECT job_id, idx, items_failed, error_type, error_message, "
    # Found by its key: a join would leave the choice to the database, which has no statistics.
    "(SELECT item_errors FROM results WHERE results.job_id = chunks.job_id "
    "AND results.idx = chunks.idx) AS item_errors FROM chunks WHERE job_id = ? AND {}"
)


@dataclass(slots=True)
class _Group:
    first: tuple[int, int]
    """Chunk and item."""
    count: int = 0


class Groups:
    """Failures by type and message, added up chunk by chunk, in any order."""

    def __init__(self) -> None:
        """Start with none."""
        self._groups: dict[tuple[str, str], _Group] = {}

    def add_all(self, chunks: Iterable[Row]) -> None:
        """Take the failed items of these chunks."""
        for chunk in chunks:
            self.add(chunk)

    def add(self, chunk: Row) -> None:
        """Take a chunk's failed items: those that have a failure of their own, then the others.

        These have the chunk's: it failed for all that were left of its items at once.
        """
        index, items = chunk["idx"], set[int]()
        for error in item_errors_of(chunk["item_errors"] or NO_ERRORS):
            if not error.is_derived:
                items.add(error.item)
                self._count(error.type, error.message, (index, error.item), 1)
        others = int(chunk["items_failed"]) - len(items)
        if others > 0 and chunk["error_type"] is not None:
            first = next(item for item in range(len(items) + 1) if item not in items)
            self._count(chunk["error_type"], chunk["error_message"], (index, first), others)

    def most_frequent(self) -> tuple[ErrorGroup, ...]:
        """The largest groups, those that began first before others of the same size."""
        groups = [
            ErrorGroup(kind, message, group.count, *group.first)
            for (kind, message), group in self._groups.items()
        ]
        groups.sort(key=lambda group: (-group.count, group.first_index, group.first_item))
        return tuple(groups[:MAX_ERROR_GROUPS])

    def _count(self, kind: str, message: str, place: tuple[int, int], count: int) -> None:
        group = self._groups.get((kind, message))
        if group is None:
            if len(self._groups) >= MAX_DIFFERENT:
                return
            group = self._groups[kind, message] = _Group(place)
        group.first = min(group.first, place)
        group.count += count


async def error_groups(
    database: Database, job_id: JobId, tenant: TenantId
) -> tuple[ErrorGroup, ...]:
    """The failures of all of a job's items."""
    groups = Groups()
    for condition in HAS_FAILED_ITEMS:
        query = f"{_CHUNKS.format(found_by_index(condition))} AND {JOB_IS_OURS} ORDER BY idx"
        after, limit = -1, 1
        while rows := await database.read(
            query, (job_id, job_id, after, LAST_INDEX, limit, job_id, tenant)
        ):
            # In a thread: a million failures take seconds, in which the loop has other work.
            await asyncio.to_thread(groups.add_all, rows)
            after = rows[-1]["idx"]
            # Chunks of a job are of a size, more or less.
            failures = sum(int(row["items_failed"]) for row in rows)
            limit = min(_CHUNKS_A_QUERY, _FAILURES_A_QUERY * len(rows) // max(1, failures) or 1)
    return groups.most_frequent()


@dataclass(frozen=True, slots=True)
class _Grouped:
    run: int
    failed: int
    groups: tuple[ErrorGroup, ...]
    again_at: float


@dataclass(slots=True)
class RunningErrorGroups:
    """The error groups of running jobs, remembered: grouping costs more than all else of a poll.

    They lag behind the counts by some 20 times what grouping takes, which is milliseconds.
    """

    database: Database
    _grouped: dict[str, _Grouped] = field(default_factory=dict)

    async def of(
        self, failed: Mapping[str, tuple[int, int]], parents: Collection[str] = ()
    ) -> dict[str, tuple[ErrorGroup, ...]]:
        """The groups of these jobs, each of which has so many failed items, in this run of it.

        `parents` are those of them that are made of jobs.
        """
        started = time.monotonic()
        groups: dict[str, tuple[ErrorGroup, ...]] = {}
        stale: list[str] = []
        for job_id, (run, count) in failed.items():
            known = self._grouped.get(job_id)
            if known is not None and known.run != run:
                known = None
            if count == 0:
                groups[job_id] = ()
            elif known is not None and (known.failed == count or started < known.again_at):
                groups[job_id] = known.groups
            else:
                stale.append(job_id)
        plain = [job_id for job_id in stale if job_id not in parents]
        groups |= await _first_error_groups(self.database, plain)
        for job_id in stale:
            if job_id in parents:
                groups[job_id] = await error_groups_below(self.database, job_id)
        ended = time.monotonic()
        again_at = ended + (ended - started) / GROUPING_SHARE
        for job_id in stale:
            self._grouped.pop(job_id, None)
            self._grouped[job_id] = _Grouped(*failed[job_id], groups[job_id], again_at)
        while len(self._grouped) > _REMEMBERED_JOBS:
            self._grouped.pop(next(iter(self._grouped)))
        return groups


async def error_groups_below(database: Database, job_id: str) -> tuple[ErrorGroup, ...]:
    """The failures of all items of a job that is made of jobs.

    Of those below it that have finished as they were written down, with up to MAX_ERROR_GROUPS
    each; of the others the first ones.
    """
    rows = await database.read(
        f"SELECT id, position, summary FROM jobs WHERE id IN {BELOW} AND sub_jobs = 0 "
        "AND compensates_run = 0 AND EXISTS (SELECT 1 FROM job_counts "
        "WHERE job_counts.job_id = jobs.id AND (items_failed > 0 OR held > 0)) "
        "ORDER BY position",
        (job_id,),
    )
    running = await _first_error_groups(
        database, [row["id"] for row in rows if row["summary"] is None]
    )
    return await asyncio.to_thread(_merged, rows, running)


def _merged(
    rows: Sequence[Row], running: Mapping[str, tuple[ErrorGroup, ...]]
) -> tuple[ErrorGroup, ...]:
    merged: dict[tuple[str, str], ErrorGroup] = {}
    for row in rows:  # so that the first that has an error of a kind has the first of them
        groups = running.get(row["id"])
        if groups is None:
            said = json.loads(row["summary"])["errors"]
            groups = tuple(ErrorGroup(**known_fields(ErrorGroup, group)) for group in said)
        for group in groups:
            kind = (group.type, group.message)
            known = merged.get(kind)
            if known is not None:
                merged[kind] = replace(known, count=known.count + group.count)
            elif len(merged) < MAX_DIFFERENT:
                merged[kind] = replace(group, first_job=row["id"])
    # In the order of the tree, which sorting keeps.
    return tuple(sorted(merged.values(), key=lambda group: -group.count)[:MAX_ERROR_GROUPS])


async def _first_error_groups(
    database: Database, job_ids: Sequence[str]
) -> dict[str, tuple[ErrorGroup, ...]]:
    """For each job what `error_groups` gives, but of its first failures only."""
    # Bounded reads of an index for each job, whatever the planner knows of the tables.
    groups = {job_id: Groups() for job_id in job_ids}
    for start in range(0, len(job_ids), _JOBS_A_QUERY):
        some = job_ids[start : start + _JOBS_A_QUERY]
        heads: dict[str, list[Row]] = {job_id: [] for job_id in some}
        last = dict.fromkeys(some, LAST_INDEX)
        for head in await _read_for_each(database, _HEADS, last):
            heads[head["job_id"]].append(head)
        last = {job_id: _last_to_group(chunks) for job_id, chunks in heads.items()}
        chunks = await _read_for_each(database, _CHUNKS, last)
        for job_id, its_chunks in groupby(chunks, key=itemgetter("job_id")):
            await asyncio.to_thread(groups[job_id].add_all, its_chunks)
    return {job_id: of_job.most_frequent() for job_id, of_job in groups.items()}


async def _read_for_each(database: Database, query: str, last: Mapping[str, int]) -> list[Row]:
    """What the query gives for each of these jobs, up to its last index, and each condition."""
    queries = [
        f"SELECT * FROM ({query.format(found_by_index(one))}) AS job" for one in HAS_FAILED_ITEMS
    ]
    return await database.read(
        " UNION ALL ".join(queries * len(last)),
        [
            value
            for job_id, index in last.items()
            for _ in HAS_FAILED_ITEMS
            for value in (job_id, job_id, -1, index, MAX_FAILURES_GROUPED)
        ],
    )


def _last_to_group(chunks: Iterable[Row]) -> int:
    """The index of the last of these chunks for which there is time."""
    last, failures = -1, 0
    for chunk in sorted(chunks, key=lambda one: int(one["idx"])):
        last = chunk["idx"]
        # One that failed as a whole at the first stage has one failure, whatever it counts. Later,
        # items may have failed each for itself before.
        failures += int(chunk["items_failed"]) if chunk["by_item"] or chunk["stage"] else 1
        if failures >= MAX_FAILURES_GROUPED:
            break
    return last
