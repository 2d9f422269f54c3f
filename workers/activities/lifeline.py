"""What ties a running activity to its server and to its worker: beats, and a timely end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from fanfold.contract.plan import HEARTBEAT_INTERVAL
from fanfold.contract.wire import JobRef
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable

LOOK_SECONDS = 1.0
"""How often it is looked whether what runs is still wanted."""


@dataclass(slots=True)
class _Watched:
    """A task that runs a chunk."""

    task: asyncio.Task[Any]
    is_ended: bool = False

    def end(self) -> None:
        """Cancel the task, once."""
        if not self.is_ended:
            self.is_ended = True
            self.task.cancel()

    def has_ended_it(self) -> bool:
        """Whether it was this watch that cancelled the task, which then goes on."""
        if self.is_ended:
            self.task.uncancel()
        return self.is_ended


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Tell the server that this activity is alive; that is also how a cancellation is heard."""
    if activity.info().is_local:  # the SDK keeps the workflow task alive instead
        yield
        return

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


@asynccontextmanager
async def ended_with_the_worker(grace_seconds: float) -> AsyncIterator[None]:
    """Cancel the activity when the worker has been stopping for longer than its grace.

    The SDK does that for regular activities; for a local one a stopping worker waits for ever.
    """
    current = asyncio.current_task()
    if current is None or not activity.info().is_local:
        yield
        return

    async def end() -> None:
        await activity.wait_for_worker_shutdown()
        await asyncio.sleep(grace_seconds)
        current.cancel()

    ending = asyncio.create_task(end())
    try:
        yield
    finally:
        ending.cancel()


class ChildWatch:
    """Ends what runs chunks that clients have cancelled: one look a second for each job."""

    def __init__(self, ledger: Ledger) -> None:
        """Watch over chunks of this ledger's jobs."""
        self._ledger = ledger
        self._running: dict[JobRef, dict[int, _Watched]] = {}
        self._looking: dict[JobRef, asyncio.Task[None]] = {}

    @contextmanager
    def over(self, job: JobRef, index: int) -> Iterator[_Watched]:
        """While it is entered, its task is cancelled once a client has cancelled the chunk."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - activities are tasks
        running = self._running.setdefault(job, {})
        running[index] = watched = _Watched(task)
        if job not in self._looking:
            self._looking[job] = asyncio.create_task(self._look(job))
        try:
            yield watched
        finally:
            del running[index]
            if not running:
                del self._running[job]
                self._looking.pop(job).cancel()

    async def _look(self, job: JobRef) -> None:
        watch = self._ledger.of(job.tenant).watch
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # Where the ledger is away, the next look finds it.
            with suppress(LedgerUnavailable):
                for index in await watch.cancelled_children(job.id):
                    if (watched := self._running[job].get(index)) is not None:
                        watched.end()


def handed_over() -> ApplicationError:
    """What a stopping worker raises, so that another takes over what it could not finish."""
    return ApplicationError(
        "the worker is stopping; another takes over",
        type="WorkerStopping",
        category=ApplicationErrorCategory.BENIGN,
        # Past the local retry threshold of ChunkWorkflow: a shorter wait would be the
        # stopping worker's own, which would then take the chunk up again.
        next_retry_delay=timedelta(milliseconds=200),
    )
