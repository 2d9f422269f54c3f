"""The parent workflow: open, walk until the ledger has no work left, fold, close."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.job_spec import Execution
    from fanfold.contract.names import (
        BLOCK_SLOTS_RETURNED,
        CHANGED,
        CLOSE_JOB,
        JOB_WORKFLOW,
        LOOK_AT_JOB,
        OPEN_JOB,
        SLOTS_RETURNED,
        STOP,
    )
    from fanfold.contract.plan import NO_SHARD, indexes_of
    from fanfold.contract.wire import (
        BlockSlotsReturned,
        ClosedJob,
        CloseJob,
        JobInput,
        JobTerms,
        LostChunks,
        OpenedJob,
        Page,
        PageInput,
        SlotsReturned,
    )
    from fanfold.workers.workflows.blocks import Blocks
    from fanfold.workers.workflows.calls import (
        LEDGER_RETRY,
        LEDGER_TIMEOUT,
        record_lost_chunks,
        to_the_end,
    )
    from fanfold.workers.workflows.children import Children
    from fanfold.workers.workflows.replaced import end_replaced
    from fanfold.workers.workflows.shards import Shards
    from fanfold.workers.workflows.sub_jobs import SubJobs, compensate
    from fanfold.workers.workflows.window import Window

_CLOSE_TIMEOUT = timedelta(hours=1)
_CLOSE_HEARTBEAT_TIMEOUT = timedelta(seconds=60)
# A walk that leaves as much as the one before is repeated, later and later; then what is
# left has failed. So no job stays running for ever.
_WALKS_IN_VAIN = 3
_LOOK_AGAIN_SECONDS = 5.0


@workflow.defn(name=JOB_WORKFLOW)
class JobWorkflow:
    """One job: its window of children, the fold over the survivors, its end.

    The ledger plans, the workflow walks: it asks for chunks without an outcome, runs them,
    and asks again until there are none. A small job starts its children or blocks itself;
    any other starts shards, and lends them the slots of its window.
    """

    @workflow.init
    def __init__(self, job: JobInput) -> None:
        """Start with the whole window free."""
        self._job = job
        self._window = Window(job.max_concurrency)
        self._is_stopped = False
        self._is_over = False
        self._is_paced = False
        self._was_refused = False
        self._is_deadline_exceeded = False
        self._is_changed = asyncio.Event()
        self._is_woken = asyncio.Event()
        self._walking: asyncio.Task[str | None] | None = None
        self._deadline: asyncio.Task[None] | None = None
        self._pace = job.pace
        self._shards = Shards(
            job,
            self._window,
            is_going=self._is_going,
            is_cancelled=self._is_cancelled,
            on_tolerance_exceeded=self.stop,
            on_refused=self._refused,
        )
        self._chunks: Children | Blocks | None = None
        self._sub_jobs: SubJobs | None = None

    @workflow.run
    async def run(self, _job: JobInput) -> str:
        """The state the job ended in."""
        is_cancelled = False
        state: str | None = None
        listening = asyncio.ensure_future(self._listen())
        try:
            if self._job.replaced_run is not None:
                await end_replaced(self._job.job, self._job.replaced_run)
            if self._job.lost is None:
                page = await self._open()
                self._walking = asyncio.ensure_future(self._walk(page))
                state = await self._walking
        except asyncio.CancelledError:
            is_cancelled = not self._is_deadline_exceeded
        # Asked again: a cancellation that arrives in the same workflow task as a
        # completion may not raise anything.
        is_cancelled = is_cancelled or (
            state is None and workflow.cancellation_reason() is not None
        )
        if state is None:
            state = (await self._close(is_cancelled=is_cancelled)).state
        listening.cancel()
        if is_cancelled:
            raise asyncio.CancelledError
        return state or ""

    @workflow.signal(name=STOP)
    def stop(self) -> None:
        """Start nothing more: the job bears no more failures."""
        self._is_stopped = True
        self._look_again()

    @workflow.signal(name=CHANGED)
    def changed(self) -> None:
        """Look at the ledger: a control has changed something there."""
        self._is_changed.set()
        self._is_woken.set()

    @workflow.signal(name=SLOTS_RETURNED)
    def slots_returned(self, returned: SlotsReturned) -> None:
        """Take back slots that a shard has no use for, and note how many it wants."""
        self._shards.slots_returned(returned)

    @workflow.signal(name=BLOCK_SLOTS_RETURNED)
    def block_slots_returned(self, returned: BlockSlotsReturned) -> None:
        """Let other blocks have the slots of a block that makes way."""
        if isinstance(self._chunks, Blocks):
            self._chunks.slots_returned(returned.block, returned.slots)

    async def _open(self) -> Page:
        """Mark the job as running; one cancelled before it began goes straight to its end."""
        while True:
            self._is_woken.clear()
            opened: OpenedJob = await workflow.execute_local_activity(
                OPEN_JOB,
                PageInput(job=self._job.job, after=-1, limit=self._page_chunks),
                result_type=OpenedJob,
                start_to_close_timeout=LEDGER_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
            if not opened.is_resting:
                break
            await self._is_woken.wait()
        if not opened.may_run:
            raise asyncio.CancelledError
        if opened.terms is not None:
            self._go_by(opened.terms)
        return opened.page

    async def _listen(self) -> None:
        """Whenever told so, look at what controls have changed, and go by it."""
        while True:
            await self._is_changed.wait()
            self._is_changed.clear()
            try:
                terms: JobTerms = await workflow.execute_local_activity(
                    LOOK_AT_JOB,
                    self._job.job,
                    result_type=JobTerms,
                    start_to_close_timeout=LEDGER_TIMEOUT,
                    retry_policy=LEDGER_RETRY,
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    return  # the job has ended
                raise
            self._go_by(terms)

    def _go_by(self, terms: JobTerms) -> None:
        """Have the window, the deadline and the pace that the ledger says."""
        self._is_paced, self._is_over = terms.is_paced, terms.is_over
        self._window.resize(terms.max_concurrency)
        if isinstance(self._chunks, Blocks):
            self._chunks.narrow(terms.max_concurrency)
            self._chunks.look_again()
        if isinstance(self._chunks, Children):
            self._chunks.pace_changed()
        self._shards.change(is_paced=terms.is_paced, is_over=terms.is_over)
        if self._chunks is not None:
            self._chunks.changed()
        if self._sub_jobs is not None:
            self._sub_jobs.changed()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if terms.deadline_in_seconds is not None:
            self._deadline = asyncio.ensure_future(self._end_in(terms.deadline_in_seconds))

    async def _end_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._is_deadline_exceeded = True
        if self._walking is not None:
            self._walking.cancel()

    def _refused(self) -> None:
        """The job is paused: this walk comes to its end."""
        self._was_refused = True
        self._is_over = True
        self._look_again()

    def _look_again(self) -> None:
        """There may be a reason to stop."""
        self._shards.changed()
        if self._chunks is not None:
            self._chunks.changed()
        if self._sub_jobs is not None:
            self._sub_jobs.changed()

    async def _walk(self, page: Page | None) -> str | None:
        """Run chunks until the job is closed, or stopped; its state, None where it is stopped."""
        left_before, in_vain = self._job.total_chunks, 0
        while True:
            if self._job.max_jobs and self._is_full and not self._is_ending():
                # Nothing is in flight, and what is left is in the ledger.
                workflow.continue_as_new(dataclasses.replace(self._job, replaced_run=None))
            self._is_over = self._was_refused = False
            if page is not None:
                await self._run(page, left_before)
            if self._is_ending():
                return None
            self._is_woken.clear()
            closed = await self._close()
            if closed.is_resting:
                if self._is_ending():
                    return None  # that came meanwhile, and wakes nobody any more
                await self._rest(closed.again_in_seconds)
                page, in_vain = None, 0
                continue
            if closed.page is None:
                return closed.state
            is_in_vain = closed.left >= left_before and page is not None and not self._was_refused
            in_vain = in_vain + 1 if is_in_vain else 0
            if in_vain > _WALKS_IN_VAIN:
                await self._give_up()
            elif in_vain:
                await asyncio.sleep(2**in_vain)
            page, left_before = closed.page, closed.left

    async def _rest(self, seconds: float | None) -> None:
        """Wait until a control has changed something, or for so long."""
        if seconds is None:
            await self._is_woken.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_woken.wait()

    async def _run(self, page: Page, open_chunks: int) -> None:
        """Run the chunks of this page, and of those after it."""
        job = self._job
        if job.max_jobs:
            self._sub_jobs = SubJobs(
                job,
                is_going=self._has_room,
                on_tolerance_exceeded=self.stop,
                on_refused=self._refused,
            )
            await self._sub_jobs.run()
            return
        if job.tuning.has_shards(job.execution, job.total_chunks) or self._is_full:
            await self._shards.run(page, open_chunks)
            return
        if job.execution is Execution.ACTIVITY:
            self._chunks = blocks = Blocks(
                job.job,
                job.tuning,
                self._window,
                shard=NO_SHARD,
                open_chunks=open_chunks,
                is_going=self._has_room,
                on_tolerance_exceeded=self.stop,
                on_refused=self._refused,
            )
            await blocks.run()
            return
        self._chunks = children = Children(
            job.job,
            job.stages,
            self._pace,
            job.tuning,
            self._window,
            is_going=self._has_room,
            is_paced=lambda: self._is_paced,
            is_cancelled=self._is_cancelled,
            on_tolerance_exceeded=self.stop,
            on_refused=self._refused,
            is_in_order=job.is_in_order,
        )
        await children.run(indexes_of(page.ranges))
        self._pace = children.pace

    async def _give_up(self) -> None:
        """Nothing that was started for the chunks that are left came to anything."""
        reason = "its workflows were closed outside Fanfold, again and again"
        await record_lost_chunks(LostChunks(job=self._job.job, reason=reason))

    @property
    def _page_chunks(self) -> int:
        """How many chunks to plan at a time; in activity mode none, since blocks claim theirs."""
        if self._job.execution is Execution.ACTIVITY:
            return 0
        return self._job.tuning.page_chunks(self._job.total_chunks)

    @property
    def _is_folded_locally(self) -> bool:
        return self._job.total_chunks <= self._job.tuning.chunks_folded_locally

    def _is_going(self) -> bool:
        """Whether there is no reason to stop."""
        return not (self._is_over or self._is_ending())

    def _is_ending(self) -> bool:
        """Whether the job is to be closed, whatever is left of it."""
        return self._is_stopped or self._is_cancelled()

    def _is_cancelled(self) -> bool:
        """Whether what runs is to be told to stop."""
        return self._is_deadline_exceeded or workflow.cancellation_reason() is not None

    def _has_room(self) -> bool:
        """Whether this workflow may start chunks itself: its history is not full either."""
        return self._is_going() and not self._is_full

    @property
    def _is_full(self) -> bool:
        """Whether another workflow has to go on, for the length of this one's history."""
        return workflow.info().get_current_history_length() > self._job.tuning.max_events

    async def _close(self, *, is_cancelled: bool = False) -> ClosedJob:
        """Fold and close; before that, where the job comes to nothing, undo what succeeded."""
        given = CloseJob(
            job=self._job.job,
            limit=self._page_chunks,
            is_cancelled=is_cancelled,
            is_tolerance_exceeded=self._is_stopped,
            is_deadline_exceeded=self._is_deadline_exceeded,
            lost=self._job.lost,
        )
        wait = _LOOK_AGAIN_SECONDS
        closed = await self._close_once(given)
        while closed.compensations:
            for compensation in closed.compensations:
                if not await to_the_end(compensate(compensation, again_in_seconds=wait)):
                    wait *= 2
            # As before: a deadline that has passed since is not why the job came to nothing.
            closed = await self._close_once(given)
        return closed

    async def _close_once(self, given: CloseJob) -> ClosedJob:
        job = self._job
        is_large_fold = job.has_reducer and not self._is_folded_locally
        closing: Coroutine[Any, Any, ClosedJob] = (
            workflow.execute_activity(
                CLOSE_JOB,
                given,
                result_type=ClosedJob,
                start_to_close_timeout=_CLOSE_TIMEOUT,
                heartbeat_timeout=_CLOSE_HEARTBEAT_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
            # What a job is made of may be much to close, and what it did much to undo.
            if is_large_fold or job.max_jobs or job.has_compensation
            # Without a fold it is over at once, and costs the server half as much.
            else workflow.execute_local_activity(
                CLOSE_JOB,
                given,
                result_type=ClosedJob,
                start_to_close_timeout=_CLOSE_TIMEOUT if job.has_reducer else LEDGER_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
        )
        return await to_the_end(closing)
