"""Turns for the lanes of a block, of a job that may start so many chunks a second."""

import asyncio

from fanfold.contract.names import JobId
from fanfold.ledger.pacing import Pacing
from fanfold.workers.activities.lifeline import LOOK_SECONDS
from fanfold.workers.attempts import persistently


class Pacer:
    """Takes turns in the ledger for the lanes that wait, and gives each its own in time."""

    def __init__(self, pacing: Pacing, job_id: JobId) -> None:
        """Pace the starts of this job's chunks, together with all its other workers."""
        self._pacing = pacing
        self._job_id = job_id
        self._waiting: list[asyncio.Future[None]] = []
        self._has_waiting = asyncio.Event()

    async def turn(self) -> None:
        """Wait until a chunk may start."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        self._has_waiting.set()
        await granted

    async def run(self) -> None:
        """Give out turns, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_waiting.wait()
            self._waiting = [granted for granted in self._waiting if not granted.done()]
            if not self._waiting:
                self._has_waiting.clear()
                continue
            turns = await persistently(self._pacing.take_turns, self._job_id, len(self._waiting))
            if turns is None:  # there is no limit any more
                given, self._waiting = self._waiting, []
                for granted in given:
                    _grant(granted)
                continue
            given = self._waiting[: len(turns.in_seconds)]
            del self._waiting[: len(turns.in_seconds)]
            for granted, seconds in zip(given, turns.in_seconds, strict=False):
                loop.call_later(seconds, _grant, granted)
            if not given:
                # The rate may change meanwhile.
                await asyncio.sleep(min(turns.more_in_seconds, LOOK_SECONDS))


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)
