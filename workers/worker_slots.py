"""The bound on how many chunks a worker process runs at a time, over all its blocks."""

import asyncio


class WorkerSlots:
    """A fair semaphore that tells whether anybody waits for it."""

    def __init__(self, count: int) -> None:
        """So many slots."""
        self._semaphore = asyncio.Semaphore(count)
        self._waiting = 0

    @property
    def is_contended(self) -> bool:
        """Whether a slot that is given back now goes to somebody else."""
        return self._waiting > 0

    async def take(self) -> None:
        """Wait for a slot."""
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Let the next in line have the slot."""
        self._semaphore.release()
