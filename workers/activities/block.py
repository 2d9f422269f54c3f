"""The activity that runs a block of chunks, which have no workflows of their own.

The ledger is its checkpoint: run again, it skips what is done. Chunks run in lanes, and
a lane records what became of one chunk in the transaction that begins its next: one
commit a chunk, shared with the other lanes'.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from contract.job_spec import JobSpec
from contract.names import RUN_BLOCK
from contract.states import JobState
from contract.wire import BlockInput, BlockOutcome, PutOff, indexes_of, ranges_of
from ledger import outcomes
from ledger.chunks import Chunks
from ledger.outcomes import Script
from ledger.records import Attempt, BlockRun, NoAttempt
from workers.activities.lifeline import heartbeats
from workers.attempts import Attempts, Ending, NoSuchJob, persistently
from workers.slots import Slots


@dataclass(slots=True)
class _Run:
    """What the lanes of a block share."""

    job_id: str
    spec: JobSpec
    this: BlockRun
    waiting: deque[int]
    chunks_run: int = 0
    seconds: float = 0.0
    put_off: dict[float, list[int]] = field(default_factory=dict)
    is_over: bool = False
    """Whether no further chunk may start: the job is cancelled, say."""
    is_tolerance_exceeded: bool = False
    waiting_lanes: set[asyncio.Task[Any]] = field(default_factory=set)
    """Those that wait for something that may take long."""

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While this lane waits for something that the end of the block ends too.

        What it writes to the ledger is never broken off: it would not know what it holds.
        """
        lane = asyncio.current_task()
        assert lane is not None  # noqa: S101 - lanes are tasks
        self.waiting_lanes.add(lane)
        try:
            yield
        finally:
            self.waiting_lanes.discard(lane)

    def end(self) -> None:
        """Start no further chunk, and break off those that run."""
        self.is_over = True
        for lane in self.waiting_lanes:
            lane.cancel()

    def note(self, index: int, ending: Ending) -> None:
        """Keep what the shard has to know of a chunk that ran."""
        self.chunks_run += 1
        self.seconds += ending.seconds
        if ending.retry_seconds is not None:
            self.put_off.setdefault(ending.retry_seconds, []).append(index)

    def outcome(self) -> BlockOutcome:
        return BlockOutcome(
            put_off=[
                PutOff(ranges=ranges_of(indexes), seconds=seconds)
                for seconds, indexes in self.put_off.items()
            ],
            chunk_seconds=self.seconds / self.chunks_run if self.chunks_run else None,
            is_tolerance_exceeded=self.is_tolerance_exceeded,
        )


class BlockActivities:
    """Runs blocks of chunks."""

    def __init__(self, chunks: Chunks, attempts: Attempts, slots: Slots) -> None:
        """Take what the activity depends on; the slots are for all blocks of this worker."""
        self._chunks = chunks
        self._attempts = attempts
        self._slots = slots

    @activity.defn(name=RUN_BLOCK)
    async def run_block(self, block: BlockInput) -> BlockOutcome:
        """Run each chunk of the block that has no outcome yet; which have to be tried again."""
        try:
            spec = await self._attempts.spec(block.job_id)
        except NoSuchJob:
            raise ApplicationError(
                "there is no such job", type="NoSuchJob", non_retryable=True
            ) from None
        info = activity.info()
        this = BlockRun(block=f"{info.workflow_run_id}/{info.activity_id}", number=info.attempt)
        if this.number > 1:
            await self._chunks.take_over(block.job_id, this)
        run = _Run(block.job_id, spec, this, deque(indexes_of(block.ranges)))
        width = min(block.width, len(run.waiting))
        lanes = asyncio.gather(*(self._lane(run) for _ in range(width)))
        async with heartbeats():
            try:
                await asyncio.shield(lanes)
            except asyncio.CancelledError:
                run.end()
                await lanes
                if not activity.is_worker_shutdown():
                    raise
        if run.waiting and activity.is_worker_shutdown():
            # Another worker goes on; what has been put off keeps its time.
            run.put_off.setdefault(0.0, []).extend(run.waiting)
        return run.outcome()

    async def _lane(self, run: _Run) -> None:
        """Run chunks, one after another, for as long as there are some and the job goes on."""
        unrecorded: Script = ()
        while run.waiting and not run.is_over and not activity.is_worker_shutdown():
            try:
                with run.interruptible():
                    await self._slots.take()
            except asyncio.CancelledError:
                break
            try:
                if not run.waiting:  # other lanes took the last ones meanwhile
                    break
                unrecorded = await self._run_next(run, unrecorded)
            finally:
                self._slots.give_back()
            if self._slots.is_contended:
                # Whoever waits goes first; what is done must not wait with this lane.
                await self._record(unrecorded)
                unrecorded = ()
        await self._record(unrecorded)

    async def _run_next(self, run: _Run, unrecorded: Script) -> Script:
        """Run a chunk through the stages that are left; what is still to be recorded of it."""
        index, stage = run.waiting.popleft(), 0
        while True:
            begun = await persistently(
                self._chunks.begin_attempt,
                run.job_id,
                index,
                stage,
                after=unrecorded,
                within=run.this,
            )
            unrecorded = ()
            if isinstance(begun, NoAttempt) and not begun.chunk_state.is_terminal:
                if begun.job_state is JobState.RUNNING and begun.stage > stage:
                    stage = begun.stage  # it did earlier stages before
                    continue
                run.end()  # the job is over, or another worker has taken the block over
            if not isinstance(begun, Attempt):
                return ()
            ending = await self._run(run, begun)
            if ending is None:
                return ()
            unrecorded = ending.script
            if ending.failure is None and not run.spec.is_last_stage(stage):
                stage += 1
                continue
            run.note(index, ending)
            if run.spec.tolerated_failures is not None:
                await self._record(unrecorded)
                unrecorded = ()
                if await persistently(self._attempts.is_tolerance_exceeded, run.job_id, run.spec):
                    run.is_over = run.is_tolerance_exceeded = True
            return unrecorded

    async def _run(self, run: _Run, attempt: Attempt) -> Ending | None:
        """What the attempt came to; None where it was not to be finished here."""
        try:
            if not run.is_over:
                with run.interruptible():
                    return await self._attempts.run(attempt, run.spec)
        except asyncio.CancelledError:
            pass
        # A stopping worker hands it back; of a job that is over, it is cancelled with it.
        if activity.is_worker_shutdown():
            await self._record(outcomes.handed_back(attempt))
            run.waiting.append(attempt.index)
        return None

    async def _record(self, outcome: Script) -> None:
        if outcome:
            await persistently(self._chunks.record, outcome)
