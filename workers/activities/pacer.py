"""Turns for the lanes of a block, of a job that may start so many chunks a second."""

import asyncio
import functools

from fanfold.contract.names import JobId
from fanfold.ledger.pacing import Pacing
from fanfold.ledger.records import BlockRun
from fanfold.ledger.work import Work
from fanfold.workers.activities.lifeline import LOOK_SECONDS
from fanfold.workers.attempts import persistently


class Pacer:
    """Takes turns in the ledger for the lanes that wait, and gives each its own in time.

    No more than there are chunks to claim: at a slow rate, a turn that nobody uses is dear.
    """

    def __init__(self, pacing: Pacing, work: Work, job_id: JobId, run: BlockRun) -> None:
        """Pace the starts of this job's chunks in a block, together with all its other workers."""
        self._pacing = pacing
        self._work = work
        self._job_id = job_id
        self._run = run
        self._waiting: list[asyncio.Future[bool]] = []
        self._has_waiting = asyncio.Event()

    async def turn(self) -> bool:
        """Wait until a chunk may start; False where none is there, or the wait was ended."""
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        self._has_waiting.set()
        return await granted

    def end_waits(self) -> None:
        """Let all who wait look whether they still want a turn: none is taken for them."""
        waiting, self._waiting = self._waiting, []
        for granted in waiting:
            _settle(granted, is_granted=False)

    async def run(self) -> None:
        """Give out turns, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_waiting.wait()
            self._waiting = [granted for granted in self._waiting if not granted.done()]
            if not self._waiting:
                self._has_waiting.clear()
                continue
            outlook = await persistently(
                self._work.outlook, self._job_id, self._run, limit=len(self._waiting)
            )
            if not outlook.ready:
                self.end_waits()
                continue
            turns = await persistently(self._pacing.take_turns, self._job_id, outlook.ready)
            if turns is None:  # there is no limit any more
                given, self._waiting = self._waiting, []
                for granted in given:
                    _settle(granted, is_granted=True)
                continue
            given = self._waiting[: len(turns.in_seconds)]
            del self._waiting[: len(turns.in_seconds)]
            for granted, seconds in zip(given, turns.in_seconds, strict=False):
                loop.call_later(seconds, functools.partial(_settle, granted, is_granted=True))
            if not given:
                # The rate may change meanwhile.
                await asyncio.sleep(min(turns.more_in_seconds, LOOK_SECONDS))


def _settle(granted: asyncio.Future[bool], *, is_granted: bool) -> None:
    if not granted.done():
        granted.set_result(is_granted)
