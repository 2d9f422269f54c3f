"""What ties a running activity to its server and to its worker: beats, and a timely end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from fanfold.contract.names import JobId
from fanfold.contract.plan import HEARTBEAT_INTERVAL
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.watch import Watch

LOOK_SECONDS = 1.0
"""How often it is looked whether what runs is still wanted."""


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
    """While it is entered: ends what its task does once a client has cancelled the chunk."""

    def __init__(self, watch: Watch, job_id: JobId, index: int) -> None:
        """Watch over this chunk."""
        self._watch = watch
        self._job_id = job_id
        self._index = index
        self._is_cancelled = False

    async def __aenter__(self) -> None:
        """Begin to look, a second from now, again and again."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - activities are tasks
        self._task = task
        self._looking = asyncio.create_task(self._look())

    async def __aexit__(self, *_: object) -> None:
        """Look no more."""
        self._looking.cancel()

    def has_ended_it(self) -> bool:
        """Whether it was this watch that cancelled the task, which then goes on."""
        if self._is_cancelled:
            self._task.uncancel()
        return self._is_cancelled

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # Where the ledger is away, the next look finds it.
            with contextlib.suppress(LedgerUnavailable):
                if await self._watch.is_child_cancelled(self._job_id, self._index):
                    self._is_cancelled = True
                    self._task.cancel()
                    return


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
