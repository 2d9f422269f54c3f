"""Chunks in blocks: activities that claim chunks in the ledger, which have no workflows."""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import NARROW_BLOCKS, RUN_BLOCK, chunk_task_queue
    from fanfold.contract.plan import HEARTBEAT_TIMEOUT, Tuning, block_id
    from fanfold.contract.wire import BlockInput, BlockOutcome, JobRef, NarrowedBlocks
    from fanfold.workers.workflows.calls import LEDGER_RETRY, LEDGER_TIMEOUT
    from fanfold.workers.workflows.window import Running, Window

_BLOCK_NUMBER_BITS = 40
# Blocks that begin together do not all make way together.
_SPREAD = 0.25


class Blocks:
    """Keeps blocks running while the ledger has chunks for them, as wide as there are slots."""

    def __init__(
        self,
        job: JobRef,
        tuning: Tuning,
        window: Window,
        *,
        shard: int,
        open_chunks: int,
        is_going: Callable[[], bool],
        on_tolerance_exceeded: Callable[[], None],
        on_refused: Callable[[], None],
        before_turn: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Start blocks with the slots of the window, for at most so many chunks.

        `shard` is the number of the shard whose blocks these are, or NO_SHARD. `is_going`
        is asked before each start, `before_turn` and `on_turn` are called before all is
        started that can be, and after it. `on_refused` is called where a block found its job
        paused.
        """
        self._job = job
        self._tuning = tuning
        self._window = window
        self._shard = shard
        self._open_chunks = open_chunks
        self._is_going = is_going
        self._on_tolerance_exceeded = on_tolerance_exceeded
        self._on_refused = on_refused
        self._before_turn = before_turn
        self._on_turn = on_turn
        self._running = Running()
        self._has_work = True
        self._due_at: float | None = None
        self._lanes: dict[int, int] = {}
        """Of blocks that run: how many lanes each may have."""

    def changed(self) -> None:
        """Look again: there may be slots, or a reason to stop."""
        self._running.changed()

    def slots_returned(self, block: int, slots: int) -> None:
        """Have slots of lanes that have ended, before the block has: others go on with them."""
        self._window.take_back(block, slots)
        if block in self._lanes:
            self._lanes[block] = min(self._lanes[block], self._window.lent_to(block))
        self._has_work = True
        self._running.changed()

    def look_again(self) -> None:
        """Ask the ledger anew for chunks: blocks that ended may have found the job paused."""
        self._has_work = True
        self._running.changed()

    def narrow(self, slots: int) -> None:
        """Let the blocks that run have so many lanes at most, in all; none of them ends for it."""
        narrowed: dict[int, int] = {}
        # Of a shard that was about to return slots, more may be wanted back than it has.
        for _ in range(sum(self._lanes.values()) - max(0, slots)):
            widest = max(self._lanes, key=self._lanes.__getitem__)
            self._lanes[widest] -= 1
            narrowed[widest] = self._lanes[widest]
        if narrowed:
            self._running.start(self._tell(narrowed))

    async def run(self) -> None:
        """Run blocks until the ledger has nothing left for one, and none is running.

        When cancelled, raises CancelledError once all of them have ended.
        """
        while True:
            self._before_turn()
            is_going = self._is_going()
            while is_going and self._has_work and (slots := self._usable_slots()):
                self._start(min(slots, self._lanes_of_a_block()))
            self._on_turn()
            if self._window.is_all_free and not (is_going and self._due_at is not None):
                break
            await self._running.wait()
        await self._running.cancel()  # a timer for what may not be started any more

    def _usable_slots(self) -> int:
        """Those that are free, but no more in all than there are chunks."""
        return min(self._window.free, self._open_chunks - self._window.lent)

    def _lanes_of_a_block(self) -> int:
        tuning = self._tuning
        slots = min(self._window.size, self._open_chunks)
        lanes = max(tuning.least_block_lanes, math.ceil(slots / tuning.blocks_at_once))
        return min(lanes, tuning.most_block_lanes, math.ceil(slots / tuning.least_blocks))

    def _start(self, lanes: int) -> None:
        random = workflow.random()
        block = block_id(self._shard, random.getrandbits(_BLOCK_NUMBER_BITS))
        spread = 1 + _SPREAD * (2 * random.random() - 1)
        self._window.lend(block, lanes)
        self._lanes[block] = lanes
        given = BlockInput(
            job=self._job,
            block=block,
            lanes=lanes,
            seconds=self._tuning.block_seconds * spread,
            patience_seconds=self._tuning.patience_seconds,
        )
        self._running.start(self._run_block(given))

    async def _run_block(self, given: BlockInput) -> None:
        try:
            outcome: BlockOutcome = await workflow.execute_activity(
                RUN_BLOCK,
                given,
                result_type=BlockOutcome,
                task_queue=chunk_task_queue(given.job.ledger),
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
        finally:
            self._window.take_all_back(given.block)
            self._lanes.pop(given.block, None)
        if outcome.is_tolerance_exceeded:
            self._on_tolerance_exceeded()
        if outcome.is_refused:
            self._on_refused()
        self._has_work = outcome.more_in_seconds == 0
        if outcome.more_in_seconds:
            self._look_again_in(outcome.more_in_seconds)

    async def _tell(self, lanes: dict[int, int]) -> None:
        """Write down how many lanes these blocks may have; they look for it."""
        await workflow.execute_local_activity(
            NARROW_BLOCKS,
            NarrowedBlocks(job=self._job, lanes=list(lanes.items())),
            start_to_close_timeout=LEDGER_TIMEOUT,
            retry_policy=LEDGER_RETRY,
        )

    def _look_again_in(self, seconds: float) -> None:
        """Start blocks again once chunks are due, if that is sooner than planned so far."""
        due_at = workflow.time() + seconds
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._running.start(self._wake(due_at, seconds))

    async def _wake(self, due_at: float, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._due_at == due_at:
            self._due_at, self._has_work = None, True
