"""Calls that the workflows share: children that never outlive them, writes that never fail."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TerminatedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import RECORD_LOST
    from fanfold.contract.wire import JobRef, LostChunks

Done = TypeVar("Done")

# Ledger writes are repeated until they succeed: a database that is away for an hour
# delays a job, it does not fail it.
LEDGER_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)
LEDGER_TIMEOUT = timedelta(seconds=60)


async def start_child(
    name: str,
    given: Any,  # noqa: ANN401 - the input of whichever workflow it is
    *,
    workflow_id: str,
    task_queue: str,
    result_type: type,
    close_policy: workflow.ParentClosePolicy = workflow.ParentClosePolicy.REQUEST_CANCEL,
) -> workflow.ChildWorkflowHandle[Any, Any]:
    """Start a child; raises WorkflowAlreadyStartedError where one of its id still runs."""
    starting = asyncio.ensure_future(
        workflow.start_child_workflow(
            name,
            given,
            id=workflow_id,
            result_type=result_type,
            task_queue=task_queue,
            # Of a chunk that is tried again, the child is another run of the same id.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # Children clean up when their parent is terminated, and the parent waits
            # for them when it is cancelled: no child outlives its job.
            parent_close_policy=close_policy,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    )
    try:
        # A start that is cancelled leaves a child behind that nobody waits for.
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        child = await starting
        child.cancel()
        return child


def how_it_ended(error: FailureError) -> str:
    """What became of a workflow that did not end by itself."""
    if isinstance(error.cause, TerminatedError):
        return "was terminated outside Fanfold"
    if is_cancelled_exception(error):
        return "was cancelled outside Fanfold"
    return f"failed: {error.cause or error}"


async def record_lost(job: JobRef, error: FailureError, *, index: int) -> None:
    """Write what a chunk's workflow can no longer write."""
    await record_lost_chunks(
        LostChunks(job=job, index=index, reason=f"the chunk's workflow {how_it_ended(error)}")
    )


async def record_lost_chunks(lost: LostChunks) -> None:
    """Write the failure of chunks that nobody else can write."""
    await workflow.execute_local_activity(
        RECORD_LOST,
        lost,
        start_to_close_timeout=LEDGER_TIMEOUT,
        retry_policy=LEDGER_RETRY,
    )


def details_of(error: FailureError) -> tuple[Any, ...]:
    """The details of the application error that an activity raised, under all it is wrapped in."""
    cause: BaseException | None = error.cause
    if isinstance(cause, ActivityError):
        cause = cause.cause
    return tuple(cause.details) if isinstance(cause, ApplicationError) else ()


async def to_the_end(work: Awaitable[Done]) -> Done:
    """Wait for this, whatever cancellation arrives meanwhile."""
    working = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            if working.cancelled():  # the workflow leaves this worker, which ends all of its tasks
                raise
