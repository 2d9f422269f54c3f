"""A loop of rounds beside the requests: one at each interval, or at once when kicked.

A round may fail: what it could not do is found again in the next one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fanfold.app.loops.silences import Silences

_log = logging.getLogger("fanfold.gateway")


class Rounds:
    """A loop of rounds."""

    def __init__(
        self,
        do_round: Callable[[], Awaitable[float | None]],
        what: str,
        *,
        unavailable: tuple[type[Exception], ...],
        interval_seconds: float,
    ) -> None:
        """Take what a round does, in words too, and the errors that mean: try again later.

        A round may return the seconds until the next one, if that is sooner than the
        interval.
        """
        self._do_round = do_round
        self._what = what
        self._unavailable = unavailable
        self._interval_seconds = interval_seconds
        self._kicked = asyncio.Event()
        self._was_available = True
        self._silences = Silences()

    def kick(self) -> None:
        """Have the next round at once."""
        self._kicked.set()

    async def run(self) -> None:
        """A round when kicked, and every interval, until cancelled."""
        while True:
            pause = await self._round()
            try:
                async with asyncio.timeout(min(pause, self._interval_seconds)):
                    await self._kicked.wait()
            except TimeoutError:
                pass
            self._kicked.clear()

    async def _round(self) -> float:
        """How long to wait for the next one, at most."""
        pause = None
        try:
            pause = await self._do_round()
        except self._unavailable as error:
            if self._was_available:
                _log.warning("%s has to wait: %s", self._what, error)
            self._was_available = False
        except Exception as error:  # noqa: BLE001 - logged
            # A defect must not end the loop: nothing would start it again.
            if (seconds := self._silences.broken_by(error)) is not None:
                _log.exception(
                    "%s failed (the same error is not logged again for %g seconds)",
                    self._what,
                    seconds,
                )
        else:
            if not self._was_available:
                _log.info("%s goes on again", self._what)
            self._was_available = True
        return self._interval_seconds if pause is None else pause
