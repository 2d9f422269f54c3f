"""The parent workflow: plan, fan out, fold, close."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from contract.names import (
        CLOSE_JOB,
        JOB_TASK_QUEUE,
        JOB_WORKFLOW,
        OPEN_JOB,
        RELEASE_SLOTS,
        SHARD_WORKFLOW,
        STOP,
        shard_workflow_id,
    )
    from contract.wire import (
        SHARDS_AT_ONCE,
        CloseJob,
        JobInput,
        ShardInput,
        ShardOutcome,
        SlotsReleased,
    )
    from workers.workflows.calls import (
        LEDGER_RETRY,
        LEDGER_TIMEOUT,
        end_of,
        record_lost,
        start_child,
    )
    from workers.workflows.children import ChunkChildren
    from workers.workflows.fan_out import fan_out

_CLOSE_TIMEOUT = timedelta(hours=1)
_CLOSE_HEARTBEAT_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=JOB_WORKFLOW)
class JobWorkflow:
    """One job: its window of children, the fold over the survivors, its end.

    A small job starts a child for each chunk itself; a large one starts shards, which
    do that for a range of chunks each. The window is the job's: shards get shares of it.
    """

    @workflow.init
    def __init__(self, job: JobInput) -> None:
        """Start with the whole window free."""
        self._job = job
        self._pace = job.pace
        self._is_stopped = False
        self._free_slots = job.max_concurrency
        self._lent_slots: dict[int, int] = {}

    @workflow.run
    async def run(self, job: JobInput) -> str:
        """The state the job ended in."""
        is_cancelled = False
        try:
            await self._open()
            await (self._run_shards() if job.shard_chunks else self._run_chunks())
        except asyncio.CancelledError:
            is_cancelled = True
        # Asked again: a cancellation that arrives in the same workflow task as a
        # completion may not raise anything.
        is_cancelled = is_cancelled or workflow.cancellation_reason() is not None
        state = await self._close(is_cancelled=is_cancelled)
        if is_cancelled:
            raise asyncio.CancelledError
        return state

    @workflow.signal(name=STOP)
    def stop(self) -> None:
        """Start nothing more: the job bears no more failures."""
        self._is_stopped = True

    @workflow.signal(name=RELEASE_SLOTS)
    def release_slots(self, released: SlotsReleased) -> None:
        """Take back slots that a shard has no more use for."""
        if released.shard in self._lent_slots:
            self._lent_slots[released.shard] -= released.slots
            self._free_slots += released.slots

    async def _open(self) -> None:
        """Mark the job as running; one cancelled before it began goes straight to its end."""
        may_run: bool = await workflow.execute_local_activity(
            OPEN_JOB,
            self._job.job_id,
            result_type=bool,
            start_to_close_timeout=LEDGER_TIMEOUT,
            retry_policy=LEDGER_RETRY,
        )
        if not may_run:
            raise asyncio.CancelledError

    async def _run_chunks(self) -> None:
        children = ChunkChildren(
            self._job.job_id, self._job.stages, self._pace, on_tolerance_exceeded=self.stop
        )
        width = min(self._job.max_concurrency, self._job.total_chunks)
        await fan_out(self._going(self._job.total_chunks), children.run_chunk, width=width)

    async def _run_shards(self) -> None:
        """Start shards as slots for them come free, and wait for all of them."""
        job, running = self._job, list[asyncio.Task[None]]()
        count = -(-job.total_chunks // job.shard_chunks)
        at_once = min(SHARDS_AT_ONCE, count, job.max_concurrency)
        share = job.max_concurrency // at_once
        try:
            for number in self._going(count):
                await workflow.wait_condition(lambda: self._free_slots >= share or self._is_stopped)
                if self._is_stopped:
                    break
                # Evenly among those that may start now: a division leaves nothing unused.
                places = min(at_once - len(self._lent_slots), count - number)
                slots = min(self._free_slots // max(places, 1), job.shard_chunks)
                self._free_slots -= slots
                self._lent_slots[number] = slots
                has_successors = number < count - 1
                running.append(
                    asyncio.ensure_future(self._run_shard(number, slots, has_successors))
                )
            await asyncio.gather(*running)
        except asyncio.CancelledError:
            for shard in running:
                shard.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            raise

    async def _run_shard(self, number: int, slots: int, has_successors: bool) -> None:
        """One shard, from start to the last of its chunks' outcomes."""
        job = self._job
        first = number * job.shard_chunks
        count = min(job.shard_chunks, job.total_chunks - first)
        try:
            child = await start_child(
                SHARD_WORKFLOW,
                ShardInput(
                    job_id=job.job_id,
                    number=number,
                    first=first,
                    count=count,
                    width=slots,
                    stages=job.stages,
                    execution=job.execution,
                    has_successors=has_successors,
                    pace=self._pace,
                ),
                workflow_id=shard_workflow_id(job.job_id, number),
                task_queue=JOB_TASK_QUEUE,
                result_type=ShardOutcome,
            )
            outcome: ShardOutcome = await end_of(child)
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            if workflow.cancellation_reason() is None:
                await record_lost(job.job_id, first, error, count=count)
        else:
            self._pace = outcome.pace
            self._is_stopped = self._is_stopped or outcome.is_tolerance_exceeded
        self._free_slots += self._lent_slots.pop(number)

    def _going(self, end: int) -> Iterator[int]:
        """0 to before `end`, for as long as there is no reason to stop."""
        for index in range(end):
            if self._is_stopped or workflow.cancellation_reason() is not None:
                return
            yield index

    async def _close(self, *, is_cancelled: bool) -> str:
        """Fold and close, to the end, whatever cancellation arrives meanwhile."""
        closing = asyncio.ensure_future(
            workflow.execute_activity(
                CLOSE_JOB,
                CloseJob(
                    job_id=self._job.job_id,
                    is_cancelled=is_cancelled,
                    is_tolerance_exceeded=self._is_stopped,
                ),
                result_type=str,
                start_to_close_timeout=_CLOSE_TIMEOUT,
                heartbeat_timeout=_CLOSE_HEARTBEAT_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
        )
        while True:
            try:
                state: str = await asyncio.shield(closing)
            except asyncio.CancelledError:
                continue
            return state
