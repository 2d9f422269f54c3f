"""The parent workflow: plan, fan out, fold, close."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from contract.names import (
        CHUNK_TASK_QUEUE,
        CHUNK_WORKFLOW,
        CLOSE_JOB,
        JOB_WORKFLOW,
        OPEN_JOB,
        RECORD_LOST_CHUNK,
        chunk_workflow_id,
    )
    from contract.states import ChunkState
    from contract.wire import (
        QUICK_SAMPLE,
        QUICK_SECONDS,
        RECORDED,
        ChunkInput,
        ChunkOutcome,
        CloseJob,
        JobInput,
        LostChunk,
    )
    from workers.workflows.fan_out import fan_out

# The server warns at 10,240 events and ends a workflow at 51,200. A child costs 3 to 4
# events, 9 at worst, so a run of this length holds about 2,000 children.
MAX_EVENTS_IN_A_RUN = 8_000

# Ledger writes are repeated until they succeed: a database that is away for an hour
# delays a job, it does not fail it.
_LEDGER_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)
_LEDGER_TIMEOUT = timedelta(seconds=60)
_CLOSE_TIMEOUT = timedelta(hours=1)
_CLOSE_HEARTBEAT_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=JOB_WORKFLOW)
class JobWorkflow:
    """One job: its window of children, the fold over the survivors, its end."""

    @workflow.init
    def __init__(self, job: JobInput) -> None:
        """Go on from the counts of an earlier run, where there was one."""
        self._job = job
        self._next_index = job.next_index
        self._succeeded = job.succeeded
        self._failed = job.failed
        self._quick_streak = job.quick_streak

    @workflow.run
    async def run(self, job: JobInput) -> str:
        """The state the job ended in."""
        is_cancelled = False
        try:
            if await self._open():
                await self._fan_out()
        except asyncio.CancelledError:
            is_cancelled = True
        # Asked again: a cancellation that arrives in the same workflow task as a
        # completion may not raise anything.
        is_cancelled = is_cancelled or workflow.cancellation_reason() is not None
        if self._next_index < job.total_chunks and not (is_cancelled or self._is_over()):
            self._continue_as_new()
        state = await self._close(is_cancelled=is_cancelled)
        if is_cancelled:
            raise asyncio.CancelledError
        return state

    async def _open(self) -> bool:
        """Whether the job may run; one cancelled before it began goes straight to its end."""
        may_run: bool = await workflow.execute_local_activity(
            OPEN_JOB,
            self._job.job_id,
            result_type=bool,
            start_to_close_timeout=_LEDGER_TIMEOUT,
            retry_policy=_LEDGER_RETRY,
        )
        if not may_run:
            raise asyncio.CancelledError
        return may_run

    async def _fan_out(self) -> None:
        remaining = self._job.total_chunks - self._next_index
        width = min(self._job.max_concurrency, remaining)
        await fan_out(self._indexes(), self._run_chunk, width=width)

    def _indexes(self) -> Iterator[int]:
        """The chunks to start, for as long as there is no reason to stop."""
        while self._next_index < self._job.total_chunks and not self._is_over():
            if workflow.info().get_current_history_length() > MAX_EVENTS_IN_A_RUN:
                return
            self._next_index += 1
            yield self._next_index - 1

    def _is_over(self) -> bool:
        return workflow.cancellation_reason() is not None or self._is_tolerance_exceeded()

    def _is_tolerance_exceeded(self) -> bool:
        tolerance = self._job.tolerance
        return tolerance is not None and tolerance.is_exceeded(
            succeeded=self._succeeded, failed=self._failed, final=False
        )

    async def _run_chunk(self, index: int) -> None:
        """One child, from start to recorded outcome."""
        try:
            outcome = await (await self._start_child(index))
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            if not _is_recorded(error):
                # Of a job being cancelled, whatever has no outcome is cancelled: also a
                # chunk whose attempt broke while it was told to stop.
                if workflow.cancellation_reason() is not None:
                    return
                await self._record_lost(index, error)
            self._failed += 1
        else:
            self._succeeded += outcome.state is ChunkState.SUCCEEDED
            is_quick = outcome.seconds <= QUICK_SECONDS
            self._quick_streak = self._quick_streak + 1 if is_quick else 0

    async def _start_child(self, index: int) -> workflow.ChildWorkflowHandle[Any, ChunkOutcome]:
        starting = asyncio.ensure_future(
            workflow.start_child_workflow(
                CHUNK_WORKFLOW,
                ChunkInput(
                    job_id=self._job.job_id,
                    index=index,
                    stages=self._job.stages,
                    is_quick=self._quick_streak >= QUICK_SAMPLE,
                ),
                id=chunk_workflow_id(self._job.job_id, index),
                result_type=ChunkOutcome,
                task_queue=CHUNK_TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # Children clean up when their parent is terminated, and the parent waits
                # for them when it is cancelled: no child outlives its job.
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                cancellation_type=(
                    workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
                ),
            )
        )
        try:
            # A start that is cancelled leaves a child behind that nobody waits for.
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            child = await starting
            child.cancel()
            return child

    async def _record_lost(self, index: int, error: FailureError) -> None:
        """Write what the chunk itself can no longer write."""
        await workflow.execute_local_activity(
            RECORD_LOST_CHUNK,
            LostChunk(job_id=self._job.job_id, index=index, reason=_reason(error)),
            start_to_close_timeout=_LEDGER_TIMEOUT,
            retry_policy=_LEDGER_RETRY,
        )

    def _continue_as_new(self) -> None:
        """Go on in a fresh history; no child is open, since the window has drained."""
        workflow.continue_as_new(
            JobInput(
                job_id=self._job.job_id,
                total_chunks=self._job.total_chunks,
                max_concurrency=self._job.max_concurrency,
                stages=self._job.stages,
                tolerance=self._job.tolerance,
                next_index=self._next_index,
                succeeded=self._succeeded,
                failed=self._failed,
                quick_streak=self._quick_streak,
            )
        )

    async def _close(self, *, is_cancelled: bool) -> str:
        """Fold and close, to the end, whatever cancellation arrives meanwhile."""
        closing = asyncio.ensure_future(
            workflow.execute_activity(
                CLOSE_JOB,
                CloseJob(
                    job_id=self._job.job_id,
                    is_cancelled=is_cancelled,
                    is_tolerance_exceeded=self._is_tolerance_exceeded(),
                ),
                result_type=str,
                start_to_close_timeout=_CLOSE_TIMEOUT,
                heartbeat_timeout=_CLOSE_HEARTBEAT_TIMEOUT,
                retry_policy=_LEDGER_RETRY,
            )
        )
        while True:
            try:
                state: str = await asyncio.shield(closing)
            except asyncio.CancelledError:
                continue
            return state


def _is_recorded(error: FailureError) -> bool:
    """Whether the chunk's activity wrote the failure to the ledger before it raised it."""
    cause = error.cause
    if isinstance(cause, ActivityError):
        cause = cause.cause
    return isinstance(cause, ApplicationError) and RECORDED in cause.details


def _reason(error: FailureError) -> str:
    if isinstance(error, WorkflowAlreadyStartedError):
        return "the chunk's workflow had run before, without recording an outcome"
    if isinstance(error.cause, TerminatedError):
        return "the chunk's workflow was terminated outside Fanfold"
    if is_cancelled_exception(error):
        return "the chunk's workflow was cancelled outside Fanfold"
    return f"the chunk's workflow failed: {error.cause or error}"
