"""The windowed fan-out: many indexes, a bounded number of them in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator


async def fan_out(
    indexes: Iterator[int], run_one: Callable[[int], Awaitable[None]], *, width: int
) -> None:
    """Run every index, at most `width` at a time.

    All lanes draw from the one iterator, which may end early: it is where the caller
    decides, before each start, whether there is a next. Lanes instead of a task an
    index: the cost in a workflow task does not grow with the size of the job.

    When cancelled, raises CancelledError once everything in flight has settled.
    """

    async def lane() -> None:
        for index in indexes:
            await run_one(index)

    lanes = [asyncio.ensure_future(lane()) for _ in range(width)]
    try:
        await asyncio.gather(*lanes)
    except asyncio.CancelledError:
        # The first lane to end cancelled ends the gather; the others are still in flight.
        await asyncio.gather(*lanes, return_exceptions=True)
        raise
