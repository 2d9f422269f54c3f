"""The activity that runs a block of chunks, which have no workflows of their own.

A block is so many lanes on one worker. Each lane claims the job's next chunk in the ledger,
runs it, and records what became of it in the transaction that claims its next one: one
commit a chunk, shared with the other lanes'. All lanes of all blocks draw from the same
chunks, so none is idle while a chunk of the job may run. A lane that finds nothing waits
for what may come up: chunks whose wait for another attempt is over, for one.

The ledger is the checkpoint. A block that is run again takes back what its earlier run had
begun, and claims like any other.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from fanfold.contract.names import BLOCK_SLOTS_RETURNED, RUN_BLOCK
from fanfold.contract.states import JobState
from fanfold.contract.wire import BlockInput, BlockOutcome, BlockSlotsReturned
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable
from fanfold.ledger.records import Attempt, BlockRun, NoAttempt
from fanfold.workers.activities.block_run import RunningBlock
from fanfold.workers.activities.claims import Claims, Unrecorded
from fanfold.workers.activities.lifeline import LOOK_SECONDS, heartbeats
from fanfold.workers.activities.pacer import Pacer
from fanfold.workers.attempts import Attempts, Ending, NoSuchJob, persistently
from fanfold.workers.worker_slots import WorkerSlots

_log = logging.getLogger("fanfold.worker")

# How often idle lanes look for what others may have left: chunks of a worker that stopped.
_LOOK_AGAIN_SECONDS = 2.0
# While chunks may be claimed and others are quicker.
_SHORTEST_LOOK_SECONDS = 0.005
# Lanes that end at about the same time give their slots back together.
_GATHERING_SECONDS = 1.0
_TOKEN_BITS = 62
# The same of a block that was narrowed: others may still have to get down to their share.
_NARROWED_LOOK_SECONDS = 0.05
_RESTING = (JobState.PAUSED, JobState.WAITING)


class BlockActivities:
    """Runs blocks of chunks."""

    def __init__(self, ledger: Ledger, attempts: Attempts, slots: WorkerSlots) -> None:
        """Take what the activity depends on; the slots are for all blocks of this worker."""
        self._ledger = ledger
        self._attempts = attempts
        self._slots = slots

    @activity.defn(name=RUN_BLOCK)
    async def run_block(self, given: BlockInput) -> BlockOutcome:
        """Run chunks of the job for as long as there are some, or until it is time to make way.

        Cancelled with its job; what it has begun then is left without an outcome.
        """
        try:
            terms = await self._attempts.terms(given.job)
        except NoSuchJob:
            raise ApplicationError(
                "there is no such job", type="NoSuchJob", non_retryable=True
            ) from None
        work = self._ledger.of(given.job.tenant).work
        this = BlockRun(block=given.block, number=activity.info().attempt)
        if this.number > 1:
            await work.take_over(given.job.id, this)
        pacer = Pacer(self._ledger.of(given.job.tenant).pacing, work, given.job.id, this)
        run = RunningBlock(given, terms, this, work, pacer)
        claims = Claims(run, self._attempts)
        lanes = asyncio.gather(*(self._lane(run, claims) for _ in range(given.lanes)))
        async with (
            heartbeats(),
            _beside(self._look_out(run)),
            _beside(self._keep_watch(run)),
            _beside(self._return_slots(run)),
            _beside(self._pace(run)),
        ):
            try:
                await asyncio.shield(lanes)
            except asyncio.CancelledError:
                run.end()
                await lanes
                if not activity.is_worker_shutdown():
                    raise
        if run.defect is not None:
            raise run.defect
        if run.is_making_way or run.is_narrowed or activity.is_worker_shutdown():
            run.more_in_seconds = 0.0
        return BlockOutcome(
            more_in_seconds=run.more_in_seconds,
            is_tolerance_exceeded=run.is_tolerance_exceeded,
            is_refused=run.is_refused,
        )

    async def _lane(self, run: RunningBlock, claims: Claims) -> None:
        """Run chunks, one after another, for as long as there are some and the job goes on."""
        unrecorded: Unrecorded | None = None
        try:
            while run.may_go_on():
                if run.terms.controls.max_per_second is not None:
                    # What is done must not wait with this lane.
                    await claims.record(unrecorded)
                    unrecorded = None
                try:
                    may_start = await self._wait_to_start(run)
                except asyncio.CancelledError:
                    break
                if not may_start:
                    if run.may_go_on():
                        await run.park()
                    continue
                try:
                    claimed = await claims.next(unrecorded)
                    unrecorded = None
                    if claimed is not None:
                        unrecorded = await self._run_chunk(run, claims, claimed)
                finally:
                    self._slots.give_back()
                if claimed is None:
                    await run.park()
                elif self._slots.is_contended:
                    # Whoever waits goes first; what is done must not wait with this lane.
                    await claims.record(unrecorded)
                    unrecorded = None
            await claims.record(unrecorded)
        except Exception as error:  # noqa: BLE001 - raised once the other lanes have ended
            run.break_down(error)
        finally:
            run.has_left()

    async def _wait_to_start(self, run: RunningBlock) -> bool:
        """Wait for a turn, where the job has a limit, and for a slot; whether there is one now."""
        controls = run.terms.controls
        if controls.max_per_second is not None:
            # A block that makes way uses the turns that it has: nobody else has them.
            with run.interruptible():
                has_turn = await run.pacer.turn()
            if not has_turn or run.is_over or activity.is_worker_shutdown():
                return False
        if not self._slots.take_free():
            with run.interruptible():
                await self._slots.take(run.job_id, controls.priority)
        return True

    async def _run_chunk(
        self, run: RunningBlock, claims: Claims, attempt: Attempt
    ) -> Unrecorded | None:
        """Run a chunk through the stages that are left; what is still to be recorded of it."""
        while True:
            ending = await self._run(run, claims, attempt)
            if ending is None:
                return None
            if not ending.is_stage_done or run.terms.spec.is_last_stage(attempt.stage):
                break
            next_attempt = await self._begin_next_stage(run, claims, attempt, ending)
            if next_attempt is None:
                return None
            attempt = next_attempt
        run.note(ending)
        unrecorded = Unrecorded.of(attempt, ending)
        if run.terms.controls.tolerated_failures is None:
            return unrecorded
        await claims.record(unrecorded)
        if await persistently(
            self._attempts.is_tolerance_exceeded, run.given.job, run.terms, index=attempt.index
        ):
            run.is_tolerance_exceeded = True
            run.stop()
        return None

    async def _begin_next_stage(
        self, run: RunningBlock, claims: Claims, attempt: Attempt, ending: Ending
    ) -> Attempt | None:
        """The attempt at the stage after the one that is done; None where there is to be none."""
        try:
            begun = await persistently(
                run.work.begin,
                run.job_id,
                attempt.index,
                attempt.stage + 1,
                token=secrets.randbits(_TOKEN_BITS),
                within=run.this,
                after=ending.whole_script,
                job_run=run.given.job.run,
            )
        except LedgerFailure:
            await claims.record(Unrecorded(attempt, ending.whole_script))
            raise
        if isinstance(begun, Attempt):
            return begun
        # The job is paused or over, the block was taken over, or the chunk was.
        if not (isinstance(begun, NoAttempt) and begun.job_state is JobState.RUNNING):
            await persistently(self._look, run)
        return None

    async def _run(self, run: RunningBlock, claims: Claims, attempt: Attempt) -> Ending | None:
        """What the attempt came to; None where it was not to be finished here."""
        if attempt.revision > run.terms.revision:
            run.terms = await persistently(
                self._attempts.terms, run.given.job, revision=attempt.revision
            )
        try:
            if not run.is_broken_off:
                with run.running_chunk(attempt.index):
                    return await self._attempts.run(attempt, run.terms)
        except asyncio.CancelledError:
            if attempt.index in run.cancelled:
                run.cancelled.discard(attempt.index)
                lane = asyncio.current_task()
                assert lane is not None  # noqa: S101 - lanes are tasks
                lane.uncancel()
                await claims.record(Unrecorded(attempt, outcomes.cancelled(attempt)))
                return None
        # A stopping worker hands it back; of a job that is over, it is cancelled with it.
        if activity.is_worker_shutdown():
            await claims.record(Unrecorded(attempt, outcomes.handed_back(attempt)))
        return None

    async def _look_out(self, run: RunningBlock) -> None:
        """Wake parked lanes when there is something for them; end the block when there is not."""
        try:
            await self._watch_over_parked(run)
        except Exception as error:  # noqa: BLE001 - raised once the lanes have ended
            run.break_down(error)

    async def _pace(self, run: RunningBlock) -> None:
        """Give lanes their turns, where the job has a limit."""
        try:
            await run.pacer.run()
        except Exception as error:  # noqa: BLE001 - raised once the lanes have ended
            run.break_down(error)

    async def _watch_over_parked(self, run: RunningBlock) -> None:
        while not run.is_over:
            run.has_parked.clear()
            if not run.parked:
                await run.has_parked.wait()
                continue
            outlook = await persistently(
                run.work.outlook,
                run.job_id,
                run.this,
                limit=len(run.parked),
                is_in_order=run.terms.spec.is_in_order,
            )
            wait = _LOOK_AGAIN_SECONDS
            if outlook.job_state is not JobState.RUNNING:
                await persistently(self._look, run)
                continue
            if outlook.ready:
                run.wake(outlook.ready)
                wait = _NARROWED_LOOK_SECONDS if run.is_narrowed else _SHORTEST_LOOK_SECONDS
            elif outlook.due_in_seconds is not None:
                wait = min(wait, outlook.due_in_seconds)
            if not run.is_going:
                # Those that run something go on to its end.
                run.wake_all()
                continue
            if (
                run.is_idle
                and not outlook.ready
                and (
                    outlook.due_in_seconds is None
                    or outlook.due_in_seconds > run.given.patience_seconds
                )
            ):
                run.more_in_seconds = outlook.due_in_seconds
                run.end()
                return
            # Sooner, once another lane has run out: it may have put something off.
            try:
                async with asyncio.timeout(wait):
                    await run.has_parked.wait()
            except TimeoutError:
                continue

    async def _keep_watch(self, run: RunningBlock) -> None:
        """Hear, again and again, of what clients have changed and cancelled."""
        while not run.is_over:
            await asyncio.sleep(LOOK_SECONDS)
            # Where the ledger is away, the next look finds it.
            with contextlib.suppress(LedgerUnavailable):
                await self._look(run)

    async def _look(self, run: RunningBlock) -> None:
        ledger = self._ledger.of(run.given.job.tenant)
        standing = await ledger.watch.standing(run.job_id, run.this)
        is_going = standing.job_state is JobState.RUNNING
        lets_finish = standing.job_state in _RESTING or standing.is_draining
        if standing.run != run.given.job.run or not (is_going or lets_finish):
            run.end()
            return
        if not is_going:
            run.is_refused = standing.job_state in _RESTING
            run.stop()
        if standing.lanes is not None:
            run.narrow(standing.lanes)
        if standing.revision > run.terms.revision:
            run.terms = await self._attempts.terms(run.given.job, revision=standing.revision)
        if standing.cancelled:
            run.break_off(standing.cancelled)
            # Perhaps one was just about to be tried again.
            await ledger.closing.cancel_children(run.job_id)

    async def _return_slots(self, run: RunningBlock) -> None:
        """Give back the slots of lanes that ended before the last one of the block.

        Of one that makes way, has too many lanes, or found its job paused.
        """
        info, returned = activity.info(), 0
        assert info.workflow_id is not None  # noqa: S101 - blocks are started by workflows
        starter = activity.client().get_workflow_handle(
            info.workflow_id, run_id=info.workflow_run_id
        )
        while True:
            await run.lane_ended.wait()
            run.lane_ended.clear()
            if not (run.is_making_way or run.is_narrowed or run.is_refused):
                continue
            await asyncio.sleep(_GATHERING_SECONDS)
            ended = run.lanes_ended - returned
            returned += ended
            try:
                await starter.signal(
                    BLOCK_SLOTS_RETURNED, BlockSlotsReturned(block=run.given.block, slots=ended)
                )
            except RPCError as error:
                # They come back with the end of the block.
                _log.debug("slots of a block were not given back early: %s", error)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
