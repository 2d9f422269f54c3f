"""What ties a running activity to its server and to its worker: beats, and a timely end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from fanfold.contract.plan import HEARTBEAT_INTERVAL


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
