"""Redrive: chunks of a job run again, in its next run, under the same id.

What is selected is known before, as a list of chunks; the script changes these and no others, so
its cost grows with them and not with the job. What they have given so far is put aside, and the
job's last end goes to `job_runs`. All of it is one transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import WITH_RESULT, ChunkState, JobState
from fanfold.ledger.counting import COUNTED_STATES
from fanfold.ledger.database import (
    Batch,
    Row,
    Statement,
    UniqueViolation,
    placeholders,
)
from fanfold.ledger.idempotency import raise_key_taken
from fanfold.ledger.records import (
    NO_ERRORS,
    IdempotencyKey,
    JobRecord,
    item_errors_of,
)
from fanfold.ledger.reopening import IS_UNDONE, hold_still, reopen, reopened
from fanfold.ledger.run_again import (
    CHUNKS_A_STATEMENT,
    JobToRunAgain,
    Redrive,
    Selected,
    batches,
    claim_key,
    only_as_found,
    script_of,
)
from fanfold.ledger.tenancy import AND_BELOW, BELOW, OfTenant
from fanfold.ledger.transitions import (
    JUDGED_CHUNK,
    REDRIVE,
    RUN_AGAIN,
    UNSUCCESSFUL,
    UNSUCCESSFUL_CHUNK,
    in_states,
)

_CHUNKS_A_QUERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which chunks are meant: those that meet all that is said."""

    states: Collection[ChunkState] | None = None
    error_types: Collection[str] | None = None
    """Of these only the items run again that failed with such an error."""
    indexes: Collection[int] | None = None
    with_folds: bool = False
    """Below a job: also jobs of which nothing is left but the fold."""


@dataclass(frozen=True, slots=True)
class Below:
    """Chunks of the jobs below one, that are to run again."""

    of: Sequence[tuple[JobToRunAgain, Sequence[Selected]]]
    """A job without chunks makes its fold again, or never got its items."""

    @property
    def chunks(self) -> int:
        """How many there are."""
        return sum(len(chunks) for _, chunks in self.of)


_SELECT = "SELECT id, state, run, revision, position, total_chunks, spec, controls FROM jobs"
_HAS_UNSUCCESSFUL = (
    "EXISTS (SELECT 1 FROM job_counts WHERE job_counts.job_id = jobs.id "
    "AND (items_failed > 0 OR cancelled > 0 OR held > 0))"
)
_CAME_TO_NOTHING = in_states((JobState.FAILED, JobState.CANCELLED))
# All that they are made of succeeded: it was the fold that did not, or they were stopped before it.
_WITHOUT_FOLD = (
    f"started_at IS NOT NULL AND {_CAME_TO_NOTHING} AND CASE WHEN sub_jobs = 0 "
    f"THEN NOT {_HAS_UNSUCCESSFUL} ELSE NOT EXISTS (SELECT 1 FROM jobs AS part "
    f"WHERE part.parent_id = jobs.id AND part.compensates_run = 0 AND part.{_CAME_TO_NOTHING}) END"
)
# They were to get the result of the one before them, and did not come to it.
_WITHOUT_ITEMS = f"sub_jobs = 0 AND total_chunks = 0 AND started_at IS NULL AND {_CAME_TO_NOTHING}"


class Redriving(OfTenant):
    """Operations that let chunks run again. Every method raises LedgerUnavailable."""

    async def select(self, job_id: JobId, selection: Selection) -> list[Selected]:
        """The chunks that are meant, in index order; only those with an outcome, or held."""
        states = [
            state
            for state in RUN_AGAIN.before
            if selection.states is None or state in selection.states
        ]
        selected: list[Selected] = []
        if not states:
            return selected
        async for rows in self._candidates(job_id, states, selection):
            if selection.error_types is None:
                selected += [Selected(row["idx"], ChunkState.read(row["state"])) for row in rows]
            else:
                selected += _with_errors(rows, selection.error_types)
        return sorted(selected, key=lambda one: one.index)

    async def redrive(self, job: JobRecord, redrive: Redrive) -> bool:
        """Let the selected chunks run again; False where the job is not as it was found any more.

        Of a job that has ended it is its next run, of one that waits the same. Raises KeyTaken.
        """
        script = claim_key(job, redrive.key, self._tenant)
        place = job.place
        if place.has_compensation:
            redrive = await self._with_undone(job, redrive)
        # Where it waits, all above it goes on as it does; and none is opened for what undoes.
        if place.root and not place.compensates_run and job.state in REDRIVE.before:
            script += await self._opened_with(place.root, [job], job.id)
        script += script_of(job, redrive, self._tenant, await self._missing_counts(job.id))
        return await self._write(script, redrive.key)

    async def select_below(self, job: JobRecord, selection: Selection) -> "Below":
        """The chunks that are meant of all jobs below this one, by the job that has them."""
        states = RUN_AGAIN.before if selection.states is None else selection.states
        are_unsuccessful = all(state in UNSUCCESSFUL_CHUNK for state in states)
        which = ""
        if are_unsuccessful:
            which = f"AND {_HAS_UNSUCCESSFUL}"
        rows = await self._database.read(
            f"{_SELECT} WHERE id IN {BELOW} AND tenant = ? AND sub_jobs = 0 "
            # Those that were skipped get their turn with what is before them.
            f"AND compensates_run = 0 AND state <> '{JobState.SKIPPED}' {which} ORDER BY position",
            (job.id, self._tenant),
        )
        job_ids = [row["id"] for row in rows]
        if are_unsuccessful and selection.error_types is None:
            found = await self._unsuccessful_chunks(job_ids, states)
        else:
            found = {job_id: await self.select(job_id, selection) for job_id in job_ids}
        rows = [row for row in rows if found.get(row["id"])]
        if ChunkState.CANCELLED in states and selection.error_types is None:
            also = _WITHOUT_ITEMS
            if selection.with_folds:
                also = f"({also} OR {_WITHOUT_FOLD})"
            rows += await self._database.read(
                f"{_SELECT} WHERE id IN {AND_BELOW} AND tenant = ? AND compensates_run = 0 "
                f"AND {also}",
                (job.id, job.id, self._tenant),
            )
        rows.sort(key=lambda row: int(row["position"]))
        return Below([(_job(row), found.get(row["id"], ())) for row in rows])

    async def redrive_below(
        self, job: JobRecord, below: "Below", key: IdempotencyKey | None
    ) -> bool:
        """Let the selected chunks of jobs below this one run again, all in one transaction.

        Of each it is the next run, as of all jobs above them. False where one of them is not as
        it was found any more. Raises KeyTaken.
        """
        if not below.of:
            return False
        selected = [one for one, _ in below.of]
        ((witness,), *_) = await self._database.read(
            "SELECT id FROM jobs WHERE parent_id = ? LIMIT 1", (job.id,)
        )
        script = claim_key(job, key, self._tenant)
        script += await self._opened_with(
            job.place.root or job.id, selected, witness, also_as_found=[job]
        )
        redrives = [
            (one, Redrive(spec=one.spec, controls=one.controls, selected=chunks))
            for one, chunks in below.of
        ]
        if any(one.spec.compensate for one in selected):
            redrives = [(one, await self._with_undone(one, redrive)) for one, redrive in redrives]
        # Of some thousand jobs it takes a second.
        script += await asyncio.to_thread(_scripts, redrives, self._tenant)
        return await self._write(script, key)

    async def _write(self, script: Sequence[Statement | Batch], key: IdempotencyKey | None) -> bool:
        try:
            *_, moved = await self._database.write(*script)
        except UniqueViolation:
            if key is not None:
                await raise_key_taken(self._database, self._tenant, key)
            return False
        return bool(moved)

    async def _opened_with(
        self,
        root: JobId,
        selected: Sequence[JobRecord | JobToRunAgain],
        witness: JobId,
        also_as_found: Sequence[JobRecord] = (),
    ) -> list[Statement | Batch]:
        """Opens what is opened again with these jobs: those above, and in sequences after them.

        Together with all of the script, or the whole of it fails: see `only_as_found`.
        """
        also = await reopened(self._database, self._tenant, root, {job.id for job in selected})
        # Others of their chunks, where there are any, have come to something in an earlier run.
        chunks = await self._unsuccessful_chunks(also.unbegun, [ChunkState.CANCELLED])
        unbegun = await self._jobs(also.unbegun)
        known = {job.id for job in selected}
        undone = await self._jobs([job_id for job_id in also.undone if job_id not in known])
        script: list[Statement | Batch] = [
            hold_still(also.parents, self._tenant),
            *only_as_found([*also_as_found, *selected, *unbegun, *undone], witness, self._tenant),
            *reopen(also.parents, self._tenant),
        ]
        again = [
            (job, Redrive(spec=job.spec, controls=job.controls, selected=chunks.get(job.id, ())))
            for job in unbegun
        ]
        for job in undone:
            nothing = Redrive(spec=job.spec, controls=job.controls, selected=())
            again.append((job, await self._with_undone(job, nothing)))
        return [*script, *await asyncio.to_thread(_scripts, again, self._tenant)]

    async def _jobs(self, job_ids: Sequence[JobId]) -> list[JobToRunAgain]:
        """These jobs, by position."""
        return [
            _job(row)
            for some in batches(job_ids)
            for row in await self._database.read(
                f"{_SELECT} WHERE id IN ({placeholders(len(some))}) ORDER BY position", some
            )
        ]

    async def _with_undone(self, job: JobRecord | JobToRunAgain, redrive: Redrive) -> Redrive:
        """The same, and what of the job was compensated, which runs again as a whole."""
        ((is_undone,),) = await self._database.read(
            f"SELECT {IS_UNDONE} FROM jobs WHERE id = ?", (job.id,)
        )
        if not is_undone:
            return redrive
        chosen = {one.index: one for one in redrive.selected}
        for one in await self.select(job.id, Selection(states=WITH_RESULT)):
            chosen[one.index] = one
        selected = [chosen[index] for index in sorted(chosen)]
        return replace(redrive, selected=selected, is_resumed=False)

    # --- selecting ------------------------------------------------------------------------

    async def _unsuccessful_chunks(
        self, job_ids: Sequence[JobId], states: Collection[ChunkState]
    ) -> dict[JobId, list[Selected]]:
        """The chunks in these states, of which something went wrong, by job, in index order."""
        chunks: dict[JobId, list[Selected]] = {}
        for some in batches(job_ids):
            for row in await self._database.read(
                f"SELECT job_id, idx, state FROM chunks WHERE job_id IN ({placeholders(len(some))})"
                f" AND tenant = ? AND {UNSUCCESSFUL} AND {in_states(states)} ORDER BY job_id, idx",
                (*some, self._tenant),
            ):
                selected = Selected(row["idx"], ChunkState.read(row["state"]))
                chunks.setdefault(row["job_id"], []).append(selected)
        return chunks

    async def _candidates(
        self, job_id: JobId, states: Sequence[ChunkState], selection: Selection
    ) -> AsyncIterator[list[Row]]:
        columns, most = "idx, state", _CHUNKS_A_QUERY
        if selection.error_types is not None:
            # Of every failed item of each: few chunks at a time.
            columns += (
                ", item_count, items_failed, error_type, (SELECT item_errors FROM results "
                "WHERE results.job_id = chunks.job_id AND results.idx = chunks.idx) AS item_errors"
            )
            most = CHUNKS_A_STATEMENT
        reading = f"SELECT {columns} FROM chunks WHERE job_id = ? AND tenant = ?"
        this = (job_id, self._tenant)
        if selection.indexes is not None:
            for some in batches(sorted(set(selection.indexes))):
                yield await self._database.read(
                    f"{reading} AND idx IN ({placeholders(len(some))}) AND {in_states(states)}",
                    (*this, *some),
                )
            return
        for state in states:
            condition = in_states([state])
            if state in UNSUCCESSFUL_CHUNK:
                condition = f"{UNSUCCESSFUL} AND {condition}"
            after, is_last = -1, False
            while not is_last:
                rows = await self._database.read(
                    f"{reading} AND {condition} AND idx > ? ORDER BY idx LIMIT ?",
                    (*this, after, most),
                )
                is_last = len(rows) < most
                if rows:
                    yield rows
                    after = rows[-1]["idx"]

    async def _missing_counts(self, job_id: JobId) -> list[Statement]:
        """Of a job that ended before the ledger kept counts: the statement that counts it."""
        if await self._database.read(
            "SELECT 1 FROM job_counts WHERE job_id = ? LIMIT 1", (job_id,)
        ):
            return []
        judged = in_states(JUDGED_CHUNK)
        counted = {
            **{state: f"COUNT(CASE WHEN state = '{state}' THEN 1 END)" for state in COUNTED_STATES},
            "items_succeeded": (
                f"SUM(CASE WHEN {judged} THEN item_count - items_failed ELSE 0 END)"
            ),
            "items_failed": f"SUM(CASE WHEN {judged} THEN items_failed ELSE 0 END)",
            "items_dropped": f"SUM(CASE WHEN {judged} THEN items_dropped ELSE 0 END)",
        }
        return [
            Statement(
                f"INSERT INTO job_counts (job_id, slot, {', '.join(counted)}) "
                f"SELECT job_id, 0, {', '.join(counted.values())} FROM chunks "
                "WHERE job_id = ? GROUP BY job_id ON CONFLICT (job_id, slot) DO NOTHING",
                (job_id,),
            )
        ]

    # --- writing --------------------------------------------------------------------------


def _scripts(
    of: Iterable[tuple[JobToRunAgain, Redrive]], tenant: TenantId
) -> list[Statement | Batch]:
    """Lets chunks of these jobs run again."""
    return [statement for job, redrive in of for statement in script_of(job, redrive, tenant)]


def _with_errors(rows: Iterable[Row], error_types: Collection[str]) -> Iterator[Selected]:
    """Those of these chunks of which items failed with such an error, and which items these are."""
    for row in rows:
        index, state = row["idx"], ChunkState.read(row["state"])
        errors = item_errors_of(row["item_errors"] or NO_ERRORS)
        if any(error.is_derived and error.type in error_types for error in errors):
            # Made of the items that were submitted, which share one fate.
            yield Selected(index, state)
            continue
        own = {error.item: error.type for error in errors if not error.is_derived}
        again = [item for item, kind in own.items() if kind in error_types]
        if row["items_failed"] > len(own) and row["error_type"] in error_types:
            # It failed as a whole: so did all that have no error of their own.
            again += [item for item in range(row["item_count"]) if item not in own]
        if again:
            # Of one that succeeded, all items would run.
            is_all = len(again) == row["items_failed"] and state is not ChunkState.SUCCEEDED
            yield Selected(index, state, None if is_all else tuple(sorted(again)))


def _job(row: Row) -> JobToRunAgain:
    return JobToRunAgain(
        id=row["id"],
        state=JobState.read(row["state"]),
        run=row["run"],
        revision=row["revision"],
        total_chunks=row["total_chunks"],
        spec=JobSpec.from_json(row["spec"], row["controls"]),
        controls=Controls.from_json(row["controls"]),
    )
