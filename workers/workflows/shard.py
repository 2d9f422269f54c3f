"""The workflow between a large job and its chunks: it keeps its job's history short."""

import asyncio
import contextlib
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.job_spec import Execution
    from fanfold.contract.names import (
        BLOCK_SLOTS_RETURNED,
        CHANGED,
        SHARD_WORKFLOW,
        SLOTS_LENT,
        SLOTS_RETURNED,
        STOP,
        job_workflow_id,
    )
    from fanfold.contract.plan import indexes_of, ranges_of
    from fanfold.contract.wire import (
        BlockSlotsReturned,
        ShardChange,
        ShardInput,
        ShardOutcome,
        SlotsLent,
        SlotsReturned,
    )
    from fanfold.workers.workflows.blocks import Blocks
    from fanfold.workers.workflows.children import Children
    from fanfold.workers.workflows.window import Window

# Idle slots are returned a few at a time: a signal for each would fill the job's history.
# No slot is idle for longer than this.
_GATHERING_SECONDS = 1.0
_GATHERED_SHARE = 1 / 4


@workflow.defn(name=SHARD_WORKFLOW)
class ShardWorkflow:
    """Runs some of a job's chunks as child workflows, or any of them in blocks."""

    @workflow.init
    def __init__(self, shard: ShardInput) -> None:
        """Start with the slots that the job lends at first."""
        self._shard = shard
        self._window = Window(shard.slots)
        self._is_tolerance_exceeded = False
        self._told_wanted = max(0, shard.open_chunks - shard.slots)
        self._returns = 0
        self._gathering: asyncio.Task[None] | None = None
        self._tellings: list[asyncio.Task[None]] = []
        self._is_refused = False
        self._is_over = False
        self._is_paced = shard.is_paced
        self._latest_change = 0
        self._recalled = 0
        self._chunks: Children | Blocks
        if shard.execution is Execution.ACTIVITY:
            self._chunks = Blocks(
                shard.job,
                shard.tuning,
                self._window,
                shard=shard.number,
                open_chunks=shard.open_chunks,
                is_going=self._is_going,
                on_tolerance_exceeded=self._stop_job,
                on_refused=self._refused,
                before_turn=self._return_recalled,
                on_turn=self._tell_of_slots,
            )
        else:
            self._chunks = Children(
                shard.job,
                shard.stages,
                shard.pace,
                shard.tuning,
                self._window,
                is_going=self._is_going,
                is_paced=lambda: self._is_paced,
                is_cancelled=lambda: workflow.cancellation_reason() is not None,
                on_tolerance_exceeded=self._stop_job,
                on_refused=self._refused,
                before_turn=self._return_recalled,
                on_turn=self._tell_of_slots,
            )

    @workflow.run
    async def run(self, shard: ShardInput) -> ShardOutcome:
        """How fast the chunks were, for the shards that come after.

        Chunks that have no outcome yet, because this history is full, the ledger offers again.
        """
        pace = shard.pace
        if isinstance(self._chunks, Children):
            await self._chunks.run(indexes_of(shard.ranges))
            pace = self._chunks.pace
        else:
            await self._chunks.run()
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        if self._gathering is not None:
            self._gathering.cancel()
        # The job must not hear of this shard's end before what it was told.
        await asyncio.gather(*self._tellings)
        return ShardOutcome(
            pace=pace,
            is_tolerance_exceeded=self._is_tolerance_exceeded,
            is_refused=self._is_refused,
        )

    @workflow.signal(name=SLOTS_LENT)
    def slots_lent(self, lent: SlotsLent) -> None:
        """Let so many more chunks be in flight."""
        self._window.resize(self._window.size + lent.slots)
        self._told_wanted = max(0, self._told_wanted - lent.slots)
        self._chunks.changed()

    @workflow.signal(name=CHANGED)
    def change(self, change: ShardChange) -> None:
        """Go by what controls have changed."""
        if change.number >= self._latest_change:  # or else a later one has overtaken it
            self._latest_change = change.number
            self._is_paced, self._is_over = change.is_paced, change.is_over
        self._is_refused = False  # it may have been resumed; if not, that is soon found out
        self._recalled += change.slots_recalled
        if change.slots_recalled and isinstance(self._chunks, Blocks):
            self._chunks.narrow(self._window.size - self._recalled)
        if isinstance(self._chunks, Blocks):
            self._chunks.look_again()
        if isinstance(self._chunks, Children):
            self._chunks.pace_changed()
        self._chunks.changed()

    @workflow.signal(name=BLOCK_SLOTS_RETURNED)
    def block_slots_returned(self, returned: BlockSlotsReturned) -> None:
        """Let other blocks have the slots of a block that makes way."""
        if isinstance(self._chunks, Blocks):
            self._chunks.slots_returned(returned.block, returned.slots)

    @property
    def _is_full(self) -> bool:
        length = workflow.info().get_current_history_length()
        return length > self._shard.tuning.max_events

    def _is_going(self) -> bool:
        return (
            not (self._is_tolerance_exceeded or self._is_refused or self._is_over)
            and workflow.cancellation_reason() is None
            and not self._is_full
        )

    def _refused(self) -> None:
        """The job is paused: end, and leave the rest to the next walk."""
        self._is_refused = True
        self._chunks.changed()

    def _return_recalled(self) -> None:
        """Return slots that the job wants back, before anything is started with them."""
        slots = min(self._recalled, self._window.free)
        if slots and workflow.cancellation_reason() is None:
            self._recalled -= slots
            wanted = max(0, self._shard.open_chunks - self._window.size + slots)
            if isinstance(self._chunks, Children):
                wanted = self._chunks.waiting
            self._return(slots, wanted=wanted)

    def _tell_of_slots(self) -> None:
        """Return slots that are idle here; ask for some where chunks wait for them."""
        if workflow.cancellation_reason() is not None or self._is_tolerance_exceeded:
            return
        if isinstance(self._chunks, Blocks) and not self._is_full:
            return  # what its blocks cannot use, nobody can: they claim from all chunks
        waiting = self._chunks.waiting if isinstance(self._chunks, Children) else 0
        if waiting and not self._is_full:
            if waiting > self._told_wanted:
                self._return(0, wanted=waiting)
        elif self._window.free:
            if self._window.free >= self._window.size * _GATHERED_SHARE:
                self._return(self._window.free, wanted=0)
            elif self._gathering is None or self._gathering.done():
                self._gathering = asyncio.ensure_future(self._gather())

    async def _gather(self) -> None:
        await asyncio.sleep(_GATHERING_SECONDS)
        if self._window.free and self._is_draining:
            self._return(self._window.free, wanted=0)

    @property
    def _is_draining(self) -> bool:
        """Whether it starts nothing more for now."""
        waiting = self._chunks.waiting if isinstance(self._chunks, Children) else 0
        return self._is_full or not waiting

    def _return(self, slots: int, *, wanted: int) -> None:
        is_full, left = self._is_full, list[int]()
        # One chunk that takes long must not hold up what waits behind it.
        if is_full and isinstance(self._chunks, Children):
            left = self._chunks.give_up()
        self._window.resize(self._window.size - slots)
        self._told_wanted = wanted
        self._returns += 1
        self._tell(
            SLOTS_RETURNED,
            SlotsReturned(
                shard=self._shard.number,
                slots=slots,
                wanted=wanted,
                is_full=is_full,
                left=ranges_of(left),
                number=self._returns,
            ),
        )

    def _stop_job(self) -> None:
        """The job bears no more failures: neither this shard nor another starts a chunk."""
        if not self._is_tolerance_exceeded:
            self._is_tolerance_exceeded = True
            self._tell(STOP)
            self._chunks.changed()

    def _tell(self, signal: str, *arguments: Any) -> None:  # noqa: ANN401 - what the signal takes
        async def tell() -> None:
            # A job that is gone has no more use for it.
            with contextlib.suppress(ApplicationError):
                await parent.signal(signal, args=arguments)

        job = self._shard.job
        parent = workflow.get_external_workflow_handle(job_workflow_id(job.id, job.run))
        self._tellings.append(asyncio.ensure_future(tell()))
