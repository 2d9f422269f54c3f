"""A gateway's loops beside the workers of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.client import Client

from fanfold.app.loops.orchestration import Orchestration
from tests.workflows.running import Fanfold

_MANY = 1000


@asynccontextmanager
async def gateway(
    fanfold: Fanfold,
    *,
    client: Client | None = None,
    max_running_jobs: int = _MANY,
    interval_seconds: float = 0.1,
) -> AsyncIterator[Orchestration]:
    """A gateway's loops, running."""
    loops = Orchestration(
        client or fanfold.client,
        fanfold.ledger,
        max_running_jobs=max_running_jobs,
        interval_seconds=interval_seconds,
    )
    running = asyncio.create_task(loops.run())
    try:
        yield loops
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
