"""SubmitJob: a job from Temporal, by its command line, a schedule or another workflow."""

import asyncio
import dataclasses
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import Priority, RawValue, RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import (
        AWAIT_JOB,
        CANCEL_JOB,
        CHANGED,
        CLAIM_JOB,
        CLOSE_LOST_JOB,
        JOB_WORKFLOW,
        NAME_LEDGER,
        RANDOM_BITS,
        RECORD_JOB,
        SHOW_JOB,
        SUBMIT_JOB,
        job_id_of,
        job_task_queue,
        job_workflow_id,
    )
    from fanfold.contract.states import JobState
    from fanfold.contract.sub_jobs import LostJob
    from fanfold.contract.submissions import MOST_BYTES, ClaimedJob, SubmittedJob
    from fanfold.contract.wire import JobInput, JobRef
    from fanfold.workers.refusals import invalid_job
    from fanfold.workers.workflows.calls import (
        LEDGER_RETRY,
        LEDGER_TIMEOUT,
        how_it_ended,
        to_the_end,
    )

Given = TypeVar("Given")

_NOTHING: Final = RawValue(Payload())
# An attempt that finds that it is too early ends, and the server makes the next one: a wait of days
# takes no slot of a worker, and adds nothing to the history.
_POLLING: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
)


# Of more inputs than one Python says so; else the workflow would be stuck.
@workflow.defn(name=SUBMIT_JOB, failure_exception_types=[TypeError])
class SubmitJob:
    """One job, from its body to its end.

    Whichever worker takes it first decides in which ledger the job is. Workers of others may go on
    with it: activities are on the queue of that ledger.
    """

    def __init__(self) -> None:
        """Start with nothing recorded."""
        self._is_cancelled = False
        # The server refuses a workflow task that starts and cancels one workflow; both wait for
        # their answer while they hold this, so that they are never in the same task.
        self._job_workflow = asyncio.Lock()

    @workflow.run
    async def run(self, body: RawValue = _NOTHING) -> RawValue:
        """The finished job, as `GET /jobs/{id}` shows it."""
        if len(body.payload.data) > MOST_BYTES:
            message = f"at most {MOST_BYTES} bytes are allowed here: POST /jobs takes more"
            raise invalid_job("limit_exceeded", [("", message)])
        # A cancellation has to wait: what is being recorded may be there already.
        job = await to_the_end(self._record(body))
        # So that it can be found while it runs, by whoever has started this.
        workflow.upsert_memo({"job": job.job.id})
        ending = asyncio.ensure_future(self._run_job(job))
        # Asked for before and after: one that came while the job was recorded is not raised here,
        # nor perhaps one that comes in the same workflow task as a completion.
        if workflow.cancellation_reason() is None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
        if is_cancelled := workflow.cancellation_reason() is not None and not ending.done():
            await to_the_end(self._cancel(job.job))
        state = await to_the_end(ending)
        if is_cancelled and state == JobState.CANCELLED:
            raise asyncio.CancelledError
        return await to_the_end(_call(SHOW_JOB, job.job.ledger, job.job, gives=RawValue))

    async def _record(self, body: RawValue) -> SubmittedJob:
        ledger = await workflow.execute_local_activity(
            NAME_LEDGER, result_type=str, start_to_close_timeout=LEDGER_TIMEOUT
        )
        milliseconds = int(workflow.now().timestamp() * 1000)
        job_id = job_id_of(milliseconds, workflow.random().getrandbits(RANDOM_BITS))
        return await _call(RECORD_JOB, ledger, body, job_id, gives=SubmittedJob)

    async def _run_job(self, submitted: SubmittedJob) -> str:
        """Start the job in its time, and wait for its end; the state it ended in."""
        job = submitted.job
        await self._until(submitted.start_at)
        claimed = await _call(CLAIM_JOB, job.ledger, job, gives=ClaimedJob, retry_policy=_POLLING)
        given = claimed.given
        while True:
            try:
                async with self._job_workflow:
                    running = await self._start(given, claimed.priority)
                state: str = await running
            except WorkflowAlreadyStartedError:
                return await _end_of(job)  # a gateway was quicker
            except ChildWorkflowError as error:
                if isinstance(error.cause, TerminatedError) and await _is_running(job):
                    # Another one took its place, of the next release, or of a gateway.
                    return await _end_of(job)
                reason = f"its workflow {how_it_ended(error)}"
                lost = LostJob(job=job, reason=reason, is_given_up=given.lost is not None)
                state = await _call(CLOSE_LOST_JOB, job.ledger, lost, gives=str)
                if not JobState(state).is_terminal:
                    given = dataclasses.replace(given, lost=reason)
                    continue
            return state

    async def _start(
        self, given: JobInput, priority: int
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        """Start the job's workflow, or the one that undoes what it did."""
        job, reuse = given.job, WorkflowIDReusePolicy.REJECT_DUPLICATE
        if given.lost is not None:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        return await workflow.start_child_workflow(
            JOB_WORKFLOW,
            given,
            id=job_workflow_id(job.id, job.run),
            result_type=str,
            task_queue=job_task_queue(job.ledger),
            id_reuse_policy=reuse,
            # Who terminates this wants the work to stop: so does Temporal itself, which
            # terminates children whose parent has ended.
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            priority=Priority(priority_key=priority, fairness_key=job.id),
        )

    async def _until(self, start_at: int | None) -> None:
        """Wait for the time of the job, or for its cancellation."""
        seconds = start_at / 1000 - workflow.now().timestamp() if start_at is not None else 0
        if seconds > 0:
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self._is_cancelled, timeout=seconds)

    async def _cancel(self, job: JobRef) -> None:
        """Let the job end; it is started even now where it was not, which closes it."""
        await _call(CANCEL_JOB, job.ledger, job, gives=type(None))
        self._is_cancelled = True
        async with self._job_workflow:
            with suppress(ApplicationError):  # there is none yet
                await _workflow_of(job).cancel()


async def _call(
    name: str,
    ledger: str,
    *given: RawValue | JobRef | LostJob | str,
    gives: type[Given],
    retry_policy: RetryPolicy = LEDGER_RETRY,
) -> Given:
    """Have a worker on this ledger do this."""
    try:
        done: Given = await workflow.execute_activity(
            name,
            args=given,
            result_type=gives,
            task_queue=job_task_queue(ledger),
            start_to_close_timeout=LEDGER_TIMEOUT,
            retry_policy=retry_policy,
        )
    except ActivityError as error:
        # Itself, so that whoever has started this finds its type, and does not try again.
        raise error.cause or error from None
    return done


async def _end_of(job: JobRef) -> str:
    return await _call(AWAIT_JOB, job.ledger, job, gives=str, retry_policy=_POLLING)


async def _is_running(job: JobRef) -> bool:
    """Whether there is an open workflow of the job."""
    try:
        await _workflow_of(job).signal(CHANGED)
    except ApplicationError:
        return False
    return True


def _workflow_of(job: JobRef) -> workflow.ExternalWorkflowHandle[Any]:
    return workflow.get_external_workflow_handle(job_workflow_id(job.id, job.run))
