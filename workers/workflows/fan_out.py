"""The windowed fan-out: much work, a bounded number of pieces in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator


async def fan_out(
    indexes: Iterator[int],
    run_one: Callable[[int], Awaitable[None]],
    *,
    width: int,
    on_idle: Callable[[int], None] | None = None,
) -> None:
    """Run every index, at most `width` at a time.

    All lanes draw from the one iterator, which may end early: it is where the caller
    decides, before each start, whether there is a next. Lanes instead of a task an
    index: the cost in a workflow task does not grow with the size of the job. Each
    lane that finds nothing left to start says so to `on_idle`.

    When cancelled, raises CancelledError once everything in flight has settled.
    """

    async def lane() -> None:
        for index in indexes:
            await run_one(index)
        if on_idle is not None:
            on_idle(1)

    await all_settled(lane() for _ in range(width))


async def all_settled(lanes: Iterable[Awaitable[None]]) -> None:
    """Run the lanes to their ends; when cancelled, raise only once all of them have ended."""
    tasks = [asyncio.ensure_future(lane) for lane in lanes]
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        # The first lane to end cancelled ends the gather; the others are still in flight.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
