"""`Prefer: wait=N` (RFC 7240): answer when the job is finished, or after N seconds."""

import asyncio
import re
import time
from urllib.request import parse_http_list

from fanfold.app.http.errors import MalformedRequest
from fanfold.contract.names import JobId
from fanfold.ledger.jobs import Jobs

MAX_WAIT_SECONDS = 60

WAIT_PATTERN = "^wait=[0-9]+$"
"""The header as it is usually sent, for the API's documentation."""

_SECONDS = re.compile(r'"([0-9]+)"|([0-9]+)')
_MOST_DIGITS = 9
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.25


def wait_seconds(header: str | None) -> int | None:
    """The seconds asked for, at most MAX_WAIT_SECONDS; None where none are.

    Other preferences are ignored, as RFC 7240 says; raises MalformedRequest for a `wait`
    that says no seconds. Of several the first counts, as it says too.
    """
    for preference in parse_http_list(header or ""):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            return _seconds(value.strip())
    return None


def _seconds(value: str) -> int:
    found = _SECONDS.fullmatch(value)
    if found is None:
        raise MalformedRequest(
            "invalid_parameter",
            "Prefer: wait needs a whole number of seconds from 0 on, as in `Prefer: wait=10`; "
            f"more than {MAX_WAIT_SECONDS} are {MAX_WAIT_SECONDS}",
        )
    digits = (found[1] or found[2]).lstrip("0") or "0"
    # Python refuses to read a number of thousands of digits.
    return MAX_WAIT_SECONDS if len(digits) > _MOST_DIGITS else min(int(digits), MAX_WAIT_SECONDS)


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
