"""Deletes what nobody is to have any more, a little at a time, beside all else.

Every gateway does so; that several are at the same work at once harms nothing. What
fails is found again in the next round.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from app.intake.uploads import Uploads
from app.loops.rounds import Rounds
from ledger.connect import Ledger
from ledger.database import LedgerUnavailable
from ledger.records import now_ms

_log = logging.getLogger("fanfold.gateway")

_MS_AN_HOUR = 3_600_000
_SHORTEST_PAUSE_SECONDS = 0.005

Step = Callable[[], Awaitable[bool]]
"""Does some of a piece of work; whether there may be more of it."""


class Housekeeping:
    """Carries out what retention asks for."""

    def __init__(
        self, ledger: Ledger, uploads: Uploads, *, retention_hours: float, interval_seconds: float
    ) -> None:
        """Take how long finished jobs are kept, and how often to look."""
        self._ledger = ledger
        self._retention_ms = round(retention_hours * _MS_AN_HOUR)
        self._rounds = Rounds(
            self._take_all_steps,
            "deleting",
            unavailable=(LedgerUnavailable,),
            interval_seconds=interval_seconds,
        )
        self._steps: tuple[Step, ...] = (
            self._expire_jobs,
            ledger.retention.delete_some,
            uploads.tidy,
            ledger.abandoned.delete_some,
            ledger.database.give_space_back,
        )

    def kick(self) -> None:
        """Look now: something is to be deleted."""
        self._rounds.kick()

    async def run(self) -> None:
        """Look when kicked, and every interval, until cancelled."""
        await self._rounds.run()

    async def _take_all_steps(self) -> None:
        for step in self._steps:
            await _to_the_end(step)

    async def _expire_jobs(self) -> bool:
        count = await self._ledger.retention.expire(finished_before=now_ms() - self._retention_ms)
        if count:
            _log.info("deleting %d finished jobs whose time is over", count)
            # Their data first: what waits to be deleted stays short.
            await _to_the_end(self._ledger.retention.delete_some)
        return bool(count)


async def _to_the_end(step: Step) -> None:
    """Repeat the step until nothing is left, at rest at least half of the time."""
    started = time.monotonic()
    while await step():
        await asyncio.sleep(max(time.monotonic() - started, _SHORTEST_PAUSE_SECONDS))
        started = time.monotonic()
