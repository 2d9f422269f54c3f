"""The bound on how many chunks a worker process runs at a time, over all its blocks."""

import asyncio
from collections import OrderedDict, deque

from fanfold.contract.names import JobId


class WorkerSlots:
    """A semaphore for the lanes of many jobs, which tells whether anybody waits for it.

    A slot that comes free goes to the job of the highest priority, which is the lowest number;
    of jobs with the same one to each in turn, however many of its lanes wait.
    """

    def __init__(self, count: int) -> None:
        """So many slots."""
        self._free = count
        self._waiting: dict[int, OrderedDict[JobId, deque[asyncio.Future[None]]]] = {}

    @property
    def is_contended(self) -> bool:
        """Whether a slot that is given back now goes to somebody else."""
        return bool(self._waiting)

    def take_free(self) -> bool:
        """Take a slot if there is a free one; whether there was."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def take(self, job_id: JobId, priority: int) -> None:
        """Wait for a slot."""
        if self.take_free():
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        jobs = self._waiting.setdefault(priority, OrderedDict())
        jobs.setdefault(job_id, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give_back()
            else:
                self._forget(job_id, priority, granted)
            raise

    def give_back(self) -> None:
        """Let the next in line have the slot."""
        while self._waiting:
            priority = min(self._waiting)
            jobs = self._waiting[priority]
            job_id, lanes = next(iter(jobs.items()))
            granted = lanes[0]
            # One that was cancelled this very moment has not heard of it yet.
            is_there = not granted.cancelled()
            if is_there:
                jobs.move_to_end(job_id)
            self._forget(job_id, priority, granted)
            if is_there:
                granted.set_result(None)
                return
        self._free += 1

    def _forget(self, job_id: JobId, priority: int, granted: asyncio.Future[None]) -> None:
        """Take it out of the line, unless that was done already."""
        jobs = self._waiting.get(priority, OrderedDict())
        lanes = jobs.get(job_id, deque())
        if granted not in lanes:
            return
        lanes.remove(granted)
        if not lanes:
            del jobs[job_id]
        if not jobs:
            del self._waiting[priority]
