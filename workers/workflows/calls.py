"""Calls that the workflows share: children that never outlive them, writes that never fail."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TerminatedError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from contract.names import RECORD_LOST_CHUNK
    from contract.wire import LostChunk

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
) -> workflow.ChildWorkflowHandle[Any, Any]:
    """Start a child; raises WorkflowAlreadyStartedError where one of its id has run."""
    starting = asyncio.ensure_future(
        workflow.start_child_workflow(
            name,
            given,
            id=workflow_id,
            result_type=result_type,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            # Children clean up when their parent is terminated, and the parent waits
            # for them when it is cancelled: no child outlives its job.
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
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


async def end_of(
    child: workflow.ChildWorkflowHandle[Any, Any],
) -> Any:  # noqa: ANN401 - the outcome of whichever workflow it is
    """The outcome of a child that may continue as new; when cancelled, that of its clean-up."""
    try:
        return await asyncio.shield(child)
    except asyncio.CancelledError:
        # Cancelling the handle would ask the child's first run only, which may be over.
        with contextlib.suppress(ApplicationError):  # the child is over altogether
            await workflow.get_external_workflow_handle(child.id).cancel()
        return await child


async def record_lost(job_id: str, index: int, error: FailureError, *, count: int = 1) -> None:
    """Write what a chunk's workflow, or a shard's with all its chunks, can no longer write."""
    whose = "the chunk's workflow" if count == 1 else "the workflow of the chunk's shard"
    await workflow.execute_local_activity(
        RECORD_LOST_CHUNK,
        LostChunk(job_id=job_id, index=index, count=count, reason=f"{whose} {_end(error)}"),
        start_to_close_timeout=LEDGER_TIMEOUT,
        retry_policy=LEDGER_RETRY,
    )


def details_of(error: FailureError) -> tuple[Any, ...]:
    """The details of the application error that an activity raised, under all it is wrapped in."""
    cause: BaseException | None = error.cause
    if isinstance(cause, ActivityError):
        cause = cause.cause
    return tuple(cause.details) if isinstance(cause, ApplicationError) else ()


def _end(error: FailureError) -> str:
    if isinstance(error, WorkflowAlreadyStartedError):
        return "had run before, without recording an outcome"
    if isinstance(error.cause, TerminatedError):
        return "was terminated outside Fanfold"
    if is_cancelled_exception(error):
        return "was cancelled outside Fanfold"
    return f"failed: {error.cause or error}"
