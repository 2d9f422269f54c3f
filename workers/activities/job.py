"""The activities around a job's chunks: open it, record what was lost, fold and close it."""

from collections.abc import Mapping

from temporalio import activity

from contract.failures import Failure, FailureType
from contract.job_spec import JobSpec
from contract.names import CLOSE_JOB, OPEN_JOB, RECORD_LOST_CHUNK
from contract.states import ChunkState, JobState
from contract.wire import CloseJob, LostChunk
from ledger.connect import Ledger
from ledger.records import ChunkCounts
from workers.activities.lifeline import heartbeats
from workers.fold import Fold, FoldFailed
from workers.registry import ReducerFactory


class JobActivities:
    """Keeps a job's row in step with its workflow, and folds its results."""

    def __init__(
        self, ledger: Ledger, reducers: Mapping[str, ReducerFactory], *, max_result_bytes: int
    ) -> None:
        """Take what the activities depend on."""
        self._ledger = ledger
        self._reducers = reducers
        self._max_result_bytes = max_result_bytes

    @activity.defn(name=OPEN_JOB)
    async def open_job(self, job_id: str) -> bool:
        """Mark the job as running; whether it may run (it may have been cancelled meanwhile)."""
        return await self._ledger.jobs.open(job_id) is JobState.RUNNING

    @activity.defn(name=RECORD_LOST_CHUNK)
    async def record_lost_chunk(self, lost: LostChunk) -> None:
        """Record the failure of chunks whose own activities cannot do so any more."""
        failure = Failure(type=FailureType.CHUNK_CLOSED_OUTSIDE, message=lost.reason)
        await self._ledger.chunks.record_lost(lost.job_id, lost.index, failure, count=lost.count)

    @activity.defn(name=CLOSE_JOB)
    async def close_job(self, given: CloseJob) -> str:
        """Settle the counts, fold the survivors, and give the job its terminal state."""
        jobs = self._ledger.jobs
        spec = await jobs.spec(given.job_id)
        if spec is None:
            return JobState.FAILED
        counts = await jobs.settle(given.job_id)
        state, error = verdict(
            counts,
            spec,
            is_cancelled=given.is_cancelled,
            is_tolerance_exceeded=given.is_tolerance_exceeded,
        )
        result: bytes | None = None
        if spec.reducer is not None and counts.succeeded and state is not JobState.CANCELLED:
            try:
                result = await self._fold(given.job_id, spec.reducer)
            except FoldFailed as failed:
                state, error = JobState.FAILED, failed.failure
        await jobs.close(given.job_id, state, error=error, result=result)
        return state

    async def _fold(self, job_id: str, reducer_name: str) -> bytes:
        factory = self._reducers.get(reducer_name)
        if factory is None:
            message = f"this worker knows no reducer '{reducer_name}'"
            raise FoldFailed(Failure(type=FailureType.UNKNOWN_REDUCER, message=message))
        fold = Fold(reducer_name, factory, max_result_bytes=self._max_result_bytes)
        async with heartbeats():
            # The fold is repeated as a whole where the ledger is away in between.
            async for batch in self._ledger.chunks.batches(job_id, state=ChunkState.SUCCEEDED):
                await fold.add([(record.index, output.body) for record, output in batch])
            return await fold.result()


def verdict(
    counts: ChunkCounts, spec: JobSpec, *, is_cancelled: bool, is_tolerance_exceeded: bool
) -> tuple[JobState, Failure | None]:
    """The terminal state that settled counts mean, and why, where the job failed."""
    if is_cancelled:
        return JobState.CANCELLED, None
    tolerance = spec.tolerated_failures
    finished = counts.succeeded + counts.failed
    if is_tolerance_exceeded or (
        tolerance is not None
        and tolerance.is_exceeded(succeeded=counts.succeeded, failed=counts.failed, final=True)
    ):
        message = f"{counts.failed} of {finished} chunks failed, more than the job tolerates"
        return JobState.FAILED, Failure(type=FailureType.TOLERANCE_EXCEEDED, message=message)
    if counts.failed == 0:
        return JobState.SUCCEEDED, None
    if counts.succeeded == 0:
        message = f"all {counts.failed} chunks failed"
        return JobState.FAILED, Failure(type=FailureType.ALL_CHUNKS_FAILED, message=message)
    return JobState.PARTIALLY_SUCCEEDED, None
