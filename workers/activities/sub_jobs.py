"""The activities around the jobs that a job is made of: what comes next, and what was lost."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from temporalio import activity

from fanfold.contract import conditions, json_values
from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import Execution, Order
from fanfold.contract.names import CLOSE_LOST_JOB, PLAN_JOBS, PLAN_NEXT_JOB
from fanfold.contract.plan import ONE_OF_MANY, execution_of
from fanfold.contract.settings import IntakeSettings
from fanfold.contract.states import JobState
from fanfold.contract.sub_jobs import LostJob, PlanJobs, PlannedJob, PlannedJobs
from fanfold.contract.wire import JobInput, JobRef
from fanfold.intake.cutting import DEFAULT_CHUNK_SIZE, Cut, item_text
from fanfold.intake.cutting import chunks as cut_chunks
from fanfold.intake.faults import InvalidJob
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.jobs import Terms
from fanfold.ledger.lost import close_as_it_stands
from fanfold.ledger.records import JobRecord, NewChunk, Stop
from fanfold.ledger.sub_jobs import SubJob
from fanfold.workers.activities.lifeline import heartbeats
from fanfold.workers.tolerance import is_past_tolerance

# More than workers have cores, mostly.
_FEW = 4


class SubJobActivities:
    """Says which sub-jobs a job's workflow is to start, and ends those that are not to be."""

    def __init__(self, ledger: Ledger, limits: IntakeSettings) -> None:
        """Take what the activities depend on, and how much one job may be."""
        self._ledger = ledger
        self._limits = limits

    @activity.defn(name=PLAN_JOBS)
    async def plan_jobs(self, given: PlanJobs) -> PlannedJobs:
        """The next sub-jobs that have not ended, of those that run in parallel."""
        ledger, job = self._ledger.of(given.job.tenant), given.job
        terms = await ledger.jobs.terms(job.id)
        if (stop := await _reason_to_stop(ledger, job, terms)) is not None or terms is None:
            return stop or PlannedJobs(jobs=[], is_last=True)
        found = await ledger.sub_jobs.unfinished(job.id, after=given.after, limit=given.limit + 1)
        jobs = found[: given.limit]
        return PlannedJobs(
            jobs=await hand_out(ledger, job, terms, jobs),
            is_last=len(found) <= given.limit,
        )

    @activity.defn(name=PLAN_NEXT_JOB)
    async def plan_next_job(self, given: PlanJobs) -> PlannedJobs:
        """The next sub-job of those that run one after another, once it has its items.

        Those before it that are not to run are ended.
        """
        ledger, job = self._ledger.of(given.job.tenant), given.job
        async with heartbeats():
            while True:
                terms = await ledger.jobs.terms(job.id)
                if (stop := await _reason_to_stop(ledger, job, terms)) is not None or terms is None:
                    return stop or PlannedJobs(jobs=[], is_last=True)
                all_jobs = await ledger.sub_jobs.all_of(job.id)
                at = next((at for at, one in enumerate(all_jobs) if not one.state.is_terminal), -1)
                if at < 0:
                    return PlannedJobs(jobs=[], is_last=True)
                chosen = all_jobs[at]
                turn = _Turn(ledger, self._limits, all_jobs[:at], chosen)
                if chosen.has_begun or await turn.is_to_run():
                    jobs = await ledger.sub_jobs.unfinished(
                        job.id, after=chosen.position - 1, limit=1
                    )
                    planned = await hand_out(ledger, job, terms, jobs)
                    return PlannedJobs(jobs=planned, is_last=False)

    @activity.defn(name=CLOSE_LOST_JOB)
    async def close_lost_job(self, given: LostJob) -> str:
        """Close a job whose workflow has ended without that; the state it is in.

        Which is no terminal one where something may have to be undone first: that takes a workflow.
        """
        ledger, job = self._ledger.of(given.job.tenant), given.job
        terms = await ledger.jobs.terms(job.id)
        if terms is None:
            return JobState.FAILED
        if terms.state.is_terminal or terms.run != job.run:
            return terms.state
        if not given.is_given_up and await ledger.compensating.may_be_due(job.id):
            return terms.state
        is_cancelled = terms.state is JobState.CANCELLING
        return await close_as_it_stands(
            ledger, job.id, job.run, is_cancelled=is_cancelled, why=given.reason
        )


async def hand_out(
    ledger: TenantLedger, parent: JobRef, terms: Terms, jobs: Sequence[SubJob]
) -> list[PlannedJob]:
    """These sub-jobs, ready to be started, by the workflow of the job that is made of them."""
    if not jobs:
        return []
    execution = await _execution_of_tree(ledger, terms)
    await ledger.sub_jobs.hand_out(jobs, execution)
    is_one_of_many = (
        terms.spec.order is Order.PARALLEL and min(terms.place.sub_jobs, terms.spec.max_jobs) > _FEW
    )
    planned: list[PlannedJob] = []
    for job in jobs:
        ref = JobRef(id=job.id, tenant=parent.tenant, ledger=parent.ledger, run=job.run)
        spec = job.spec_running(execution)
        given = JobInput.of(ref, job.total_chunks, spec, job.controls)
        if is_one_of_many:
            given = replace(given, tuning=ONE_OF_MANY)
        planned.append(PlannedJob(position=job.position, given=given))
    return planned


async def _execution_of_tree(ledger: TenantLedger, terms: Terms) -> Execution:
    """How chunks run where that was left open: by how many there are in the whole tree."""
    root = terms
    if terms.place.root is not None:
        root = await ledger.jobs.terms(terms.place.root) or terms
    return execution_of(root.total_chunks)


async def _reason_to_stop(
    ledger: TenantLedger, job: JobRef, terms: Terms | None
) -> PlannedJobs | None:
    """What to answer where nothing may start now; None where it may."""
    nothing = PlannedJobs(jobs=[], is_last=True)
    if terms is None or terms.run != job.run or terms.is_draining:
        return nothing
    if terms.state is not JobState.RUNNING:
        return PlannedJobs(jobs=[], is_last=True, is_refused=True)
    rule = await is_past_tolerance(ledger, job.id, terms, final=False)
    if rule is not None:
        await ledger.closing.stop(job.id, Stop(rule, None))
        return PlannedJobs(jobs=[], is_last=True, is_tolerance_exceeded=True)
    return None


class _Turn:
    """The turn of a sub-job in a sequence."""

    def __init__(
        self,
        ledger: TenantLedger,
        limits: IntakeSettings,
        before: Sequence[SubJob],
        job: SubJob,
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._before = before
        self._job = job

    async def is_to_run(self) -> bool:
        """Whether it is to run; if not, it has been ended."""
        job, spec = self._job, self._job.spec
        if job.state is JobState.CANCELLING:
            await self._end(JobState.CANCELLED)
            return False
        try:
            if spec.when is not None:
                seen = await self._seen(spec.when)
                if not await asyncio.to_thread(conditions.holds, spec.when, seen):
                    await self._end(JobState.SKIPPED)
                    return False
            elif self._before and self._before[-1].state in _CAME_TO_NOTHING:
                await self._end(JobState.CANCELLED)
                return False
            # In a later run it may have been given some, and not have come to them.
            if spec.has_previous_input and (job.run > 1 or not job.total_chunks):
                await self._give_input()
        except conditions.UndecidableCondition as error:
            failure = Failure(type=FailureType.CONDITION_FAILED, message=str(error))
            await self._end(JobState.FAILED, failure)
            return False
        except InvalidJob as error:
            message = f"the result of the sub-job before cannot be its items: {error.detail}"
            failure = Failure(type=FailureType.INVALID_INPUT, message=message)
            await self._end(JobState.FAILED, failure)
            return False
        return True

    async def _seen(self, when: str) -> object:
        """What the condition is over."""
        # Results may be large: they are read where the condition may ask for them.
        may_ask_for_all = "jobs" in when or any(sign in when for sign in "\\@*")
        wanted = self._before if may_ask_for_all else self._before[-1:]
        seen = {job.name: await self._view(job) for job in wanted}
        previous = seen[self._before[-1].name] if self._before else None
        return {"previous": previous, "jobs": seen}

    async def _view(self, job: SubJob) -> object:
        record = await self._ledger.jobs.find(job.id)
        body = await self._ledger.jobs.result(job.id)
        return None if record is None else await asyncio.to_thread(_shown, record, body)

    async def _give_input(self) -> None:
        """Make the result of the sub-job before, which was not skipped, the items of this one."""
        before = [job for job in self._before if job.state is not JobState.SKIPPED]
        body = await self._ledger.jobs.result(before[-1].id) if before else None
        chunks = await asyncio.to_thread(self._cut, body or b"null")
        ancestors = await self._ledger.sub_jobs.ancestors(self._job.id)
        await self._ledger.sub_jobs.give_input(self._job, ancestors, chunks)

    def _cut(self, body: bytes) -> list[NewChunk]:
        """The elements of an array, or the one value that it is, as chunks; raises InvalidJob."""
        value, spec = json_values.decode(body), self._job.spec
        items = value if isinstance(value, list) else [value]
        cut = Cut(spec.chunk_size or DEFAULT_CHUNK_SIZE, spec.max_chunk_bytes)
        texts = ([item_text(item, self._limits, ("items", at))] for at, item in enumerate(items))
        return list(cut_chunks(texts, cut, self._limits))

    async def _end(self, state: JobState, failure: Failure | None = None) -> None:
        ledger, job = self._ledger, self._job
        # Those below may be in a later run than it is.
        await ledger.closing.settle_below(job.id)
        if job.run == 1 and state is JobState.SKIPPED:
            await ledger.sub_jobs.skip(job.id)
            return
        if job.run == 1 and state is JobState.CANCELLED:
            await ledger.sub_jobs.cancel_unbegun(job.id)
            return
        await ledger.closing.settle(job.id, job.run)
        await ledger.closing.close(job.id, state, error=failure, run=job.run)


_CAME_TO_NOTHING = (JobState.FAILED, JobState.CANCELLED)


def _shown(job: JobRecord, body: bytes | None) -> dict[str, object]:
    """A sub-job as conditions see it."""
    counts = job.counts
    judged = counts.items_succeeded + counts.items_failed
    return {
        "state": str(job.state),
        "result": json_values.decode(body) if body is not None else None,
        "chunks": {
            "total": job.total_chunks,
            "succeeded": counts.succeeded,
            "partially_succeeded": counts.partially_succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
        "items": {
            "total": job.total_items,
            "succeeded": counts.items_succeeded,
            "failed": counts.items_failed,
        },
        "success_rate": counts.items_succeeded / judged if judged else None,
    }
