"""The end of a job that is made of jobs: its verdict, its fold, what is to be undone first."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from fanfold.contract.failures import Failure, FailureType, closed_outside
from fanfold.contract.job_spec import Order
from fanfold.contract.states import JobState
from fanfold.contract.wire import NOTHING, ClosedJob, CloseJob, JobInput
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.jobs import Terms
from fanfold.ledger.records import ChunkOutput, Stop
from fanfold.ledger.sub_jobs import SubJob
from fanfold.workers.activities.lifeline import heartbeats
from fanfold.workers.activities.sub_jobs import hand_out
from fanfold.workers.fold import Fold, FoldFailed, listed, too_large
from fanfold.workers.processor import ReducerType
from fanfold.workers.tolerance import is_past_tolerance

COLLECT = "collect"
"""The reducer whose result, of a job made of jobs, names each of these."""

_COMPENSATIONS_AT_ONCE = 50
_SUCCEEDED = (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED)
_CAME_TO_NOTHING = (JobState.FAILED, JobState.CANCELLED)


class Parents:
    """Closes jobs that are made of jobs."""

    def __init__(
        self, ledger: Ledger, reducers: Mapping[str, ReducerType], *, max_result_bytes: int
    ) -> None:
        """Take what the fold depends on."""
        self._ledger = ledger
        self._reducers = reducers
        self._max_result_bytes = max_result_bytes

    async def close(self, given: CloseJob, terms: Terms) -> ClosedJob | None:
        """Fold what the sub-jobs gave, and give the job its terminal state.

        Where some have not ended: of a job that is stopped they are cancelled, of any other
        they are to be run, and the job stays open. None where something came in between, and it
        is to be looked at again: it was paused, say, or cancelled, or a sub-job redriven.
        """
        ledger, job_id = self._ledger.of(given.job.tenant), given.job.id
        is_cancelled = given.is_cancelled or terms.state is JobState.CANCELLING
        is_stopped = given.is_tolerance_exceeded or given.is_deadline_exceeded
        if is_cancelled or is_stopped or given.lost is not None:
            async with heartbeats():
                await ledger.closing.settle_below(job_id)
        elif terms.state is JobState.PAUSED:
            return ClosedJob(state=None, is_resting=True)
        elif left := await ledger.sub_jobs.count_unfinished(job_id):
            return ClosedJob(state=None, left=left, page=NOTHING)
        jobs = await ledger.sub_jobs.all_of(job_id)
        stop = await self._stop(given, terms)
        ends = _Ends(jobs, is_sequence=terms.spec.order is Order.SEQUENCE)
        state, error = ends.verdict(
            is_cancelled=is_cancelled,
            stop=stop,
            deadline_seconds=terms.controls.deadline_seconds or 0.0
            if given.is_deadline_exceeded
            else None,
        )
        if given.lost is not None and state is not JobState.CANCELLED:
            state, error = JobState.FAILED, closed_outside(given.lost)
        last = ends.last_to_compensate
        compensations = await to_run_first(ledger, given, terms, state, last, stop=stop)
        if compensations:
            return ClosedJob(state=None, compensations=compensations)
        result: bytes | None = None
        reducer = terms.spec.reducer
        is_folded = state is not JobState.CANCELLED and given.lost is None
        if reducer is not None and ends.succeeded and is_folded:
            try:
                async with heartbeats():
                    result = await self._fold(ledger, jobs, reducer)
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
            unless_cancelled=state is not JobState.CANCELLED,
        )
        return ClosedJob(state=state) if is_closed else None

    async def _stop(self, given: CloseJob, terms: Terms) -> Stop | None:
        """The rule of its tolerance that the job is past."""
        if given.is_deadline_exceeded or given.lost is not None:
            return None
        ledger, job_id = self._ledger.of(given.job.tenant), given.job.id
        noted = await ledger.closing.stopped_by(job_id)
        # What was in flight when it was told to stop may have succeeded since.
        if noted is not None or given.is_tolerance_exceeded:
            return noted
        rule = await is_past_tolerance(ledger, job_id, terms, final=True)
        return Stop(rule, None) if rule is not None else None

    async def _fold(self, ledger: TenantLedger, jobs: Sequence[SubJob], name: str) -> bytes:
        if name == COLLECT:
            texts: list[bytes] = []
            size = len(b"[]") - len(b",")
            async for job, body in _results(ledger, jobs):
                texts.append(listed(job.name, str(job.state), body))
                size += len(texts[-1]) + len(b",")
                if size > self._max_result_bytes:
                    # Before all the others are in memory.
                    raise too_large(f"{size} or more", self._max_result_bytes)
            return b"[" + b",".join(texts) + b"]"
        reducer = self._reducers.get(name)
        if reducer is None:
            message = f"this worker knows no reducer '{name}'"
            raise FoldFailed(Failure(type=FailureType.UNKNOWN_REDUCER, message=message))
        fold = Fold(reducer, max_result_bytes=self._max_result_bytes)
        at = 0
        async for job, body in _results(ledger, jobs):
            if job.state in _SUCCEEDED and body is not None:
                await fold.add([(at, ChunkOutput(body=body))])
            at += 1
        return await fold.result()


async def _results(
    ledger: TenantLedger, jobs: Sequence[SubJob]
) -> AsyncIterator[tuple[SubJob, bytes | None]]:
    for job in jobs:
        yield job, await ledger.jobs.result(job.id)


@dataclass(frozen=True, slots=True)
class _Ends:
    """How the sub-jobs of a job ended."""

    jobs: Sequence[SubJob]
    is_sequence: bool

    @property
    def succeeded(self) -> int:
        """How many gave something."""
        return sum(job.state in _SUCCEEDED for job in self.jobs)

    @property
    def last_to_compensate(self) -> int | None:
        """Of a sequence: the position that those before which are undone; None where none is."""
        if not self.is_sequence:
            return None
        nothing = [job.position for job in self.jobs if job.state in _CAME_TO_NOTHING]
        return nothing[-1] if nothing else None

    @property
    def _is_broken(self) -> bool:
        """Of a sequence: whether one failed, and what came after it did not say what then."""
        if not self.is_sequence:
            return False
        following = [*self.jobs[1:], None]
        return any(
            job.state in _CAME_TO_NOTHING and (after is None or after.spec.when is None)
            for job, after in zip(self.jobs, following, strict=True)
        )

    def verdict(
        self, *, is_cancelled: bool, stop: Stop | None, deadline_seconds: float | None
    ) -> tuple[JobState, Failure | None]:
        """The terminal state that these mean, and why, where the job failed."""
        if is_cancelled:
            return JobState.CANCELLED, None
        failed = [job for job in self.jobs if job.state in _CAME_TO_NOTHING]
        if deadline_seconds is not None:
            message = f"the job did not finish within {deadline_seconds:g} seconds"
            return JobState.FAILED, Failure(type=FailureType.DEADLINE_EXCEEDED, message=message)
        if stop is not None:
            count = sum(job.state is JobState.FAILED for job in self.jobs)
            message = (
                f"{count} of {len(self.jobs)} sub-jobs failed, more than the job "
                f"tolerates: tolerated_failures.{stop.rule}"
            )
            return JobState.FAILED, Failure(type=FailureType.TOLERANCE_EXCEEDED, message=message)
        if failed and not self.succeeded:
            message = f"none of {len(self.jobs)} sub-jobs succeeded"
            return JobState.FAILED, Failure(type=FailureType.ALL_JOBS_FAILED, message=message)
        if self._is_broken:
            first = failed[0]
            message = f"the sub-job {first.name} of the sequence {first.state}"
            if first.state is JobState.CANCELLED:
                message = f"the sub-job {first.name} of the sequence was cancelled"
            return JobState.FAILED, Failure(type=FailureType.SEQUENCE_FAILED, message=message)
        is_partial = failed or any(job.state is JobState.PARTIALLY_SUCCEEDED for job in self.jobs)
        return (JobState.PARTIALLY_SUCCEEDED if is_partial else JobState.SUCCEEDED), None


async def to_run_first(
    ledger: TenantLedger,
    given: CloseJob,
    terms: Terms,
    state: JobState,
    last: int | None = None,
    *,
    stop: Stop | None = None,
) -> list[JobInput]:
    """The compensations that are to be run before the job ends in this state, in order.

    The first of them, where they are many: the answer of an activity may not be of any size.

    `last`: the position before which all is undone also where the job does not fail.
    `stop`: the rule by which it fails. That stands: were its tolerance changed while it is undone,
    it would seem to have succeeded.
    """
    place = terms.place
    if not place.may_have_jobs:
        return []
    until = place.last_position if state in _CAME_TO_NOTHING else (last or 0) - 1
    job_id = given.job.id
    async with heartbeats():
        for due in await ledger.compensating.due(job_id, place.position, until):
            await ledger.compensating.record(due)
    jobs = await ledger.sub_jobs.compensations(job_id)
    if jobs and stop is not None:
        await ledger.closing.stop(job_id, stop)
    planned = await hand_out(ledger, given.job, terms, jobs[:_COMPENSATIONS_AT_ONCE])
    return [each.given for each in planned]
