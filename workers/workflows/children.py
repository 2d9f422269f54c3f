"""Chunks as children: a window of child workflows, started by a job or by its shard."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import (
        CHUNK_WORKFLOW,
        TAKE_TURNS,
        chunk_task_queue,
        chunk_workflow_id,
        job_task_queue,
    )
    from fanfold.contract.plan import Tuning
    from fanfold.contract.states import WITH_RESULT, ChunkState
    from fanfold.contract.wire import (
        RECORDED,
        TOLERANCE_EXCEEDED,
        ChunkInput,
        ChunkOutcome,
        JobRef,
        Pace,
        StagePlan,
        Turns,
        TurnsInput,
    )
    from fanfold.workers.workflows.calls import (
        LEDGER_RETRY,
        details_of,
        record_lost,
        start_child,
    )
    from fanfold.workers.workflows.window import Running, Window

# A child takes some tens of milliseconds to start: with this lead its attempt begins on
# time. The activity waits for what is left.
_START_LEAD_SECONDS = 0.05
# Turns are waited for a fraction of a second; a worker that dies meanwhile is missed soon.
_TURNS_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk to be started."""

    index: int
    stage: int = 0
    is_due: bool = False
    """Whether it was waited for."""


class Children:
    """Runs chunks as child workflows, each from its start to its recorded outcome.

    A chunk whose next attempt is due later holds no slot meanwhile: its child ends, and
    is started again when the time has come.
    """

    def __init__(
        self,
        job: JobRef,
        stages: list[StagePlan],
        pace: Pace,
        tuning: Tuning,
        window: Window,
        *,
        is_going: Callable[[], bool],
        is_paced: Callable[[], bool],
        is_cancelled: Callable[[], bool],
        on_tolerance_exceeded: Callable[[], None],
        on_refused: Callable[[], None],
        is_in_order: bool = False,
        before_turn: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on at the pace of the chunks before, where there were some.

        `is_going` is asked before each start, and `is_paced`, whether it needs a turn.
        `is_cancelled` says whether children are being told to stop. `before_turn` and
        `on_turn` are called before all is started that can be, and after it. `on_refused` is
        called where a child found its job paused. With `is_in_order`, nothing starts while a
        chunk waits for another attempt.
        """
        self._job = job
        self._stages = stages
        self._quick_streak = pace.quick_streak
        self._tuning = tuning
        self._window = window
        self._is_going = is_going
        self._on_tolerance_exceeded = on_tolerance_exceeded
        self._is_paced = is_paced
        self._is_cancelled = is_cancelled
        self._on_refused = on_refused
        self._is_in_order = is_in_order
        self._before_turn = before_turn
        self._on_turn = on_turn
        self._running = Running()
        self._ready: deque[_Chunk] = deque()
        self._sleeping: dict[float, list[_Chunk]] = {}
        self._turns = 0
        self._taking_turns: asyncio.Task[None] | None = None

    @property
    def pace(self) -> Pace:
        """How quick the chunks have been so far."""
        return Pace(quick_streak=self._quick_streak)

    @property
    def waiting(self) -> int:
        """How many chunks could be started now, had they slots."""
        return len(self._ready)

    def give_up(self) -> list[int]:
        """The chunks that are not in flight, which from now on somebody else starts."""
        waiting = [*self._ready, *(one for some in self._sleeping.values() for one in some)]
        self._ready.clear()
        for some in self._sleeping.values():
            some.clear()
        return [chunk.index for chunk in waiting]

    def changed(self) -> None:
        """Look again: there may be slots, or a reason to stop."""
        self._running.changed()

    def pace_changed(self) -> None:
        """Ask anew for turns: those that were waited for are of another rate."""
        if self._taking_turns is not None:
            self._taking_turns.cancel()
        self._running.changed()

    async def run(self, indexes: Iterable[int]) -> None:
        """Run these chunks, as many as may be started; returns once none is in flight.

        When cancelled, raises CancelledError once everything in flight has settled.
        """
        self._ready.extend(_Chunk(index) for index in indexes)
        while True:
            self._before_turn()
            is_going = self._is_going()
            may_start = is_going and not (self._is_in_order and self._sleeping)
            while may_start and self._ready and self._window.free and self._has_turn():
                chunk = self._ready.popleft()
                self._window.lend(chunk.index, 1)
                self._running.start(self._run_chunk(chunk))
            self._on_turn()
            if self._window.is_all_free and not (is_going and (self._ready or self._sleeping)):
                break
            await self._running.wait()
        await self._running.cancel()  # timers of what may not be started any more

    def _has_turn(self) -> bool:
        """Whether the next chunk may start now; if not, its turn is asked for."""
        if not self._is_paced():
            return True
        if self._turns:
            self._turns -= 1
            return True
        # One that was cancelled before it began never gets to say so itself.
        if self._taking_turns is None or self._taking_turns.done():
            wanted = min(len(self._ready), self._window.free)
            self._taking_turns = self._running.start(self._take_turns(wanted))
        return False

    async def _take_turns(self, wanted: int) -> None:
        try:
            # No local one: while such a one runs, nothing that was decided is started.
            turns: Turns = await workflow.execute_activity(
                TAKE_TURNS,
                TurnsInput(job=self._job, wanted=wanted),
                result_type=Turns,
                task_queue=job_task_queue(self._job.ledger),
                start_to_close_timeout=_TURNS_TIMEOUT,
                retry_policy=LEDGER_RETRY,
            )
            self._turns = wanted if turns.is_unlimited else turns.count
            if not self._turns:
                await asyncio.sleep(turns.more_in_seconds)
        except ActivityError as error:
            if not is_cancelled_exception(error):
                raise

    async def _run_chunk(self, chunk: _Chunk) -> None:
        try:
            outcome = await self._outcome(chunk)
        finally:
            self._window.take_all_back(chunk.index)
        if outcome is None:
            return
        if outcome.is_tolerance_exceeded:
            self._on_tolerance_exceeded()
        if outcome.is_refused:
            # Where the job is resumed before this walk is over, it goes on.
            self._ready.appendleft(_Chunk(chunk.index, outcome.stage, is_due=chunk.is_due))
            self._on_refused()
        elif outcome.state in WITH_RESULT:
            is_quick = outcome.seconds <= self._tuning.quick_seconds
            self._quick_streak = self._quick_streak + 1 if is_quick else 0
        elif outcome.state is ChunkState.PENDING:
            self._put_off(chunk.index, outcome)

    async def _outcome(self, chunk: _Chunk) -> ChunkOutcome | None:
        """One child, from start to recorded outcome; None where it failed."""
        try:
            child = await start_child(
                CHUNK_WORKFLOW,
                ChunkInput(
                    job=self._job,
                    index=chunk.index,
                    stages=self._stages,
                    stage=chunk.stage,
                    is_due=chunk.is_due,
                    is_quick=self._quick_streak >= self._tuning.quick_sample,
                ),
                workflow_id=chunk_workflow_id(self._job.id, chunk.index),
                task_queue=chunk_task_queue(self._job.ledger),
                result_type=ChunkOutcome,
            )
            outcome: ChunkOutcome = await child
        except WorkflowAlreadyStartedError:
            # One that a workflow before this one started still runs. The ledger offers the
            # chunk again, unless that child records its outcome.
            return None
        except ChildWorkflowError as error:
            details = details_of(error)
            if TOLERANCE_EXCEEDED in details:
                self._on_tolerance_exceeded()
            # Of a job being cancelled, whatever has no outcome is cancelled: also a chunk
            # whose attempt broke while it was told to stop.
            if RECORDED not in details and not self._is_cancelled():
                await record_lost(self._job, error, index=chunk.index)
            return None
        return outcome

    def _put_off(self, index: int, outcome: ChunkOutcome) -> None:
        """Start the chunk again when its next attempt is due; those due together share a timer."""
        seconds = max(0.0, outcome.retry_seconds - _START_LEAD_SECONDS)
        due_at = workflow.time() + seconds
        chunk = _Chunk(index, outcome.stage, is_due=True)
        if due_at in self._sleeping:
            self._sleeping[due_at].append(chunk)
            return
        self._sleeping[due_at] = [chunk]
        self._running.start(self._wake(due_at, seconds))

    async def _wake(self, due_at: float, seconds: float) -> None:
        await asyncio.sleep(seconds)
        # Before those that never ran: their wait is over.
        self._ready.extendleft(reversed(self._sleeping.pop(due_at)))
