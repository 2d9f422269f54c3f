"""The window: how many chunks may be in flight, and who has the right to how many of them.

A slot is the right to have one chunk in flight. Each is in one place: free, or lent. The
job lends slots to its shards, a shard to its children or blocks; each of them keeps a
window of its own. Nothing is in flight without a slot, so `max_concurrency` holds; and a
slot that is free goes to whoever can use it, so none stays idle while chunks wait.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow


class Window:
    """Slots, and to whom they are lent. Its size may change at any time."""

    def __init__(self, size: int) -> None:
        """So many slots, all of them free."""
        self._size = size
        self._lent: dict[int, int] = {}
        self._lent_in_all = 0

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    @property
    def free(self) -> int:
        """How many may be lent now; after the window has shrunk perhaps none for a while."""
        return max(0, self._size - self._lent_in_all)

    @property
    def lent(self) -> int:
        """How many are lent."""
        return self._lent_in_all

    def lent_to(self, borrower: int) -> int:
        """How many this one has."""
        return self._lent.get(borrower, 0)

    @property
    def is_all_free(self) -> bool:
        """Whether nobody has, or had and is still to end, any."""
        return not self._lent

    def resize(self, size: int) -> None:
        """Have so many slots from now on; what is lent stays lent."""
        self._size = size

    def lend(self, borrower: int, slots: int) -> None:
        """Let a child, a block or a shard have so many of the free slots."""
        self._lent[borrower] = self._lent.get(borrower, 0) + slots
        self._lent_in_all += slots

    def take_back(self, borrower: int, slots: int) -> None:
        """Have slots back before the borrower ends; of one that has ended, they are back."""
        taken = min(slots, self._lent.get(borrower, 0))
        if taken:
            self._lent[borrower] -= taken
            self._lent_in_all -= taken

    def take_all_back(self, borrower: int) -> None:
        """Have back whatever the borrower still has: it has ended."""
        self._lent_in_all -= self._lent.pop(borrower, 0)


class Running:
    """What a workflow has started and waits for: ends are noticed, none is ever left behind."""

    def __init__(self) -> None:
        """Start with nothing."""
        # In the order of their start, never a set: a replay cancels them in the same order.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._changed = asyncio.Event()
        self._failed: list[asyncio.Task[None]] = []

    def __bool__(self) -> bool:
        """Whether anything still runs."""
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this beside all else."""
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def changed(self) -> None:
        """Say that something happened that the one who waits should look at."""
        self._changed.set()

    async def wait(self) -> None:
        """Wait until something ends, or `changed` is called; raises what went wrong.

        When cancelled, everything is told so and waited for.
        """
        try:
            await self._changed.wait()
        except asyncio.CancelledError:
            await self.cancel()
            raise
        # One that arrives in the same workflow task as a completion may raise nothing.
        if workflow.cancellation_reason() is not None:
            await self.cancel()
            raise asyncio.CancelledError
        self._changed.clear()
        for task in self._failed:
            task.result()

    async def cancel(self) -> None:
        """Cancel everything, and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._failed.append(task)
        self._changed.set()
