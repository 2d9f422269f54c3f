"""The activities around a job's chunks: open it, plan, record what was lost, fold and close it."""

import asyncio
from collections.abc import Mapping

from temporalio import activity

from fanfold.contract.failures import Failure, FailureType, closed_outside
from fanfold.contract.names import (
    CLOSE_JOB,
    LOOK_AT_JOB,
    NARROW_BLOCKS,
    OPEN_JOB,
    PLAN_PAGE,
    RECORD_LOST,
    TAKE_TURNS,
    JobId,
)
from fanfold.contract.plan import ranges_of
from fanfold.contract.states import WITH_RESULT, JobState
from fanfold.contract.wire import (
    NOTHING,
    ClosedJob,
    CloseJob,
    JobRef,
    JobTerms,
    LostChunks,
    NarrowedBlocks,
    OpenedJob,
    Page,
    PageInput,
    Turns,
    TurnsInput,
)
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.connect import Ledger
from fanfold.ledger.jobs import Terms
from fanfold.ledger.records import ChunkCounts, Stop, now_ms
from fanfold.workers.activities.lifeline import heartbeats
from fanfold.workers.activities.parents import Parents, to_run_first
from fanfold.workers.fold import Fold, FoldFailed
from fanfold.workers.processor import ReducerType

# Twice as late as a server with its own settings fires a timer at worst.
_TIMER_LATE_SECONDS = 2.0


class JobActivities:
    """Keeps a job's row in step with its workflow, and folds its results."""

    def __init__(
        self, ledger: Ledger, reducers: Mapping[str, ReducerType], *, max_result_bytes: int
    ) -> None:
        """Take what the activities depend on."""
        self._ledger = ledger
        self._reducers = reducers
        self._max_result_bytes = max_result_bytes
        self._parents = Parents(ledger, reducers, max_result_bytes=max_result_bytes)

    @activity.defn(name=OPEN_JOB)
    async def open_job(self, given: PageInput) -> OpenedJob:
        """Mark the job as running, and plan its first page.

        It may not run where it was cancelled meanwhile. Where it was running already, a
        workflow before this one was closed outside Fanfold, or replaced.
        """
        ledger = self._ledger.of(given.job.tenant)
        was_pending, state = await ledger.jobs.open(given.job.id, given.job.run)
        nothing = NOTHING
        if state is JobState.PAUSED:
            return OpenedJob(may_run=True, page=nothing, is_resting=True)
        if state is JobState.WAITING:
            # Only held chunks are left: that is found out by closing it.
            return OpenedJob(may_run=True, page=nothing, terms=await self.look_at_job(given.job))
        if state is not JobState.RUNNING:
            return OpenedJob(may_run=False, page=nothing)
        if not was_pending:
            await ledger.work.offer_again(given.job.id, given.job.run)
        return OpenedJob(
            may_run=True,
            page=await self.plan_page(given),
            terms=await self.look_at_job(given.job),
        )

    @activity.defn(name=LOOK_AT_JOB)
    async def look_at_job(self, job: JobRef) -> JobTerms:
        """What the job's workflow goes by, which controls may have changed."""
        ledger = self._ledger.of(job.tenant)
        await ledger.closing.cancel_children(job.id)
        terms = await ledger.jobs.terms(job.id)
        if terms is None or terms.run != job.run:
            return JobTerms(max_concurrency=1, is_over=True)
        return JobTerms(
            max_concurrency=terms.controls.max_concurrency,
            is_paced=terms.controls.max_per_second is not None,
            deadline_in_seconds=terms.deadline_in_seconds,
            is_over=terms.is_draining
            or not (terms.place.sub_jobs or await ledger.watch.has_open_chunks(job.id)),
        )

    @activity.defn(name=NARROW_BLOCKS)
    async def narrow_blocks(self, given: NarrowedBlocks) -> None:
        """Let blocks have fewer lanes; they find it in the ledger."""
        watch = self._ledger.of(given.job.tenant).watch
        await watch.narrow_blocks(given.job.id, dict(given.lanes))

    @activity.defn(name=TAKE_TURNS)
    async def take_turns(self, given: TurnsInput) -> Turns:
        """The job's next turns to start chunks, once the time of all of them has come.

        They are waited for here: a timer of the server may be late by a second. Where the next
        one is far off, none is taken.
        """
        pacing = self._ledger.of(given.job.tenant).pacing
        while True:
            turns = await pacing.take_turns(given.job.id, given.wanted)
            if turns is None:
                return Turns(count=0, is_unlimited=True)
            if turns.in_seconds:
                await asyncio.sleep(turns.in_seconds[-1])
                return Turns(count=len(turns.in_seconds))
            if turns.more_in_seconds > _TIMER_LATE_SECONDS:
                return Turns(
                    count=0, more_in_seconds=turns.more_in_seconds - _TIMER_LATE_SECONDS / 2
                )
            await asyncio.sleep(turns.more_in_seconds)

    @activity.defn(name=PLAN_PAGE)
    async def plan_page(self, given: PageInput) -> Page:
        """The next chunks that have no outcome yet."""
        indexes = await self._ledger.of(given.job.tenant).work.page(
            given.job.id, after=given.after, limit=given.limit + 1
        )
        return Page(ranges=ranges_of(indexes[: given.limit]), is_last=len(indexes) <= given.limit)

    @activity.defn(name=RECORD_LOST)
    async def record_lost(self, lost: LostChunks) -> None:
        """Record the failure of chunks whose own activities cannot do so any more."""
        failure = Failure(type=FailureType.CHUNK_CLOSED_OUTSIDE, message=lost.reason)
        job = lost.job
        await self._ledger.of(job.tenant).closing.settle_below(job.id)
        await self._ledger.of(job.tenant).work.record_lost(job.id, lost.index, failure, job.run)

    @activity.defn(name=CLOSE_JOB)
    async def close_job(self, given: CloseJob) -> ClosedJob:
        """Fold the survivors, and give the job its terminal state, once its rows add up.

        Where chunks have no outcome: of a job that is stopped they are cancelled, of any
        other they are offered again, and the job stays open.
        """
        job_id = given.job.id
        ledger = self._ledger.of(given.job.tenant)
        terms = await ledger.jobs.terms(job_id)
        if terms is None:
            return ClosedJob(state=JobState.FAILED)
        if terms.run != given.job.run or terms.state.is_terminal:
            # Closed before, by a call whose answer was lost; and perhaps redriven since.
            return ClosedJob(state=terms.state)
        if terms.place.sub_jobs:
            closed = await self._parents.close(given, terms)
        else:
            closed = await self._close(given, terms)
        return closed or await self.close_job(given)

    async def _close(self, given: CloseJob, terms: Terms) -> ClosedJob | None:
        """Of a job that has chunks; None where it is to be looked at again."""
        ledger, job_id = self._ledger.of(given.job.tenant), given.job.id
        # Cancelled meanwhile, which the workflow may not have heard yet.
        is_cancelled = given.is_cancelled or terms.state is JobState.CANCELLING
        is_stopped = given.is_tolerance_exceeded or given.is_deadline_exceeded
        if is_cancelled or is_stopped or given.lost is not None:
            counts = await ledger.closing.settle(job_id, terms.run)
        else:
            counts = await ledger.closing.counts(job_id)
            if (not_yet := await self._not_yet(given, terms, counts)) is not None:
                return not_yet
            if counts.held:
                counts = await ledger.closing.counts(job_id)
        stop = await self._stop(given, terms, counts)
        state, error = verdict(
            counts,
            is_cancelled=is_cancelled,
            stop=stop,
            is_deadline_exceeded=given.is_deadline_exceeded,
            deadline_seconds=terms.controls.deadline_seconds,
            cancelled_by_nobody=await ledger.closing.cancelled_by_nobody(job_id, terms.run)
            if counts.cancelled
            else 0,
        )
        if given.lost is not None and state is not JobState.CANCELLED:
            state, error = JobState.FAILED, closed_outside(given.lost)
        if compensations := await to_run_first(ledger, given, terms, state, stop=stop):
            return ClosedJob(state=None, compensations=compensations)
        result: bytes | None = None
        reducer = terms.spec.reducer
        # Of one whose items are what came to nothing before it, the result is that of nothing.
        has_results = counts.succeeded or counts.partially_succeeded or not terms.total_chunks
        is_folded = state is not JobState.CANCELLED and given.lost is None
        if reducer is not None and has_results and is_folded:
            try:
                result = await self._fold(ledger.chunks, job_id, reducer)
            except FoldFailed as failed:
                state, error = JobState.FAILED, failed.failure
                if compensations := await to_run_first(ledger, given, terms, state):
                    return ClosedJob(state=None, compensations=compensations)
        is_closed = await ledger.closing.close(
            job_id,
            state,
            error=error,
            result=result,
            stop=stop,
            run=terms.run,
            # What it did is to be undone then.
            unless_cancelled=terms.place.may_have_jobs and state is not JobState.CANCELLED,
        )
        # Where it was paused in between, say, it is looked at again.
        return ClosedJob(state=state) if is_closed else None

    async def _not_yet(
        self, given: CloseJob, terms: Terms, counts: ChunkCounts
    ) -> ClosedJob | None:
        """What is to be done or waited for first; None where the job may end."""
        ledger = self._ledger.of(given.job.tenant)
        if terms.state is JobState.PAUSED:
            # All that the workflow had started has ended.
            await ledger.work.offer_again(given.job.id, given.job.run)
            return ClosedJob(state=None, is_resting=True)
        if counts.open:
            await ledger.closing.cancel_children(given.job.id)
            return await self._reopened(given, counts.open)
        return await self._waiting(given, terms) if counts.held else None

    async def _waiting(self, given: CloseJob, terms: Terms) -> ClosedJob | None:
        """Let the job wait with what is held; None where that is given up."""
        ledger = self._ledger.of(given.job.tenant)
        since, limit = await ledger.closing.wait(given.job.id), terms.spec.hold_timeout_seconds
        if since is None:  # resolved, or cancelled, just now
            return await self.close_job(given)
        if limit is None:
            return ClosedJob(state=None, is_resting=True)
        left = limit - (now_ms() - since) / 1000
        if left > 0:
            return ClosedJob(state=None, is_resting=True, again_in_seconds=left)
        await ledger.steering.release(given.job.id)
        return None

    async def _stop(self, given: CloseJob, terms: Terms, counts: ChunkCounts) -> Stop | None:
        """The rule of its tolerance that the job is past, and at which chunk that was noted."""
        if given.is_deadline_exceeded or given.lost is not None:
            return None
        ledger = self._ledger.of(given.job.tenant)
        if given.is_tolerance_exceeded or terms.spec.compensate is not None:
            noted = await ledger.closing.stopped_by(given.job.id)
            if noted is not None:
                return noted
        tolerance = terms.controls.tolerated_failures
        if tolerance is None:
            return None
        *_, in_a_row = await ledger.jobs.outcome_counts(given.job.id)
        rule = tolerance.exceeded_rule(
            succeeded=counts.items_succeeded,
            failed=counts.items_at_fault,
            in_a_row=in_a_row,
            final=True,
        )
        return Stop(rule, None) if rule is not None else None

    async def _reopened(self, given: CloseJob, left: int) -> ClosedJob:
        """All that the job's workflow started has ended: what still runs was lost on the way."""
        await self._ledger.of(given.job.tenant).work.offer_again(given.job.id, given.job.run)
        first = PageInput(job=given.job, after=-1, limit=given.limit)
        return ClosedJob(state=None, left=left, page=await self.plan_page(first))

    async def _fold(self, chunks: Chunks, job_id: JobId, reducer_name: str) -> bytes:
        reducer = self._reducers.get(reducer_name)
        if reducer is None:
            message = f"this worker knows no reducer '{reducer_name}'"
            raise FoldFailed(Failure(type=FailureType.UNKNOWN_REDUCER, message=message))
        fold = Fold(reducer, max_result_bytes=self._max_result_bytes)
        async with heartbeats():
            # The fold is repeated as a whole where the ledger is away in between.
            async for batch in chunks.batches(job_id, states=WITH_RESULT):
                await fold.add([(record.index, output) for record, output in batch])
            return await fold.result()


def verdict(
    counts: ChunkCounts,
    *,
    is_cancelled: bool,
    stop: Stop | None = None,
    is_deadline_exceeded: bool = False,
    deadline_seconds: float | None = None,
    cancelled_by_nobody: int = 0,
) -> tuple[JobState, Failure | None]:
    """The terminal state that final counts mean, and why, where the job failed.

    `deadline_seconds` may have been changed since it had passed. `cancelled_by_nobody` is how many
    chunks were cancelled though neither they nor the job were.
    """
    if is_cancelled:
        return JobState.CANCELLED, None
    failed, succeeded = counts.items_at_fault, counts.items_succeeded
    if is_deadline_exceeded:
        message = "the job did not finish before its deadline, which has been taken away since"
        if deadline_seconds is not None:
            message = f"the job did not finish within {deadline_seconds:g} seconds"
        return JobState.FAILED, Failure(type=FailureType.DEADLINE_EXCEEDED, message=message)
    if stop is not None:
        message = (
            f"{failed} of {failed + succeeded} items failed, more than the job tolerates: "
            f"tolerated_failures.{stop.rule}"
        )
        if stop.index is not None:
            message += f", at chunk {stop.index}"
        return JobState.FAILED, Failure(type=FailureType.TOLERANCE_EXCEEDED, message=message)
    if cancelled_by_nobody:
        # Whoever did that took the job's workflow for closed: it must not pass for success.
        message = f"{cancelled_by_nobody} chunks were cancelled, though the job was not"
        return JobState.FAILED, Failure(type=FailureType.JOB_CLOSED_OUTSIDE, message=message)
    did_not_succeed = counts.failed or counts.partially_succeeded or counts.cancelled
    if did_not_succeed and succeeded == 0:
        message = f"none of {failed} items succeeded"
        if counts.cancelled:
            message = f"no item succeeded; {failed} failed, {counts.cancelled} chunks are cancelled"
        return JobState.FAILED, Failure(type=FailureType.ALL_ITEMS_FAILED, message=message)
    return (JobState.PARTIALLY_SUCCEEDED if did_not_succeed else JobState.SUCCEEDED), None
