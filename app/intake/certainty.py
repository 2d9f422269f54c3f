"""Finds out whether a write was committed, where the ledger went away during it.

A database that goes away during a commit may have committed or not: only the rows tell.
So they are looked up, by the job's id, before the client gets an answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from fanfold.app.http.errors import Unavailable
from fanfold.contract.names import JobId
from fanfold.ledger.database import LedgerUnavailable, UniqueViolation
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.uploads import UploadGone

NOTHING_RECORDED = "The ledger cannot be reached; nothing was recorded. Try again in a moment."

# A second and a half in all: by then the lost transaction is committed or rolled back.
_PAUSES_SECONDS = (0.0, 0.1, 0.2, 0.4, 0.8)
_PATIENCE_SECONDS = 2.5

_log = logging.getLogger("fanfold.gateway")

Written = TypeVar("Written")


async def with_certainty(
    write: Awaitable[Written], is_written: Callable[[], Awaitable[bool]], *, if_unknown: str
) -> Written | None:
    """What the write gives; None if it went unanswered, but is found to have been written.

    Raises Unavailable if it was not written, or, with the detail `if_unknown`, if that
    stays unknown. Any other error of the write is raised as it is.
    """
    try:
        return await write
    except LedgerUnavailable as error:
        found = await _look(is_written, _PAUSES_SECONDS)
        _log.warning("the ledger went away in a write (written: %s): %s", found, error)
        if found is None:
            raise Unavailable("ledger_unavailable", if_unknown) from error
        if not found:
            raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error
    except (UniqueViolation, UploadGone):
        # Where a commit goes unanswered, the ledger writes its scripts again. Then the
        # conflict may be with the rows that the first time wrote.
        if not await _look(is_written, (0.0,)):
            raise
    return None


async def recorded_with_certainty(jobs: Jobs, job_id: JobId, write: Awaitable[None]) -> None:
    """Await the write that records this job; see `with_certainty`."""

    async def is_recorded() -> bool:
        return await jobs.state(job_id) is not None

    if_unknown = (
        f"The ledger went away while it recorded the job, so it is unknown whether {job_id} "
        f"exists: GET /jobs/{job_id} tells, once the ledger is back. To try again is safe with "
        "the Idempotency-Key of this request; without one it may make a second job."
    )
    await with_certainty(write, is_recorded, if_unknown=if_unknown)


async def _look(
    is_written: Callable[[], Awaitable[bool]], pauses_seconds: tuple[float, ...]
) -> bool | None:
    """Whether it is written, as of the last look; None if the ledger did not answer."""
    found: bool | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for pause in pauses_seconds:
                await asyncio.sleep(pause)
                found = None
                with suppress(LedgerUnavailable):
                    found = await is_written()
                if found:
                    break
    return found
