"""The activity that runs a block of chunks, which have no workflows of their own.

The ledger is its checkpoint: run again, it skips what is done. Chunks run in lanes, and
a lane records what became of one chunk in the transaction that begins its next: one
commit a chunk, shared with the other lanes'.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from contract.job_spec import JobSpec
from contract.names import RUN_BLOCK
from contract.states import JobState
from contract.wire import BlockInput, BlockOutcome, PutOff
from ledger import outcomes
from ledger.chunks import Chunks
from ledger.outcomes import Script
from ledger.records import Attempt, NoAttempt
from workers.activities.lifeline import handed_over, heartbeats
from workers.attempts import Attempts, Ending, NoSuchJob, persistently
from workers.slots import Slots


@dataclass(slots=True)
class _BlockRun:
    """What the lanes of a block share."""

    job_id: str
    spec: JobSpec
    waiting: deque[int]
    chunks_run: int = 0
    seconds: float = 0.0
    put_off: dict[float, list[int]] = field(default_factory=dict)
    is_over: bool = False
    """Whether no further chunk may start: the job is cancelled, say."""
    is_tolerance_exceeded: bool = False

    def note(self, index: int, ending: Ending) -> None:
        """Keep what the shard has to know of a chunk that ran."""
        self.chunks_run += 1
        self.seconds += ending.seconds
        if ending.retry_seconds is not None:
            self.put_off.setdefault(ending.retry_seconds, []).append(index)

    def outcome(self) -> BlockOutcome:
        return BlockOutcome(
            put_off=[PutOff(indexes=group, seconds=wait) for wait, group in self.put_off.items()],
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
        block_run = _BlockRun(block.job_id, spec, deque(block.indexes))
        width = min(block.width, len(block.indexes))
        lanes = [asyncio.create_task(self._lane(block_run)) for _ in range(width)]
        async with heartbeats():
            try:
                await asyncio.gather(*lanes)
            except BaseException as error:
                for lane in lanes:
                    lane.cancel()
                await asyncio.gather(*lanes, return_exceptions=True)
                if isinstance(error, asyncio.CancelledError) and activity.is_worker_shutdown():
                    raise handed_over() from None
                raise
        if block_run.waiting and activity.is_worker_shutdown():
            raise handed_over()
        return block_run.outcome()

    async def _lane(self, block: _BlockRun) -> None:
        """Run chunks, one after another, for as long as there are some and the job goes on."""
        unrecorded: Script = ()
        while block.waiting and not block.is_over and not activity.is_worker_shutdown():
            async with self._slots:
                unrecorded = await self._run_chunk(block, block.waiting.popleft(), unrecorded)
            if self._slots.is_contended:
                # Whoever waits goes first; what is done must not wait with this lane.
                await self._record(unrecorded)
                unrecorded = ()
        await self._record(unrecorded)

    async def _run_chunk(self, block: _BlockRun, index: int, unrecorded: Script) -> Script:
        """Run a chunk through the stages that are left; what is still to be recorded of it."""
        stage = 0
        while True:
            begun = await self._begin(block.job_id, index, stage, unrecorded)
            if begun is None:
                return ()
            if isinstance(begun, NoAttempt):
                if begun.job_state is not JobState.RUNNING:
                    block.is_over = True
                elif not begun.chunk_state.is_terminal:  # it did earlier stages before
                    stage, unrecorded = begun.stage, ()
                    continue
                return ()
            ending = await self._run(begun, block.spec)
            unrecorded = ending.script
            if ending.failure is None and not block.spec.is_last_stage(stage):
                stage += 1
                continue
            block.note(index, ending)
            if block.spec.tolerated_failures is not None:
                await self._record(unrecorded)
                unrecorded = ()
                if await persistently(
                    lambda: self._attempts.is_tolerance_exceeded(block.job_id, block.spec)
                ):
                    block.is_over = block.is_tolerance_exceeded = True
            return unrecorded

    async def _begin(
        self, job_id: str, index: int, stage: int, unrecorded: Script
    ) -> Attempt | NoAttempt | None:
        beginning = asyncio.ensure_future(
            persistently(lambda: self._chunks.begin_attempt(job_id, index, stage, after=unrecorded))
        )
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            begun = await beginning
            if isinstance(begun, Attempt):
                await self._hand_back(begun)
            raise

    async def _run(self, attempt: Attempt, spec: JobSpec) -> Ending:
        try:
            return await self._attempts.run(attempt, spec)
        except asyncio.CancelledError:
            await self._hand_back(attempt)
            raise

    async def _hand_back(self, attempt: Attempt) -> None:
        """Of a stopping worker; of a job being cancelled, the chunk is cancelled with it."""
        if activity.is_worker_shutdown():
            await self._chunks.record(outcomes.handed_back(attempt))

    async def _record(self, outcome: Script) -> None:
        if outcome:
            await persistently(lambda: self._chunks.record(outcome))
