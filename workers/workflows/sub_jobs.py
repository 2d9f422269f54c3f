"""Sub-jobs as children: the jobs that a job is made of, started by its workflow."""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import (
        CLOSE_LOST_JOB,
        JOB_WORKFLOW,
        PLAN_JOBS,
        PLAN_NEXT_JOB,
        job_task_queue,
        job_workflow_id,
    )
    from fanfold.contract.states import JobState
    from fanfold.contract.sub_jobs import LostJob, PlanJobs, PlannedJob, PlannedJobs
    from fanfold.contract.wire import JobInput
    from fanfold.workers.workflows.calls import (
        LEDGER_RETRY,
        LEDGER_TIMEOUT,
        how_it_ended,
        start_child,
    )
    from fanfold.workers.workflows.window import Running

_JOBS_A_PAGE = 50
# At what somebody else runs, which tells nobody here that it has ended.
_LOOK_AGAIN_SECONDS = 5
_LOOK_AGAIN_AT_MOST_SECONDS = 600
# Of a sequence: it reads what a sub-job gave, and makes the items of the next one of it.
_PLAN_TIMEOUT = timedelta(minutes=10)
_PLAN_HEARTBEAT_TIMEOUT = timedelta(seconds=60)


class SubJobs:
    """Runs the sub-jobs of a job, each as a job of its own, so many at a time.

    What is left of them is in the ledger: those that have not ended are started, in order.
    """

    def __init__(
        self,
        job: JobInput,
        *,
        is_going: Callable[[], bool],
        on_tolerance_exceeded: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        """`is_going` is asked before each start; `on_refused` is called where none may start."""
        self._job = job
        self._is_going = is_going
        self._on_tolerance_exceeded = on_tolerance_exceeded
        self._on_refused = on_refused
        self._running = Running()
        self._in_flight = 0
        self._ready: deque[PlannedJob] = deque()

    def changed(self) -> None:
        """Look again: there may be a reason to stop."""
        self._running.changed()

    async def run(self) -> None:
        """Run what has not ended; returns once none is in flight.

        When cancelled, raises CancelledError once everything in flight has settled.
        """
        after, is_last = -1, False
        most = 1 if self._job.is_sequence else self._job.max_jobs
        try:
            while True:
                is_going = self._is_going()
                while is_going and self._ready and self._in_flight < most:
                    self._in_flight += 1
                    self._running.start(self._run_job(self._ready.popleft()))
                has_room = is_going and self._in_flight < most and not self._ready
                if has_room and not is_last:
                    plan = await self._plan(after)
                    self._ready.extend(plan.jobs)
                    # Of a sequence, the next one is asked for when this one has ended.
                    # Where none may start now, what is left is asked for once that has changed.
                    is_last = plan.is_last and not plan.is_refused
                    if plan.jobs and not self._job.is_sequence:
                        after = plan.jobs[-1].position
                    continue
                if not self._in_flight and (not is_going or (is_last and not self._ready)):
                    return
                await self._running.wait()
        except asyncio.CancelledError:
            await self._running.cancel()
            raise

    async def _plan(self, after: int) -> PlannedJobs:
        given = PlanJobs(job=self._job.job, after=after, limit=_JOBS_A_PAGE)
        plan: PlannedJobs
        if self._job.is_sequence:
            plan = await workflow.execute_activity(
                PLAN_NEXT_JOB,
                given,
                result_type=PlannedJobs,
                start_to_close_timeout=_PLAN_TIMEOUT,
                heartbeat_timeout=_PLAN_HEARTBEAT_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
        else:
            plan = await workflow.execute_local_activity(
                PLAN_JOBS,
                given,
                result_type=PlannedJobs,
                start_to_close_timeout=LEDGER_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
        if plan.is_refused:
            self._on_refused()
        if plan.is_tolerance_exceeded:
            self._on_tolerance_exceeded()
        return plan

    async def _run_job(self, planned: PlannedJob) -> None:
        try:
            state = await run_sub_job(planned.given)
            if state is None:
                # One that a workflow before this one started still runs.
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                self._on_refused()
            elif state == JobState.FAILED:
                await self._look_for_stop()
        finally:
            self._in_flight -= 1

    async def _look_for_stop(self) -> None:
        """Whether the job bears no more failures."""
        try:
            plan: PlannedJobs = await workflow.execute_local_activity(
                PLAN_JOBS,
                PlanJobs(job=self._job.job, limit=0),
                result_type=PlannedJobs,
                start_to_close_timeout=LEDGER_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
        except ActivityError as error:
            if not is_cancelled_exception(error):
                raise
            return
        if plan.is_tolerance_exceeded:
            self._on_tolerance_exceeded()


async def compensate(given: JobInput, *, again_in_seconds: float) -> bool:
    """Run what undoes a job; it goes on whatever becomes of that.

    False where somebody else has started it: then this has waited for so long, ten minutes at most.
    """
    state = await run_sub_job(given, workflow.ParentClosePolicy.ABANDON)
    if state is None:
        await asyncio.sleep(min(again_in_seconds, _LOOK_AGAIN_AT_MOST_SECONDS))
    return state is not None


async def run_sub_job(
    given: JobInput,
    close_policy: workflow.ParentClosePolicy = workflow.ParentClosePolicy.REQUEST_CANCEL,
) -> str | None:
    """Run a job as a child, from its start to its recorded end.

    The state that it ended in; None where a workflow of it runs already, which somebody else has
    started.
    """
    while True:
        try:
            child = await start_child(
                JOB_WORKFLOW,
                given,
                workflow_id=job_workflow_id(given.job.id, given.job.run),
                task_queue=job_task_queue(given.job.ledger),
                result_type=str,
                close_policy=close_policy,
            )
            state: str = await child
        except WorkflowAlreadyStartedError:
            return None
        except ChildWorkflowError as error:
            reason = f"its workflow {how_it_ended(error)}"
            # One that closed itself, when it was cancelled, stays as it is.
            state = await workflow.execute_local_activity(
                CLOSE_LOST_JOB,
                LostJob(job=given.job, reason=reason, is_given_up=given.lost is not None),
                result_type=str,
                start_to_close_timeout=LEDGER_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
            if not JobState(state).is_terminal:
                given = dataclasses.replace(given, lost=reason)
                continue
        return state
