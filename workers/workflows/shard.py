"""The workflow between a large job and its chunks: one range of them."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from contract.job_spec import Execution
    from contract.names import RELEASE_SLOTS, SHARD_WORKFLOW, STOP
    from contract.wire import Pace, PutOff, ShardInput, ShardOutcome, SlotsReleased
    from workers.workflows.blocks import Blocks
    from workers.workflows.children import ChunkChildren
    from workers.workflows.fan_out import fan_out

# The server warns at 10,240 events and ends a workflow at 51,200.
MAX_EVENTS_IN_A_RUN = 8_000


@workflow.defn(name=SHARD_WORKFLOW)
class ShardWorkflow:
    """Runs a range of a job's chunks, as child workflows or in blocks."""

    @workflow.init
    def __init__(self, shard: ShardInput) -> None:
        """Start with nothing done."""
        self._shard = shard
        self._next_index = shard.first
        self._is_tolerance_exceeded = False
        self._held_slots = shard.width
        self._idle_slots = 0
        self._tellings: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, shard: ShardInput) -> ShardOutcome:
        """How fast the chunks were, for the shards that come after."""
        if shard.execution is Execution.ACTIVITY:
            pace, put_off = await self._run_blocks()
        else:
            pace, put_off = await self._run_children(), []
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        # The job must not hear of this shard's end before what it was told.
        await asyncio.gather(*self._tellings)
        left = shard.first + shard.count - self._next_index
        if (left or put_off) and not self._is_tolerance_exceeded:
            # A fresh history; nothing is open, since the window has drained.
            workflow.continue_as_new(
                dataclasses.replace(
                    shard,
                    first=self._next_index,
                    count=left,
                    width=self._held_slots,  # what it lent on is not its own any more
                    pace=pace,
                    put_off=put_off,
                )
            )
        return ShardOutcome(pace=pace, is_tolerance_exceeded=self._is_tolerance_exceeded)

    async def _run_children(self) -> Pace:
        children = ChunkChildren(
            self._shard.job_id,
            self._shard.stages,
            self._shard.pace,
            on_tolerance_exceeded=self._stop_job,
        )
        width = min(self._shard.width, self._shard.count)
        await fan_out(self._indexes(), children.run_chunk, width=width, on_idle=self._release)
        return children.pace

    async def _run_blocks(self) -> tuple[Pace, list[PutOff]]:
        blocks = Blocks(
            self._shard,
            is_going=self._is_going,
            on_idle=self._release,
            on_tolerance_exceeded=self._stop_job,
        )
        await blocks.run()
        self._next_index = blocks.next_index
        return blocks.pace, blocks.put_off

    def _indexes(self) -> Iterator[int]:
        """The chunks to start, for as long as there is no reason to stop."""
        end = self._shard.first + self._shard.count
        while self._next_index < end and self._is_going():
            self._next_index += 1
            yield self._next_index - 1

    def _is_going(self) -> bool:
        return (
            not self._is_tolerance_exceeded
            and workflow.cancellation_reason() is None
            and workflow.info().get_current_history_length() <= MAX_EVENTS_IN_A_RUN
        )

    def _release(self, slots: int) -> None:
        """Lend slots that this shard has no more use for to the job's other shards."""
        # A lane that ended for any other reason than work running out is needed again.
        if self._shard.has_successors and self._is_going():
            self._idle_slots += slots
            # By halves: a signal for each slot would cost the job more than it gains.
            if self._idle_slots * 2 >= self._held_slots:
                self._held_slots -= self._idle_slots
                released = SlotsReleased(shard=self._shard.number, slots=self._idle_slots)
                self._idle_slots = 0
                self._tell(RELEASE_SLOTS, released)

    def _stop_job(self) -> None:
        """The job bears no more failures: neither this shard nor another starts a chunk."""
        if not self._is_tolerance_exceeded:
            self._is_tolerance_exceeded = True
            self._tell(STOP)

    def _tell(self, signal: str, *arguments: SlotsReleased) -> None:
        async def tell() -> None:
            # A job that is gone has no more use for it.
            with contextlib.suppress(ApplicationError):
                await parent.signal(signal, args=arguments)

        parent = workflow.get_external_workflow_handle(self._shard.job_id)
        self._tellings.append(asyncio.ensure_future(tell()))
