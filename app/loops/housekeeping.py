"""Deletes expired, purged and abandoned data, a little at a time.

Every gateway does so, and several may do the same work at once without harm. What fails
is found again in the next round.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fanfold.app.loops.rounds import Rounds
from fanfold.contract.failures import Failure, FailureType
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.records import now_ms

_log = logging.getLogger("fanfold.gateway")

_MS_AN_HOUR = 3_600_000
# Longer than any pause between two batches of an upload that somebody still sends.
_ABANDONED_AFTER_SECONDS = 15 * 60
_SHORTEST_PAUSE_SECONDS = 0.005

Step = Callable[[], Awaitable[bool]]
"""Does some of its work; whether there may be more."""


class Housekeeping:
    """A loop that deletes data, and closes jobs that were never sealed."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        retention_hours: float,
        seal_timeout_seconds: float,
        body_timeout_seconds: float,
        interval_seconds: float,
    ) -> None:
        """Take how long jobs are kept and unsealed ones wait for data, and how often to look.

        Between two pieces of a body that still arrives at most `body_timeout_seconds` pass.
        """
        self._ledger = ledger
        self._seal_timeout_seconds = seal_timeout_seconds
        self._upload_timeout_seconds = body_timeout_seconds + _ABANDONED_AFTER_SECONDS
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
            self._close_unsealed,
            self._drop_abandoned_uploads,
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
            # Their data first, so that few jobs wait for the deletion of their data.
            await _to_the_end(self._ledger.retention.delete_some)
        return bool(count)

    async def _close_unsealed(self) -> bool:
        failure = Failure(
            type=FailureType.NEVER_SEALED,
            message=(
                f"no data arrived for {self._seal_timeout_seconds:g} seconds, "
                "and the job was not sealed; what had arrived is deleted"
            ),
        )
        closed = await self._ledger.abandoned.close_unsealed(
            failure, silent_since=_ms_before_now(self._seal_timeout_seconds)
        )
        for job_id in closed:
            _log.info("job %s was never sealed", job_id)
        return False  # their data is deleted by another step

    async def _drop_abandoned_uploads(self) -> bool:
        await self._ledger.abandoned.drop_uploads(
            silent_since=_ms_before_now(self._upload_timeout_seconds)
        )
        return False  # their data is deleted by another step


def _ms_before_now(seconds: float) -> int:
    return now_ms() - round(seconds * 1000)


async def _to_the_end(step: Step) -> None:
    """Repeat the step until nothing is left, resting as long as it works, or longer."""
    started = time.monotonic()
    while await step():
        await asyncio.sleep(max(time.monotonic() - started, _SHORTEST_PAUSE_SECONDS))
        started = time.monotonic()
