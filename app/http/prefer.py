"""`Prefer: wait=N` (RFC 7240): answer when the job is finished, or after N seconds."""

import asyncio
import re
import time

from fanfold.contract.names import JobId
from fanfold.ledger.jobs import Jobs

MAX_WAIT_SECONDS = 60

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.25


def wait_seconds(header: str | None) -> int | None:
    """The seconds asked for, at most MAX_WAIT_SECONDS; None where none are."""
    found = _WAIT.search(header or "")
    return min(int(found.group(1)), MAX_WAIT_SECONDS) if found else None


async def until_finished(
    jobs: Jobs, job_id: JobId, *, seconds: float, stopping: asyncio.Event
) -> None:
    """Return when the job has finished, the time is up, or the gateway stops.

    Polls the ledger, since Temporal allows few long polls. The pauses grow with the time
    waited: a short job is answered at once, and a long one costs little.
    """
    started = time.monotonic()
    deadline = started + seconds
    while True:
        state = await jobs.state(job_id)
        now = time.monotonic()
        if state is None or state.is_terminal or now >= deadline or stopping.is_set():
            return
        pause = min(max(_FIRST_PAUSE_SECONDS, (now - started) / 10), _LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(min(pause, deadline - now))
