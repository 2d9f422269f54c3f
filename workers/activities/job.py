"""The activities around a job's chunks: open it, plan, record what was lost, fold and close it."""

from collections.abc import Mapping

from temporalio import activity

from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import Controls
from fanfold.contract.names import CLOSE_JOB, OPEN_JOB, PLAN_PAGE, RECORD_LOST, JobId
from fanfold.contract.plan import ranges_of
from fanfold.contract.states import WITH_RESULT, JobState
from fanfold.contract.wire import ClosedJob, CloseJob, LostChunks, OpenedJob, Page, PageInput
from fanfold.ledger.chunks import Chunks
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkCounts
from fanfold.workers.activities.lifeline import heartbeats
from fanfold.workers.fold import Fold, FoldFailed
from fanfold.workers.processor import ReducerType


class JobActivities:
    """Keeps a job's row in step with its workflow, and folds its results."""

    def __init__(
        self, ledger: Ledger, reducers: Mapping[str, ReducerType], *, max_result_bytes: int
    ) -> None:
        """Take what the activities depend on."""
        self._ledger = ledger
        self._reducers = reducers
        self._max_result_bytes = max_result_bytes

    @activity.defn(name=OPEN_JOB)
    async def open_job(self, given: PageInput) -> OpenedJob:
        """Mark the job as running, and plan its first page.

        It may not run where it was cancelled meanwhile. Where it was running already, a
        workflow before this one was closed outside Fanfold, or replaced.
        """
        was_pending, state = await self._ledger.of(given.job.tenant).jobs.open(given.job.id)
        if state is not JobState.RUNNING:
            return OpenedJob(may_run=False, page=Page(ranges=[], is_last=True))
        if not was_pending:
            await self._ledger.of(given.job.tenant).work.offer_again(given.job.id)
        return OpenedJob(may_run=True, page=await self.plan_page(given))

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
        await self._ledger.of(lost.job.tenant).work.record_lost(lost.job.id, lost.index, failure)

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
        # Cancelled meanwhile, which the workflow may not have heard yet.
        is_cancelled = given.is_cancelled or (
            await ledger.jobs.state(job_id) is JobState.CANCELLING
        )
        if is_cancelled or given.is_tolerance_exceeded:
            counts = await ledger.closing.settle(job_id)
        else:
            counts = await ledger.closing.counts(job_id)
            if left := counts.pending + counts.running:
                return await self._reopened(given, left)
        state, error = verdict(
            counts,
            terms.controls,
            is_cancelled=is_cancelled,
            is_tolerance_exceeded=given.is_tolerance_exceeded,
        )
        result: bytes | None = None
        reducer = terms.spec.reducer
        has_results = counts.succeeded or counts.partially_succeeded
        if reducer is not None and has_results and state is not JobState.CANCELLED:
            try:
                result = await self._fold(ledger.chunks, job_id, reducer)
            except FoldFailed as failed:
                state, error = JobState.FAILED, failed.failure
        await ledger.closing.close(job_id, state, error=error, result=result)
        return ClosedJob(state=state)

    async def _reopened(self, given: CloseJob, left: int) -> ClosedJob:
        """All that the job's workflow started has ended: what still runs was lost on the way."""
        await self._ledger.of(given.job.tenant).work.offer_again(given.job.id)
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
    counts: ChunkCounts, controls: Controls, *, is_cancelled: bool, is_tolerance_exceeded: bool
) -> tuple[JobState, Failure | None]:
    """The terminal state that final counts mean, and why, where the job failed."""
    if is_cancelled:
        return JobState.CANCELLED, None
    failed, succeeded = counts.items_at_fault, counts.items_succeeded
    tolerance = controls.tolerated_failures
    if is_tolerance_exceeded or (
        tolerance is not None
        and tolerance.is_exceeded(succeeded=succeeded, failed=failed, final=True)
    ):
        message = f"{failed} of {failed + succeeded} items failed, more than the job tolerates"
        return JobState.FAILED, Failure(type=FailureType.TOLERANCE_EXCEEDED, message=message)
    if counts.cancelled:
        # Whoever did that took the job's workflow for closed: it must not pass for success.
        message = f"{counts.cancelled} chunks were cancelled, though the job was not"
        return JobState.FAILED, Failure(type=FailureType.JOB_CLOSED_OUTSIDE, message=message)
    if not (counts.failed or counts.partially_succeeded):
        return JobState.SUCCEEDED, None
    if succeeded == 0:
        message = f"none of {failed} items succeeded"
        return JobState.FAILED, Failure(type=FailureType.ALL_ITEMS_FAILED, message=message)
    return JobState.PARTIALLY_SUCCEEDED, None
