"""What the lanes of a block share: what they were given, how far they are, when they end."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity

from fanfold.contract.names import JobId
from fanfold.contract.wire import BlockInput
from fanfold.ledger.jobs import Terms
from fanfold.ledger.records import BlockRun
from fanfold.ledger.work import Work
from fanfold.workers.activities.pacer import Pacer
from fanfold.workers.attempts import Ending

# A block makes way once it has run for so many of its own chunks, but not before its time.
_CHUNKS_BEFORE_MAKING_WAY = 20


@dataclass(slots=True)
class RunningBlock:
    """What the lanes of a block share."""

    given: BlockInput
    terms: Terms
    this: BlockRun
    work: Work
    pacer: Pacer
    started: float = field(default_factory=time.monotonic)
    chunks_run: int = 0
    seconds: float = 0.0
    is_over: bool = False
    """Whether no further chunk may start: the job is paused, say."""
    is_broken_off: bool = False
    """Whether those that run are not to be finished: the job is cancelled, say."""
    is_making_way: bool = False
    is_refused: bool = False
    """Whether no chunk may start since the job is paused."""
    is_tolerance_exceeded: bool = False
    defect: Exception | None = None
    """What ended the block though the ledger and the job's code did all they should."""
    more_in_seconds: float | None = None
    highest_claimed: int = -1
    parked: list[asyncio.Future[None]] = field(default_factory=list)
    """Lanes that found nothing to claim."""
    has_parked: asyncio.Event = field(default_factory=asyncio.Event)
    lanes_ended: int = 0
    lanes_allowed: int | None = None
    """How many lanes it may have; None for as many as it was started with."""
    running: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    """The lanes that run chunks, by the chunks' indexes."""
    cancelled: set[int] = field(default_factory=set)
    """Chunks that were broken off since a client has cancelled them."""
    lane_ended: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_lanes: set[asyncio.Task[Any]] = field(default_factory=set)
    """Those that wait for something that may take long."""

    @property
    def job_id(self) -> JobId:
        """The job's."""
        return self.given.job.id

    @property
    def is_going(self) -> bool:
        """Whether a lane may claim another chunk."""
        return not (self.is_over or self.is_making_way or activity.is_worker_shutdown())

    @property
    def is_narrowed(self) -> bool:
        """Whether it may have fewer lanes than it was started with."""
        return self.lanes_allowed is not None and self.lanes_allowed < self.given.lanes

    @property
    def has_lane_too_many(self) -> bool:
        """Whether the lane that asks has to end, so that others may go on."""
        lanes = self.given.lanes - self.lanes_ended
        return self.lanes_allowed is not None and lanes > self.lanes_allowed

    def may_go_on(self) -> bool:
        """Whether the lane that asks may claim another chunk."""
        return self.is_going and not self.has_lane_too_many

    @property
    def is_idle(self) -> bool:
        """Whether no lane runs anything."""
        return len(self.parked) + self.lanes_ended == self.given.lanes

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

    def stop(self) -> None:
        """Start no further chunk; those that run go on to their end."""
        self.is_over = True
        self.wake_all()

    def end(self) -> None:
        """Start no further chunk, and break off those that run."""
        self.is_broken_off = True
        for lane in self.waiting_lanes:
            lane.cancel()
        self.stop()

    def narrow(self, lanes: int) -> None:
        """Have so many lanes from now on: others end with their chunks."""
        self.lanes_allowed = lanes
        if self.has_lane_too_many:
            self.wake_all()

    def break_off(self, chunks: Iterable[int]) -> None:
        """End the attempts at these chunks, of those that run here."""
        for index in chunks:
            lane = self.running.get(index)
            if lane is not None and index not in self.cancelled and lane in self.waiting_lanes:
                self.cancelled.add(index)
                lane.cancel()

    @contextmanager
    def running_chunk(self, index: int) -> Iterator[None]:
        """While this lane runs the chunk, which a client may cancel."""
        lane = asyncio.current_task()
        assert lane is not None  # noqa: S101 - lanes are tasks
        self.running[index] = lane
        self.waiting_lanes.add(lane)
        try:
            yield
        finally:
            self.waiting_lanes.discard(lane)
            del self.running[index]

    def break_down(self, defect: Exception) -> None:
        """End because of an error that nobody foresaw."""
        self.defect = self.defect or defect
        self.end()

    async def park(self) -> None:
        """Wait until there may be something to claim, or nothing any more."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.parked.append(woken)
        self.has_parked.set()
        await woken

    def wake(self, count: int) -> None:
        """Let so many parked lanes look again."""
        for woken in self.parked[:count]:
            woken.set_result(None)
        del self.parked[:count]

    def wake_all(self) -> None:
        """Let every lane that waits look whether it is to go on: also for its turn."""
        self.wake(len(self.parked))
        self.pacer.end_waits()

    def note(self, ending: Ending) -> None:
        """Keep how long the chunk took; a block that has run long enough makes way."""
        self.chunks_run += 1
        self.seconds += ending.seconds
        long_enough = max(
            self.given.seconds, _CHUNKS_BEFORE_MAKING_WAY * self.seconds / self.chunks_run
        )
        if time.monotonic() - self.started > long_enough:
            self.is_making_way = True
            self.wake_all()
