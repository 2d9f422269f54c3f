"""Chunks in blocks: a shard's chunks without workflows of their own.

A block is one activity; what it puts off comes back here, and goes into another block
once it is due.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from contract.names import CHUNK_TASK_QUEUE, RUN_BLOCK
    from contract.wire import (
        BLOCK_CHUNKS,
        BLOCK_SECONDS,
        BLOCK_WIDTH,
        FIRST_BLOCK_CHUNKS,
        HEARTBEAT_TIMEOUT,
        MAX_BLOCKS_AT_ONCE,
        BlockInput,
        BlockOutcome,
        Pace,
        PutOff,
        ShardInput,
        indexes_of,
        ranges_of,
    )
    from workers.workflows.calls import LEDGER_RETRY
    from workers.workflows.fan_out import all_settled


class Blocks:
    """Runs a shard's chunks, at most its width at a time, in a few lanes of blocks."""

    def __init__(
        self,
        shard: ShardInput,
        *,
        is_going: Callable[[], bool],
        on_idle: Callable[[int], None],
        on_tolerance_exceeded: Callable[[], None],
    ) -> None:
        """Take the shard's range; `is_going` is asked before each start."""
        self._shard = shard
        self._is_going = is_going
        self._on_idle = on_idle
        self._on_tolerance_exceeded = on_tolerance_exceeded
        self._chunk_seconds = shard.pace.chunk_seconds
        self.next_index = shard.first
        self._end = shard.first + shard.count
        self._due: deque[int] = deque()
        self._sleeping: dict[float, list[int]] = {}
        self._timers: set[asyncio.Task[None]] = set()
        self._lanes = 0
        self._blocks_running = 0

    @property
    def pace(self) -> Pace:
        """How long a chunk takes, as last seen."""
        return Pace(chunk_seconds=self._chunk_seconds)

    @property
    def put_off(self) -> list[PutOff]:
        """What still has to be tried again, and how much later."""
        now = workflow.time()
        groups = [
            PutOff(ranges=ranges_of(indexes), seconds=max(due_at - now, 0.0))
            for due_at, indexes in self._sleeping.items()
        ]
        if self._due:
            groups.append(PutOff(ranges=ranges_of(self._due), seconds=0.0))
        return groups

    async def run(self) -> None:
        """Run all chunks, also those put off, or as many as may be started."""
        for group in self._shard.put_off:
            self._put_off(group)
        put_off = sum(map(len, self._sleeping.values()))
        width = min(self._shard.width, self._shard.count + put_off)
        self._lanes = min(math.ceil(width / BLOCK_WIDTH), MAX_BLOCKS_AT_ONCE)
        share, more = divmod(width, self._lanes)
        await all_settled([self._lane(share + (lane < more)) for lane in range(self._lanes)])

    async def _lane(self, width: int) -> None:
        while indexes := await self._next_block(width):
            self._blocks_running += 1
            await self._run_block(indexes, width)
            self._blocks_running -= 1
        self._lanes -= 1
        self._on_idle(width)

    async def _next_block(self, width: int) -> Sequence[int]:
        """The chunks of this lane's next block; none when there is nothing left for it."""
        while self._is_going():
            size = self._block_chunks(width)
            if self._due:
                return [self._due.popleft() for _ in range(min(size, len(self._due)))]
            if self.next_index < self._end:
                first, self.next_index = self.next_index, min(self.next_index + size, self._end)
                return range(first, self.next_index)
            if not self._is_needed(width):
                break
            await workflow.wait_condition(
                lambda: bool(self._due) or self._is_all_done or not self._is_going()
            )
        return []

    @property
    def _is_all_done(self) -> bool:
        """Whether nothing can come up any more: what runs may still put chunks off."""
        return not self._sleeping and not self._blocks_running

    def _is_needed(self, width: int) -> bool:
        """Whether a lane that has nothing to start has to wait for what may come up."""
        if self._is_all_done:
            return False
        # Where others could use its slots, as many lanes wait as what sleeps will fill.
        sleeping = sum(map(len, self._sleeping.values()))
        return not self._shard.has_successors or sleeping > (self._lanes - 1) * width

    def _block_chunks(self, width: int) -> int:
        """How many chunks the next block should have."""
        in_time = FIRST_BLOCK_CHUNKS
        if self._chunk_seconds is not None:
            in_time = math.ceil(width * BLOCK_SECONDS / max(self._chunk_seconds, 0.001))
        if in_time < BLOCK_CHUNKS:
            # Slow ones are dealt out evenly, so that no lane is the last by far.
            left = self._end - self.next_index + len(self._due)
            in_time = min(in_time, math.ceil(left / self._lanes))
        return min(max(width, in_time), BLOCK_CHUNKS)

    async def _run_block(self, indexes: Sequence[int], width: int) -> None:
        try:
            outcome: BlockOutcome = await workflow.execute_activity(
                RUN_BLOCK,
                BlockInput(job_id=self._shard.job_id, ranges=ranges_of(indexes), width=width),
                result_type=BlockOutcome,
                task_queue=CHUNK_TASK_QUEUE,
                # The worker ends each chunk in time, and the heartbeat a worker that is
                # gone. How long chunks wait for a worker's slots, nobody can tell.
                start_to_close_timeout=timedelta(days=365),
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=LEDGER_RETRY,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            raise
        if outcome.chunk_seconds is not None:
            self._chunk_seconds = outcome.chunk_seconds
        if outcome.is_tolerance_exceeded:
            self._on_tolerance_exceeded()
        for group in outcome.put_off:
            self._put_off(group)

    def _put_off(self, group: PutOff) -> None:
        due_at = workflow.time() + group.seconds
        self._sleeping.setdefault(due_at, []).extend(indexes_of(group.ranges))
        # Not awaited: the lanes wait for what it brings, or end without it.
        timer = asyncio.ensure_future(self._wake(due_at, group.seconds))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    async def _wake(self, due_at: float, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._due.extend(self._sleeping.pop(due_at, ()))
